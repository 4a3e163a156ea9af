"""Bytes that a turn adds to the database."""

import sqlite3
from pathlib import Path

from bench import servers, workload
from bench.clients import Caller
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.http import interact_of, request_of
from bench.setting import Setting

MOST_BYTES = 1300.0
_CONVERSATIONS = 60
_TURNS = 12
"""Turns of each conversation after its first one."""
_SAYS = ("Hello, how are you?", "Tell me more about that.", "And what comes after it?")

_TEXT = (
    f"{_CONVERSATIONS} conversations on SQLite, of {_TURNS} turns each after the first one: the growth of the file, "
    "with the indexes, the stream that a client may come back for, and the trace, divided by the turns. A turn is a "
    "message of some 20 characters and an answer of 20 pieces. Its stream goes after a time; all else stays."
)


def measure(setting: Setting) -> Section:
    """Hold conversations. Return the bytes of a turn."""
    folder = setting.folder / "database"
    folder.mkdir()
    work = workload.prepare(folder)
    creates = work.take(_CONVERSATIONS)
    with servers.tertulia(folder, setting.cores.server) as server, Caller(server.url) as caller:
        made = [caller.call(request_of(work.path, create))[0].conversation_id for create in creates]
    before = _size(folder)
    with servers.tertulia(folder, setting.cores.server) as server, Caller(server.url) as caller:
        for number in range(_TURNS):
            for create, conversation_id in zip(creates, made, strict=True):
                said = _SAYS[number % len(_SAYS)]
                caller.call(interact_of(work.org_id, create.token, conversation_id, said))
    grown = (_size(folder) - before) / (_TURNS * _CONVERSATIONS)
    bound = Bound(grown, MOST_BYTES, "at most")
    return Section("Storage", [Figure("database, a turn", "bytes", {PRODUCT: grown}, bound=bound)], _TEXT)


def _size(folder: Path) -> int:
    """The bytes of a database that nobody uses."""
    connection = sqlite3.connect(folder / "tertulia.db", isolation_level=None)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (pages,), (free,), (size,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
    )
    connection.close()
    return (pages - free) * size
