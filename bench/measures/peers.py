"""The same work on other servers of conversations, where they are installed."""

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager

import uvloop

from bench import peers, servers
from bench.figures import BARE, PRODUCT, Figure, Section
from bench.http import COMPLETE, PIECE, request_of
from bench.peers import PEERS, STUBS, Peer, Talk, client
from bench.servers import Server
from bench.setting import CONNECTIONS, Setting

WARM_UP_S = 2

_TEXT = (
    "Create a conversation and stream a first reply of 20 pieces from a model that takes no time; the server on one "
    "core, the same client of ours, in Python, on the other. Parlant takes four requests for it, the others one. It is "
    "not the same work: the peers keep conversations in memory and ask nobody who they are, Tertulia has its database, "
    "synchronous and on disk, and its tokens. Each peer runs as its own documentation starts it, which for LangGraph "
    "is a server meant for development. {absent}"
)
_START = tuple[Callable[[], AbstractContextManager[Server]], Peer]


def measure(setting: Setting) -> Section:
    present = {name: peer for name, peer in PEERS.items() if peers.python_of(name)}
    absent = [peer.title for name, peer in PEERS.items() if name not in present]
    subjects = {**_own(setting), **{peer.title: _peer(setting, name, peer) for name, peer in present.items()}}
    rows: list[dict[str, float]] = [{}, {}, {}, {}, {}]
    for title, (start, peer) in subjects.items():
        with start() as server:
            for row, value in zip(rows, _values(setting, server, peer), strict=True):
                row[title] = value
    names = (
        ("first piece at one client, p50", "ms"),
        ("whole answer at one client, p50", "ms"),
        (f"creates, {CONNECTIONS} connections", "1/s"),
        (f"first piece, {CONNECTIONS} connections, p50", "ms"),
        ("CPU of a create", "us"),
    )
    figures = [Figure(name, unit, row) for (name, unit), row in zip(names, rows, strict=True)]
    note = f"Not installed, so not measured: {', '.join(absent)} (`make bench-peers`)." if absent else ""
    return Section("Other servers", figures, _TEXT.format(absent=note).strip())


def _own(setting: Setting) -> dict[str, _START]:
    def creates() -> Talk:
        yield request_of(setting.workload.path, setting.workload.take(1)[0])

    own = Peer(PRODUCT, creates, PIECE, COMPLETE)
    return {
        PRODUCT: (lambda: servers.tertulia(setting.folder, setting.cores.server), own),
        BARE: (lambda: servers.bare(setting.lines(), setting.cores.server), own),
    }


def _peer(setting: Setting, name: str, peer: Peer) -> _START:
    command = [str(peers.python_of(name)), str(STUBS / name / "server.py")]
    variables, folder = {"PYTHONPATH": str(STUBS)}, setting.folder
    return lambda: servers.running(command, setting.cores.server, variables, folder, folder), peer


def _values(setting: Setting, server: Server, peer: Peer) -> tuple[float, ...]:
    """In the order of the rows."""
    seconds = setting.effort.round_s
    uvloop.run(client.run(server.url, peer, CONNECTIONS, WARM_UP_S))
    alone = uvloop.run(client.run(server.url, peer, 1, seconds))
    before = server.cpu_s()
    many = uvloop.run(client.run(server.url, peer, CONNECTIONS, seconds))
    cpu_s = server.cpu_s() - before
    return (
        1000 * statistics.median(alone.firsts),
        1000 * statistics.median(alone.wholes),
        len(many.wholes) / many.seconds,
        1000 * statistics.median(many.firsts),
        1e6 * cpu_s / len(many.wholes),
    )
