"""The caller of a request, and the permissions of callers."""
