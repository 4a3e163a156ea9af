"""The growth of a turn's time in a long conversation, and among many stored ones."""

import statistics
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bench import servers, store, workload
from bench.clients import Caller
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.http import Create, interact_of, request_of
from bench.setting import Setting

MOST_GROWTH = 1.2
MESSAGE = "Hm."
"""The model that repeats takes no exit for it, so that a conversation never ends."""
LONG_CONVERSATIONS = 5

_TEXT = (
    "One client, one turn at a time, against the model that repeats without a pause: what a turn takes is overhead "
    "alone. Each ratio is of medians, of turns made alternately. Late turns are those from {late} on of {count} "
    "conversations; the model is shown the newest 40 messages (a setting), which a second turn does not have yet: "
    "reading them and writing them into prompts is what a late turn takes longer, and it does not grow further. "
    "Stored conversations are copies of one, finished, spread over all users and 50 services, with rows in all tables; "
    "only the newest 10,000 still have a stream to replay."
)


def measure(setting: Setting) -> Section:
    effort = setting.effort
    figures = [*_long_conversations(setting), *_many_conversations(setting)]
    return Section("Growth", figures, _TEXT.format(late=effort.late_turn, count=LONG_CONVERSATIONS))


@dataclass
class _Conversation:
    """A conversation that goes on."""

    setting: Setting
    caller: Caller
    create: Create

    def begin(self) -> float:
        """Seconds of the create."""
        answer, times = self.caller.call(request_of(self.setting.workload.path, self.create))
        self._id = answer.conversation_id
        return times.whole

    def go_on(self) -> float:
        """Seconds of another turn."""
        request = interact_of(self.setting.workload.org_id, self.create.token, self._id, MESSAGE)
        return self.caller.call(request)[1].whole

    @property
    def id(self) -> str:
        return self._id


def _new(setting: Setting, caller: Caller) -> _Conversation:
    return _Conversation(setting, caller, setting.workload.take(1)[0])


def _long_conversations(setting: Setting) -> list[Figure]:
    effort = setting.effort
    with servers.tertulia(setting.folder, setting.cores.server) as server, Caller(server.url) as caller:
        long = [_new(setting, caller) for _ in range(LONG_CONVERSATIONS)]
        for conversation in long:
            conversation.begin()
            for _ in range(2, effort.late_turn):
                conversation.go_on()
        early: list[float] = []
        late: list[float] = []
        for number in range(effort.turns):
            new = _new(setting, caller)
            new.begin()
            early.append(new.go_on())
            late.append(long[number % len(long)].go_on())
    return _ratio("interact", "turn 2", f"turn {effort.late_turn}", early, late)


def _many_conversations(setting: Setting) -> list[Figure]:
    few, many = setting.effort.stored
    turns: dict[int, tuple[list[float], list[float]]] = {few: ([], []), many: ([], [])}
    with _stored(setting, few) as first, _stored(setting, many) as second:
        for number in range(-_WARM_UP, setting.effort.turns):
            for count, begin in ((few, first), (many, second)):
                conversation = begin()
                took = conversation.begin(), conversation.go_on()
                if number >= 0:
                    turns[count][0].append(took[0])
                    turns[count][1].append(took[1])
    return [
        figure
        for at, what in enumerate(("create", "interact"))
        for figure in _ratio(what, f"{few:,} stored", f"{many:,} stored", turns[few][at], turns[many][at])
    ]


_WARM_UP = 10


@contextmanager
def _stored(setting: Setting, count: int) -> Generator[Callable[[], _Conversation]]:
    """A server with so many stored conversations; gives what begins another."""
    folder = setting.folder / f"stored-{count}"
    folder.mkdir()
    own = replace(setting, folder=folder, workload=workload.prepare(folder))
    with servers.tertulia(folder, setting.cores.server) as server, Caller(server.url) as caller:
        original = _new(own, caller)
        original.begin()
    store.fill(folder, own.workload, original.id, count)
    with servers.tertulia(folder, setting.cores.server) as server, Caller(server.url) as caller:
        yield lambda: _new(own, caller)


def _ratio(what: str, before: str, after: str, few: list[float], many: list[float]) -> list[Figure]:
    small, large = 1000 * statistics.median(few), 1000 * statistics.median(many)
    bound = Bound(large / small, MOST_GROWTH, "at most")
    return [
        Figure(f"{what}, {before}, p50", "ms", {PRODUCT: small}),
        Figure(f"{what}, {after}, p50", "ms", {PRODUCT: large}),
        Figure(f"{what}, {after} to {before}", "", {PRODUCT: large / small}, bound=bound),
    ]
