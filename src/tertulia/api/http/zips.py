"""A zip that is streamed while it is written: no more of it is in memory than one portion."""


class Sink:
    """A file that can only be written, whose bytes are taken away as they come."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        """Take bytes in. Return how many."""
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: what is written waits to be taken."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken, self._written = bytes(self._written), bytearray()
        return taken
