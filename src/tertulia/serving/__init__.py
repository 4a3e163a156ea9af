"""The process server: workers, sockets, protocol."""
