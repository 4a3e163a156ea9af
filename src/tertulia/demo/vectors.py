"""The vectors of the demo's sayings, computed once and for all: the first message to a new server waits for none.

`make vectors` computes them anew. Vectors of another embedding model, or of sayings that have changed since, are not
found, and computed when they are needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE: Final = "vectors.bin"
DIGEST: Final = 16
"""Bytes of a text's digest, which stands before its vector."""
RECORD: Final = DIGEST + 4 + 384
"""Bytes of a digest with its vector: a scale, and a byte for each number."""


def read_vectors() -> Mapping[bytes, bytes]:
    """Read the vectors that are shipped. Return them, packed, by the digests of their texts."""
    content = Path(__file__).with_name(FILE).read_bytes()
    records = (content[begin : begin + RECORD] for begin in range(0, len(content), RECORD))
    return {record[:DIGEST]: record[DIGEST:] for record in records}
