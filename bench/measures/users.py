"""The cost of a create for users as they come: who speak first, are seen for the first time, and open a connection."""

import itertools
import statistics
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import servers, workload
from bench.figures import BARE, PRODUCT, Bound, Figure, Section
from bench.http import Create
from bench.load import Load, run_each_alone
from bench.servers import Server
from bench.setting import MOST_CREATES_A_SECOND, Setting
from bench.workload import USERS, Workload

SMALLEST_KNOWN = 0.20
SMALLEST_NEW = 0.18
MOST_COLD = 1.15
"""A create of a first-time user on a new connection, in that of a known one on a kept connection."""
FEW, FRAMEWORK = "bare, few sends", "FastAPI alone"
CONNECTIONS = 16
ROUNDS = 7
ROUND_S = 2
_NEW_A_ROUND = 240
_HELLO = "Hello, how are you today?"
_ANYBODY = Create("x" * 200, "0" * 24, _HELLO)

_TEXT = (
    f"Creates whose user speaks first, by {CONNECTIONS} clients at once, in {ROUNDS} rounds by turns: of known users "
    f"on connections that are kept, and of {_NEW_A_ROUND} users a round whom the process has not seen, each on a "
    "connection of their own. The last two columns are anchors: the bare application with as few sends as Tertulia's, "
    "and FastAPI alone with a create's route, parameters and body. What counts is the CPU of the server's process; the "
    "spread is that of the rounds."
)


@dataclass(frozen=True, slots=True)
class _Place:
    """The servers, and the creates of Tertulia's users: of known ones, and of those who come once."""

    setting: Setting
    servers: dict[str, Server]
    known: Iterator[Create]
    new: Iterator[Create]

    def known_us(self, name: str) -> float:
        """The CPU of a create of a known user, on a kept connection."""
        count = MOST_CREATES_A_SECOND * ROUND_S
        creates = [*itertools.islice(self.known, count)] if name == PRODUCT else [_ANYBODY] * 1000
        return _cost_us(
            self.servers[name],
            lambda: self.setting.load(self.servers[name].url, creates, ROUND_S, CONNECTIONS),
        )

    def new_us(self, name: str) -> float:
        """The CPU of a create of a first-time user, on a new connection."""
        creates = [*itertools.islice(self.new, _NEW_A_ROUND)] if name == PRODUCT else [_ANYBODY] * _NEW_A_ROUND
        path, folder = self.setting.workload.path, self.setting.folder
        return _cost_us(
            self.servers[name], lambda: run_each_alone(self.servers[name].url, path, creates, folder, CONNECTIONS)
        )


def _cost_us(server: Server, load: Callable[[], Load]) -> float:
    before = server.cpu_s()
    made = load().creates
    return 1e6 * (server.cpu_s() - before) / made


def measure(setting: Setting) -> Section:
    """Load all applications by turns. Return what a create cost."""
    known: dict[str, list[float]] = {}
    new: dict[str, list[float]] = {}
    with _place(setting) as place:
        for name in place.servers:
            place.known_us(name)
        for _ in range(ROUNDS):
            for name in place.servers:
                known.setdefault(name, []).append(place.known_us(name))
                if name in (PRODUCT, BARE):
                    new.setdefault(name, []).append(place.new_us(name))
    cold = statistics.median(new[PRODUCT]) / statistics.median(known[PRODUCT])
    figures = [
        _costs("known users, connections kept", known),
        _share("known users, connections kept", known, SMALLEST_KNOWN),
        _costs("first-time users, a new connection each", new),
        _share("first-time users, a new connection each", new, SMALLEST_NEW),
        Figure("first-time to known", "", {PRODUCT: cold}, bound=Bound(cold, MOST_COLD, "at most")),
    ]
    return Section("Users as they come", figures, _TEXT)


@contextmanager
def _place(setting: Setting) -> Generator[_Place]:
    folder, core, lines = setting.folder / "users", setting.cores.server, setting.lines()
    folder.mkdir()
    work = workload.prepare(folder)
    once = ROUNDS * _NEW_A_ROUND
    first = _speaking(work)
    with ExitStack() as stack:
        running = {
            PRODUCT: stack.enter_context(servers.tertulia(folder, core)),
            BARE: stack.enter_context(servers.bare(lines, core)),
            FEW: stack.enter_context(servers.bare(lines, core, app="create_few")),
            FRAMEWORK: stack.enter_context(servers.bare(lines, core, app="create_framework")),
        }
        yield _Place(setting, running, _known(work, first[once:], once), iter(first[:once]))


def _speaking(work: Workload) -> list[Create]:
    """A create of every user, who speaks first."""
    return [create._replace(message=_HELLO) for create in work.take(USERS)]


def _known(work: Workload, creates: Sequence[Create], once: int) -> Generator[Create]:
    """The creates of the users who come often, of one service after the other."""
    while True:
        yield from creates
        creates = _speaking(work)[once:]


def _costs(who: str, costs: dict[str, list[float]]) -> Figure:
    spread = f"{min(costs[PRODUCT]):.0f} to {max(costs[PRODUCT]):.0f}"
    medians = {name: statistics.median(some) for name, some in costs.items()}
    return Figure(f"CPU of a create, {who}", "us", medians, "difference", note=spread)


def _share(who: str, costs: dict[str, list[float]], smallest: float) -> Figure:
    rates = {name: 1e6 / statistics.median(costs[name]) for name in (PRODUCT, BARE)}
    share = rates[PRODUCT] / rates[BARE]
    return Figure(f"creates in a CPU second, {who}", "1/s", rates, "share", Bound(share, smallest, "at least"))
