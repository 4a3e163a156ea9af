"""Recall of one user's memories: the CPU of a search by words and by meaning, fused, of so many memories.

    python -m bench.memory [MEMORIES] [URL]

The database is a new SQLite file, or the one of a URL, which keeps nothing.
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.engine.agent.remembering import search
from tertulia.ids import new_id
from tertulia.storage import memory as memories
from tertulia.storage import migrations
from tertulia.storage.database import dialect
from tertulia.storage.memory import Meaning, Memory
from tertulia.vocabulary import stems

SIZE = 384
ROUNDS = 50
WORDS = [f"{first}{second}" for first in ("gar", "mel", "tor", "vin", "lak", "pos") for second in map(str, range(500))]


def main(count: int, url: str) -> None:
    engine = dialect.create_engine(url, 1)
    migrations.upgrade(engine)
    source = random.Random(7)
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.exec_driver_sql("BEGIN")
        else:
            connection.exec_driver_sql("SET session_replication_role = replica")
        for _ in range(count):
            _remember(connection, source)
        for by_meaning in (False, True):
            spent = [_search(connection, source, by_meaning=by_meaning) for _ in range(ROUNDS)]
            kind = "words and meaning" if by_meaning else "words"
            print(
                f"{count} memories, {kind}: CPU median {statistics.median(spent):.1f} ms, "
                f"largest {max(spent):.1f} ms, first {spent[0]:.1f} ms"
            )
        connection.rollback()
    engine.dispose()


def _sentence(source: random.Random) -> str:
    rare = source.choices(WORDS, k=8)
    return f"The user likes {' '.join(rare)}" + (" in the evening" if source.random() < 0.5 else "")


def _vector(source: random.Random) -> Sequence[float]:
    values = [source.gauss(0, 1) for _ in range(SIZE)]
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]


def _remember(connection: Connection, source: random.Random) -> None:
    content = _sentence(source)
    made = Memory(new_id(), "org", "user", "talk", content, "", [], True, False, None, clock.now(), None)
    memories.insert_memory(connection, made, stems(content), Meaning("m", _vector(source)))


def _search(connection: Connection, source: random.Random, *, by_meaning: bool) -> float:
    query = _sentence(source)
    meaning = Meaning("m", _vector(source)) if by_meaning else None
    began = time.process_time()
    search(connection, "user", [(query, meaning)])
    return (time.process_time() - began) * 1000


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        given = sys.argv[1:]
        main(
            int(given[0]) if given else 10_000, given[1] if len(given) > 1 else f"sqlite:///{Path(folder) / 'bench.db'}"
        )
