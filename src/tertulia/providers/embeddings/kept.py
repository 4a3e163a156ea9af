"""Vectors of authors' texts, kept on the disk: sayings and triggers are the same for everybody, and take long to read.

Words of users are never kept. A vector is found by the model that made it and a digest of its text; each of its numbers
takes a byte. The file is SQLite's, so several workers may use it at once, and one that is killed leaves it whole. Each
row has a check sum: one that is damaged, or of another size than the model's vectors are, is read and written anew.
"""

import asyncio
import hashlib
import sqlite3
import struct
import time
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.errors import EmbeddingFailed
from tertulia.providers.base import Embedder

FILE = "vectors.db"
"""The file's name in the data folder."""
MOST_BYTES = 32 << 20
"""Bytes of the whole file. If it grows beyond, the half leaves that was not used for longest."""
PORTION = 32
"""Texts that are read and written down in one go; others that wait have their turn in between."""

_TRIES = 2
"""Times that texts are read, for the first may tell that vectors of another size were kept."""
_PATIENCE_S = 5.0
_DAY_S = 86_400
_LARGEST = 127
_SCALE = struct.Struct("<f")
_SMALLEST = 1e-37
"""A scale below this is zero in four bytes, or nearly so."""
_SUM = struct.Struct("<I")
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
    """Write a vector with a byte for each number. Return the bytes.

    Raises:
        EmbeddingFailed: the vector has numbers that four bytes do not hold.
    """
    scale = max(map(abs, vector), default=0.0) / _LARGEST
    scale = scale if scale > _SMALLEST else 1.0  # a comparison with what is no number is false
    try:
        return _SCALE.pack(scale) + array("b", [round(value / scale) for value in vector]).tobytes()
    except (OverflowError, ValueError, struct.error):
        raise EmbeddingFailed("a vector of numbers beyond all measure") from None


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
                connection.text_factory = bytes  # a damaged row may hold text that is none
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
            vector = _whole(key, row[0])
            if vector is not None:
                found[key] = vector
                old += [(today, key)] * (row[1] != today)
    if old:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("UPDATE vectors SET used = ? WHERE digest = ?", old)
        connection.execute("COMMIT")
    return found


def _whole(key: bytes, row: object) -> bytes | None:
    """Take a vector out of its row. Return None if the row is damaged."""
    if not isinstance(row, bytes) or len(row) < _SUM.size + _SCALE.size:
        return None
    vector, told = row[: -_SUM.size], row[-_SUM.size :]
    return vector if _SUM.pack(zlib.crc32(key + vector)) == told else None


def _add(vectors: Mapping[bytes, bytes], connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    rows = [(key, vector + _SUM.pack(zlib.crc32(key + vector)), _today()) for key, vector in vectors.items()]
    connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
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
        self._size: int | None = None
        """Bytes of a packed vector, as the model has made them last; None: it has made none yet."""

    async def known(self, texts: Sequence[str]) -> Mapping[str, Vector]:
        """Look up vectors. Return those of the texts that were read before, whichever process has read them."""
        digests = {text: digest(self._label, text) for text in texts}
        packed = await self._find(digests.values())
        known = {text: packed[key] for text, key in digests.items() if key in packed}
        return await asyncio.to_thread(lambda: {text: unpack(vector) for text, vector in known.items()})

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Find the vectors of texts, and compute those that are not there. Return one for each, in their order."""
        digests = {digest(self._label, text): text for text in texts}
        packed = await self._find(digests)
        for _ in range(_TRIES):
            missing = [(key, text) for key, text in digests.items() if key not in packed]
            for first in range(0, len(missing), PORTION):
                packed |= await self._read(missing[first : first + PORTION], looked_up=not first)
            packed = self._of_one_size(packed)
        if len(packed) < len(digests):
            raise EmbeddingFailed("vectors of several sizes")
        return await asyncio.to_thread(lambda: [unpack(packed[digest(self._label, text)]) for text in texts])

    async def _find(self, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        return self._of_one_size(await asyncio.to_thread(self._file.find, digests))

    def _of_one_size(self, packed: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Leave out vectors of another size than the model makes, or than most have. Return the others."""
        sizes = Counter(map(len, packed.values()))
        size = self._size or max(sizes, key=lambda each: sizes[each], default=0)
        return {key: vector for key, vector in packed.items() if len(vector) == size}

    async def _read(self, portion: Sequence[tuple[bytes, str]], *, looked_up: bool) -> Mapping[bytes, bytes]:
        """Compute a portion, without what somebody has read meanwhile. Return its vectors, packed.

        If it was `looked_up` just now and nobody is reading, nothing can have been read meanwhile.
        """
        looked_up = looked_up and not self._reading.locked()
        async with self._reading:
            found = {} if looked_up else await self._find([key for key, _ in portion])
            new = [(key, text) for key, text in portion if key not in found]
            if new:
                vectors = await self._embedder.embed([text for _, text in new])
                found |= await asyncio.to_thread(self._keep, [key for key, _ in new], vectors)
            return found

    def _keep(self, digests: Sequence[bytes], vectors: Sequence[Vector]) -> Mapping[bytes, bytes]:
        """Pack vectors and write them down. Return them."""
        packed = dict(zip(digests, map(pack, vectors), strict=True))
        self._size = len(next(reversed(packed.values())))
        self._file.add(packed)
        return packed
