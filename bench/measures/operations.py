"""The cost of other operations, in creates: one client asks for each, many times, by turns."""

import itertools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bench import servers, store, workload
from bench.clients import Caller
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.http import interact_of, plain_request, request_of
from bench.servers import Server
from bench.setting import Setting

DEAREST: Mapping[str, float] = {
    "interact": 1.05,
    "finish": 0.6,
    "sign in with an API key": 0.6,
    "list 150 conversations": 2.5,
    "list 500 messages": 2.5,
    "/metrics": 1.0,
}
"""The most CPU of an operation, in that of a create."""
CREATE = "create"
FINISH = "finish"
FOLLOWING = "what follows a finish"
ROUNDS = 7
_TIMES = 40
_TURNS = 260
"""Interactions of the conversation whose messages are listed: more than a page of 500 messages."""
_CONVERSATIONS = 200
_HELLO = "Hello, how are you today?"

_TEXT = (
    f"One client on one connection makes {_TIMES} requests of each kind in each of {ROUNDS} rounds, and the CPU of "
    "Tertulia's process is divided by their number. The user speaks first in a create. Lists are whole pages, of an "
    f"administrator, among {_CONVERSATIONS} stored conversations. The spread is that of the rounds. Memories and "
    "user models follow a finish, in the same process; they are measured by themselves, and waited for."
)

Ask = Callable[[], bytes]
"""Makes the next request of a kind; what has to be there for it has been made before."""


@dataclass(frozen=True, slots=True)
class _Place:
    setting: Setting
    server: Server
    caller: Caller

    def cost_us(self, requests: list[bytes]) -> float:
        """The CPU of a request."""
        before = self.server.cpu_s()
        for request in requests:
            self.caller.ask(request)
        return 1e6 * (self.server.cpu_s() - before) / len(requests)

    def cost_of_rest_us(self, requests: list[bytes]) -> float:
        """The CPU of the jobs that some requests have left, for each of the requests; they are waited for."""
        before = self.server.cpu_s()
        store.wait_for_jobs(self.setting.folder)
        return 1e6 * (self.server.cpu_s() - before) / len(requests)


def measure(setting: Setting) -> Section:
    """Ask for each operation by turns. Return the costs, and their shares of a create."""
    folder = setting.folder / "operations"
    folder.mkdir()
    own = replace(setting, folder=folder, workload=workload.prepare(folder))
    with servers.tertulia(folder, setting.cores.server) as server, Caller(server.url) as caller:
        long = _long_conversation(_Place(own, server, caller))
    store.fill(folder, own.workload, long, _CONVERSATIONS)
    costs: dict[str, list[float]] = {}
    with servers.tertulia(folder, setting.cores.server) as server, Caller(server.url) as caller:
        place = _Place(own, server, caller)
        for number in range(-1, ROUNDS):
            for name, requests in _requests(place, long).items():
                found = {name: place.cost_us(requests)}
                if name == FINISH:
                    found[FOLLOWING] = place.cost_of_rest_us(requests)
                if number >= 0:
                    for each, cost in found.items():
                        costs.setdefault(each, []).append(cost)
    return Section("Other operations", _figures(costs), _TEXT)


def _requests(place: _Place, long: str) -> dict[str, list[bytes]]:
    """The requests of a round, of each kind."""
    work = place.setting.workload
    creates = [create._replace(message=_HELLO) for create in work.take(2 * _TIMES)]
    waiting = creates[_TIMES:]
    ids = [place.caller.call(request_of(work.path, create))[0].conversation_id for create in waiting]
    talks = list(zip(waiting, ids, strict=True))
    base = f"/v1/{work.org_id}/conversation"
    return {
        CREATE: [request_of(work.path, create) for create in creates[:_TIMES]],
        "interact": [interact_of(work.org_id, create.token, made, _HELLO) for create, made in talks],
        FINISH: [plain_request("POST", f"{base}/{made}/finish/", create.token) for create, made in talks],
        "sign in with an API key": [_sign_in(place, user) for user in itertools.islice(work.user_ids, _TIMES)],
        "list 150 conversations": [plain_request("GET", f"{base}/", work.admin_token)] * _TIMES,
        "list 500 messages": [plain_request("GET", f"{base}/{long}/messages/", work.admin_token)] * _TIMES,
        "/metrics": [plain_request("GET", "/metrics", "")] * _TIMES,
    }


def _sign_in(place: _Place, user_id: str) -> bytes:
    demo = place.setting.workload.demo
    headers = f"X-API-Key: {demo.api_key}\r\nX-API-Key-ID: {demo.api_key_id}\r\nX-User-ID: {user_id}\r\n"
    return plain_request("POST", f"/v1/{demo.organization_id}/user/signin_with_api_key", "", headers=headers)


def _long_conversation(place: _Place) -> str:
    work = place.setting.workload
    create = work.take(1)[0]
    made = place.caller.call(request_of(work.path, create))[0].conversation_id
    for _ in range(_TURNS):
        place.caller.call(interact_of(work.org_id, create.token, made, _HELLO))
    return made


def _figures(costs: Mapping[str, list[float]]) -> list[Figure]:
    medians = {name: statistics.median(some) for name, some in costs.items()}
    figures: list[Figure] = []
    for name, some in costs.items():
        spread = f"{min(some):.0f} to {max(some):.0f}"
        figures.append(Figure(f"CPU of {name}", "us", {PRODUCT: medians[name]}, note=spread))
        if name in DEAREST:
            share = medians[name] / medians[CREATE]
            bound = Bound(share, DEAREST[name], "at most")
            figures.append(Figure(f"{name}, in creates", "", {PRODUCT: share}, bound=bound))
    return figures
