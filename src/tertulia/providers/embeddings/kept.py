"""Vectors of authors' texts, kept on the disk: sayings and triggers are the same for everybody, and take long to read.

Words of users are never kept. A vector is found by the model that made it and a digest of its text; each of its numbers
takes a byte. The file is SQLite's, so several workers may use it at once, and one that is killed leaves it whole.
"""

import asyncio
import hashlib
import sqlite3
import struct
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.providers.base import Embedder

FILE = "vectors.db"
"""The file's name in the data folder."""
MOST_BYTES = 32 << 20
"""Bytes of the whole file. If it grows beyond, the half leaves that was not used for longest."""
PORTION = 32
"""Texts that are read and written down in one go; others that wait have their turn in between."""

_PATIENCE_S = 5.0
_DAY_S = 86_400
_LARGEST = 127
_SCALE = struct.Struct("<f")
_TABLE = """
CREATE TABLE IF NOT EXISTS vectors (
  digest BLOB PRIMARY KEY, vector BLOB NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID
"""
_TRIM = """
DELETE FROM vectors WHERE digest IN (
  SELECT digest FROM (
    SELECT digest, SUM(LENGTH(vector)) OVER (ORDER BY used DESC, digest) AS size FROM vectors
  ) WHERE size > ?
)
"""

T = TypeVar("T")

_log: FilteringBoundLogger = structlog.get_logger(__name__)

Vector = Sequence[float]


def digest(label: str, text: str) -> bytes:
    """Name a text as a model read it. Return the name, of 16 bytes."""
    return hashlib.sha256(f"{label}\n{text}".encode(errors="surrogatepass")).digest()[:16]


def pack(vector: Vector) -> bytes:
    """Write a vector with a byte for each number. Return the bytes."""
    scale = max(map(abs, vector), default=0.0) / _LARGEST or 1.0
    return _SCALE.pack(scale) + array("b", [round(value / scale) for value in vector]).tobytes()


def unpack(packed: bytes) -> Vector:
    """Read a vector that `pack` wrote. Return it."""
    (scale,) = _SCALE.unpack_from(packed)
    return array("f", [value * scale for value in array("b", packed[_SCALE.size :])])


class VectorFile:
    """The vectors in a data folder. Its methods block. A file that cannot be used is as an empty one, and a line in the
    log says so."""

    def __init__(self, data: Path) -> None:
        self._path = data / FILE
        self._failed = False

    def find(self, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        """Look up vectors. Return those that are there, packed, by the digests of their texts."""
        if not self._path.exists():
            return {}
        return self._use(partial(_find, [*dict.fromkeys(digests)])) or {}

    def add(self, vectors: Mapping[bytes, bytes]) -> None:
        """Write packed vectors down by the digests of their texts; of all, those that were not used for long leave."""
        self._use(partial(_add, vectors))

    def _use(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """Open the file for its owner alone, and work with it. Return the result, None if that failed."""
        try:
            self._path.touch(mode=0o600)
            with closing(sqlite3.connect(self._path, timeout=_PATIENCE_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")  # readers wait for nobody
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(_TABLE)
                return work(connection)
        except (OSError, sqlite3.Error) as error:
            if not self._failed:
                _log.warning("Vectors of sayings cannot be kept.", file=self._path.name, reason=str(error))
            self._failed = True
            return None


def _find(digests: Sequence[bytes], connection: sqlite3.Connection) -> Mapping[bytes, bytes]:
    """Look up vectors, and note that they were used today. Return them."""
    found: dict[bytes, bytes] = {}
    old: list[tuple[int, bytes]] = []
    today = _today()
    for key in digests:
        if row := connection.execute("SELECT vector, used FROM vectors WHERE digest = ?", (key,)).fetchone():
            found[key] = row[0]
            old += [(today, key)] * (row[1] < today)
    if old:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("UPDATE vectors SET used = ? WHERE digest = ?", old)
        connection.execute("COMMIT")
    return found


def _add(vectors: Mapping[bytes, bytes], connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    rows = [(key, vector, _today()) for key, vector in vectors.items()]
    connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)
    if _size(connection) > MOST_BYTES:
        connection.execute(_TRIM, [MOST_BYTES // 2])
    connection.execute("COMMIT")


def _today() -> int:
    return int(time.time()) // _DAY_S


def _size(connection: sqlite3.Connection) -> int:
    """Measure the pages that hold something. Return their bytes."""
    counts = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")]
    return (counts[0] - counts[1]) * connection.execute("PRAGMA page_size").fetchone()[0]


class KeptEmbeddings:
    """An embedding model that reads each text once and for all. Raises EmbeddingFailed, nothing else.

    Of several who wait, each has a portion read in its turn; what one has read, the next one finds.
    """

    def __init__(self, embedder: Embedder, label: str, file: VectorFile) -> None:
        self._embedder = embedder
        self._label = label
        self._file = file
        self._reading = asyncio.Lock()

    async def known(self, texts: Sequence[str]) -> Mapping[str, Vector]:
        """Look up vectors. Return those of the texts that were read before, whichever process has read them."""
        digests = {text: digest(self._label, text) for text in texts}
        packed = await asyncio.to_thread(self._file.find, digests.values())
        known = {text: packed[key] for text, key in digests.items() if key in packed}
        return await asyncio.to_thread(lambda: {text: unpack(vector) for text, vector in known.items()})

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Find the vectors of texts, and compute those that are not there. Return one for each, in their order."""
        digests = [digest(self._label, text) for text in texts]
        packed = dict(await asyncio.to_thread(self._file.find, digests))
        missing = [(key, text) for key, text in dict(zip(digests, texts, strict=True)).items() if key not in packed]
        for first in range(0, len(missing), PORTION):
            async with self._reading:
                packed |= await self._read(missing[first : first + PORTION])
        return await asyncio.to_thread(lambda: [unpack(packed[key]) for key in digests])

    async def _read(self, portion: Sequence[tuple[bytes, str]]) -> Mapping[bytes, bytes]:
        """Compute a portion, without what somebody has read meanwhile. Return its vectors, packed."""
        found = dict(await asyncio.to_thread(self._file.find, [key for key, _ in portion]))
        new = [(key, text) for key, text in portion if key not in found]
        if new:
            vectors = await self._embedder.embed([text for _, text in new])
            found |= await asyncio.to_thread(self._keep, [key for key, _ in new], vectors)
        return found

    def _keep(self, digests: Sequence[bytes], vectors: Sequence[Vector]) -> Mapping[bytes, bytes]:
        """Pack vectors and write them down. Return them."""
        packed = dict(zip(digests, map(pack, vectors), strict=True))
        self._file.add(packed)
        return packed
