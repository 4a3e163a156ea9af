"""Many stored conversations, put into an installation's SQLite database in one go."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from bench.workload import Workload

SERVICES = 50
"""So many services' conversations there are; each user has some of each."""

# Copies of the one settled conversation that there is. The streams of most have expired: only the newest have one.
_COPIES = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
INSERT INTO {table} ({names}) SELECT {values} FROM numbers CROSS JOIN {table} AS original
WHERE {key} = :original AND n > :after ORDER BY n
"""
_STREAMS_KEPT = 10_000
_TABLES = {
    "conversations": "original.id",
    "interactions": "original.conversation_id",
    "messages": "original.conversation_id",
    "streams": "original.conversation_id",
}


def fill(data: Path, work: Workload, original: str, count: int) -> None:
    """Copy a conversation so many times, as those of all users, finished; nothing may use the database meanwhile."""
    connection = sqlite3.connect(data / "tertulia.db", isolation_level=None)
    for pragma in ("journal_mode=MEMORY", "synchronous=OFF", "cache_size=-1000000", "foreign_keys=OFF"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")
    _number(connection, "owners", work.user_ids)
    _number(connection, "offers", work.service_ids[:SERVICES])
    for table, key in _TABLES.items():
        after = max(0, count - _STREAMS_KEPT) if table == "streams" else 0
        names, values = zip(*((name, _copied(table, name)) for name in _columns(connection, table)), strict=True)
        sql = _COPIES.format(table=table, names=", ".join(names), values=", ".join(values), key=key)
        connection.execute(sql, {"count": count, "original": original, "after": after})
    _count(connection)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=WAL")
    broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    connection.close()
    assert broken is None, broken


def wait_for_jobs(data: Path, patience_s: float = 60) -> None:
    """Wait until a server that runs has done its jobs.

    Raises:
        TimeoutError: it has not after `patience_s` seconds.
    """
    until = time.monotonic() + patience_s
    with closing(sqlite3.connect(data / "tertulia.db")) as connection:
        while connection.execute("SELECT count(*) FROM jobs").fetchone() != (0,):
            if time.monotonic() > until:
                raise TimeoutError("the jobs are not done")
            time.sleep(0.05)


def _number(connection: sqlite3.Connection, table: str, ids: list[str]) -> None:
    connection.execute(f"CREATE TEMP TABLE {table} (number INTEGER PRIMARY KEY, id TEXT)")
    connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", enumerate(ids))  # noqa: S608 - a name of ours


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _copied(table: str, name: str) -> str:
    """Write what a column of a copy holds; identifiers begin with the copy's number, to grow as real ones do."""
    owners = "(SELECT count(*) FROM owners)"
    values = {
        "id": "printf('%010x', n) || substr(original.id, 11)",
        "conversation_id": "printf('%010x', n) || substr(original.conversation_id, 11)",
        "interaction_id": "printf('%010x', n) || substr(original.interaction_id, 11)",
        "last_interaction_id": "printf('%010x', n) || substr(original.last_interaction_id, 11)",
        "user_id": f"(SELECT id FROM owners WHERE number = n % {owners})",  # noqa: S608 - names of ours
        "service_id": f"(SELECT id FROM offers WHERE number = n / {owners} % {SERVICES})",  # noqa: S608 - names of ours
    }
    finished = {"is_finished": "1", "finished_at": "original.last_message_time"} if table == "conversations" else {}
    return {**values, **finished}.get(name, f"original.{name}")


def _count(connection: sqlite3.Connection) -> None:
    """Write what users' rows say of their conversations."""
    connection.execute("CREATE TEMP TABLE counts (id TEXT PRIMARY KEY, conversations INTEGER, messages INTEGER)")
    connection.execute(
        "INSERT INTO counts SELECT user_id, count(*), sum(num_messages) FROM conversations GROUP BY user_id"
    )
    connection.execute(
        "UPDATE users SET num_conversations = counts.conversations, num_messages = counts.messages "
        "FROM counts WHERE counts.id = users.id"
    )
