"""The cost of a piece of a streamed reply, from an OpenAI-compatible server, all the way to the client."""

import statistics

from bench import clients, servers
from bench.clients import Caller
from bench.figures import BARE, PRODUCT, Bound, Figure, Section
from bench.http import interact_of, request_of
from bench.servers import Server
from bench.setting import Pair, Setting
from bench.workload import Workload

MOST_CPU_US = 25.0
MOST_LONE = 2.0
"""The CPU of a piece that comes alone, in that of the bare application's."""
PAUSE_MS = 0.5
LONG, SHORT = 2000, 20
WAYS = {
    "together": "in writes of 16 KiB",
    "apart": "a chunk each, as fast as they go",
    "paced": "a chunk each, half a millisecond apart",
}
_BLOCKS = 4
_STREAMS = 2
"""Streams of a lone piece's measure, of each length."""

_TEXT = (
    f"Replies of {LONG:,} and of {SHORT} pieces come from a fake server in a process on the other core, one piece an "
    "event; the difference of the CPU that a turn costs Tertulia's process, divided by the difference of the pieces, "
    "is what a piece costs: received, decoded, recorded, encoded, sent to the client, and its part of the stored "
    "message and stream. Pieces that come faster than they are read are read several at once; half a millisecond "
    "apart, each comes alone and pays for a write of its own to the client. What the model's server costs is not in "
    f"it. A lone piece comes from the scripted model, {PAUSE_MS:g} ms after the one before, as it does from the bare "
    "application."
)


def measure(setting: Setting) -> Section:
    with servers.fake_model(setting.folder, setting.cores.load) as fake:
        settings = {"MODEL": "openai:x", "OPENAI_BASE_URL": f"{fake.url}/v1", "OPENAI_API_KEY": "secret"}
        with servers.tertulia(setting.folder, setting.cores.server, settings) as server:
            costs = {text: _cost_us(setting, server, way) for way, text in WAYS.items()}
    figures = [
        Figure(f"CPU of a piece, {text}", "us", {PRODUCT: cost}, bound=Bound(cost, MOST_CPU_US, "at most"))
        for text, cost in costs.items()
    ]
    return Section("Reading a streamed reply", [*figures, _lone_piece(setting)], _TEXT)


def _lone_piece(setting: Setting) -> Figure:
    """Compare a piece that comes alone, after a pause, with one of the bare application, after the same pause."""
    costs: dict[str, list[float]] = {PRODUCT: [], BARE: []}
    with setting.pair(LONG, PAUSE_MS) as long, setting.pair(SHORT, PAUSE_MS) as short:
        for number in range(-1, _BLOCKS):
            for name, some in costs.items():
                cost = (_stream_us(long, name) - _stream_us(short, name)) / (LONG - SHORT)
                if number >= 0:
                    some.append(cost)
    medians = {name: statistics.median(some) for name, some in costs.items()}
    share = medians[PRODUCT] / medians[BARE]
    name = "CPU of a lone piece of the scripted model"
    return Figure(name, "us", medians, "share", Bound(share, MOST_LONE, "at most"))


def _stream_us(pair: Pair, name: str) -> float:
    """The CPU of a stream."""
    server, requests = pair.servers[name], pair.requests(name, _STREAMS)
    before = server.cpu_s()
    clients.create_in_turn(server.url, requests)
    return 1e6 * (server.cpu_s() - before) / _STREAMS


def _cost_us(setting: Setting, server: Server, way: str) -> float:
    """The median of several blocks of turns, long and short ones by turns."""
    replies = max(3, setting.effort.replies // (4 if way == "paced" else 1))
    with Caller(server.url) as caller:

        def cpu_s(pieces: int) -> float:
            turns = [_turn(setting.workload, caller, f"Say {pieces} {way}.") for _ in range(replies)]
            before = server.cpu_s()
            for request in turns:
                caller.call(request)
            return (server.cpu_s() - before) / replies

        cpu_s(LONG)
        differences = [cpu_s(LONG) - cpu_s(SHORT) for _ in range(_BLOCKS)]
    return 1e6 * statistics.median(differences) / (LONG - SHORT)


def _turn(work: Workload, caller: Caller, message: str) -> bytes:
    """A message that a new conversation, which is created for it, waits for."""
    create = work.take(1)[0]
    conversation_id = caller.call(request_of(work.path, create))[0].conversation_id
    return interact_of(work.org_id, create.token, conversation_id, message)
