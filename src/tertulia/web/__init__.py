"""The web interface, as the server hands it out: files that were built from `ui/`, which speak only the public API."""
