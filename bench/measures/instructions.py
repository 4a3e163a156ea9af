"""Instructions of a create, counted by valgrind: the one figure that a busy machine does not change."""

from collections.abc import Callable

from bench import counting, servers, workload
from bench.clients import Caller
from bench.counting import Counted
from bench.figures import BARE, PRODUCT, Bound, Figure, Section
from bench.http import Create, request_of
from bench.setting import Setting

MOST = 8.0
"""Those of a create, in the bare application's."""
_CREATES = 30
_WARM = 40
_USERS = 10
_HELLO = "Hello, how are you today?"

_TEXT = (
    f"One client makes {_CREATES} creates on a connection that is kept, then as many by users whom the process has not "
    "seen, on a connection each; thousands of instructions of the server's process, in all its threads, with what it "
    "does within six seconds after the answers. What the kernel does is not in it, nor is waiting, nor what a server "
    "does that has nothing to do. The scripted model, SQLite."
)


def measure(setting: Setting) -> Section:
    """Count the instructions of creates. Return them, or a figure that says what is missing."""
    if not counting.is_possible():
        figure = Figure("instructions of a create, user first", "", {}, note="skipped: there is no valgrind here")
        return Section("Instructions", [figure], _TEXT)
    counts = {PRODUCT: _of_tertulia(setting), BARE: _of_bare(setting)}
    names = ("user first", "agent first", "user first, seen for the first time, a new connection")
    figures: list[Figure] = []
    for name in names:
        values = {server: found[name] for server, found in counts.items() if name in found}
        bound = Bound(values[PRODUCT] / values[BARE], MOST, "at most") if BARE in values else None
        figures.append(Figure(f"instructions of a create, {name}", "thousands", values, "share", bound))
    return Section("Instructions", figures, _TEXT)


def _of_tertulia(setting: Setting) -> dict[str, float]:
    folder = setting.folder / "instructions"
    folder.mkdir()
    work = workload.prepare(folder)
    tokens = [create.token for create in work.take(workload.USERS)]
    known = iter([Create(token, service) for service in work.service_ids[1:] for token in tokens[:_USERS]])
    new = iter([Create(token, work.service_ids[1], _HELLO) for token in tokens[_USERS:]])

    def take(message: str, count: int = _CREATES) -> list[bytes]:
        return [request_of(work.path, next(known)._replace(message=message)) for _ in range(count)]

    under = counting.command_of(folder)
    with servers.tertulia(folder, setting.cores.server, under=under) as server:
        counted = Counted(server, folder)
        _in_turn(server.url, take(_HELLO, _WARM))
        once = [request_of(work.path, next(new)) for _ in range(_CREATES)]
        return {
            "user first": _each(counted, lambda: _in_turn(server.url, take(_HELLO))),
            "agent first": _each(counted, lambda: _in_turn(server.url, take(""))),
            "user first, seen for the first time, a new connection": _each(
                counted, lambda: [_in_turn(server.url, [request]) for request in once]
            ),
        }


def _of_bare(setting: Setting) -> dict[str, float]:
    requests = [request_of(setting.workload.path, Create("x" * 200, "0" * 24, _HELLO))] * _CREATES
    under = counting.command_of(setting.folder)
    with servers.bare(setting.lines(), setting.cores.server, under=under) as server:
        counted = Counted(server, setting.folder)
        _in_turn(server.url, requests)
        kept = _each(counted, lambda: _in_turn(server.url, requests))
        new = _each(counted, lambda: [_in_turn(server.url, [request]) for request in requests])
    return {
        "user first": kept,
        "agent first": kept,
        "user first, seen for the first time, a new connection": new,
    }


def _each(counted: Counted, work: Callable[[], object]) -> float:
    return counted.count(work) / _CREATES / 1000


def _in_turn(url: str, requests: list[bytes]) -> None:
    with Caller(url) as caller:
        for request in requests:
            caller.call(request)
