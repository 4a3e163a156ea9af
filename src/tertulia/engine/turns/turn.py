"""A turn: its life cycle, from the claim of its conversation to its end.

A turn outlives its readers: a client that leaves ends nothing, but for tools: see attendance.
"""

import asyncio
from collections.abc import Callable
from enum import Enum

from tertulia import events
from tertulia.engine.trace import Trace
from tertulia.engine.turns.log import TurnLog
from tertulia.engine.turns.patience import Patience
from tertulia.errors import TertuliaError
from tertulia.events import Event
from tertulia.storage.database.units import Database
from tertulia.storage.turn.values import Claim

ActionFilter = Callable[[str], bool]
"""True for a type of action that the caller wants to hear of."""


def no_actions(_action_type: str) -> bool:
    """Refuse every type of action: the filter of a caller who may not see them. Return False."""
    return False


class Status(Enum):
    """A stage in the life of a turn."""

    CLAIMED = "claimed"
    """The task has not begun."""
    RUNNING = "running"
    SETTLING = "settling"
    """The turn is being committed, and cannot be stopped any more."""
    STOPPED = "stopped"
    """The turn has failed or been stopped, and is being abandoned."""
    SETTLED = "settled"
    """The turn is committed."""
    VOID = "void"
    """Nothing of the turn remains."""


class Turn:
    """A turn and its log. Written and read on one event loop."""

    __slots__ = (
        "_wants",
        "_wants_fragments",
        "attempt",
        "claim",
        "database",
        "error",
        "has_key",
        "is_speaking",
        "log",
        "patience",
        "status",
        "task",
        "trace",
    )

    def __init__(self, database: Database, claim: Claim, wants: ActionFilter, patience: Patience) -> None:
        self.database = database
        self.claim = claim
        self.log = TurnLog()
        self.patience = patience
        self.status = Status.CLAIMED
        self.error: BaseException | None = None
        """The reason why the turn is stopped or void."""
        self.task: asyncio.Task[None] | None = None
        self.trace: Trace | None = None
        self.attempt = ""
        """A name for the request that the turn answers: the same when the caller tries it again, and says so."""
        self.has_key = False
        """True if the caller can send the request again, and gets this turn."""
        self.is_speaking = False
        """True from the first piece of the reply on."""
        self._wants = wants
        self._wants_fragments = wants(events.FRAGMENT)

    def tell(self, event: Event) -> None:
        """Add an event to the log, unless it is an action that the caller does not want.

        Raises:
            ModelMisbehaved: the log is longer than a turn can be.
        """
        self.patience.touch()
        if isinstance(event, events.NewMessage):
            self.is_speaking = True
            if self._wants_fragments:
                self.log.tell(events.CurrentAgentAction(_fragment(event, has_sound=self.log.has_sound)))
        elif isinstance(event, events.CurrentAgentAction):
            if self.trace is not None:
                self.trace.step(event.action)
            if not self._wants(events.action_type(event.action)):
                return
        self.log.tell(event)

    def begin(self) -> None:
        """Note that the task runs. Raises the error by which the turn was stopped before."""
        self._raise_if_stopped()
        self.status = Status.RUNNING

    def begin_settling(self) -> None:
        """Note that the turn is being committed. Raises the error that stopped it, had the cancellation got lost."""
        self._raise_if_stopped()
        self.status = Status.SETTLING

    def _raise_if_stopped(self) -> None:
        if self.error is not None:
            raise self.error

    def stop(self, error: TertuliaError) -> bool:
        """End the turn with an error. Return False if it is too late: the turn is being committed."""
        if self.task is None or self.status in {Status.SETTLING, Status.SETTLED}:
            return False
        is_running = self.status is Status.RUNNING
        if is_running or self.status is Status.CLAIMED:
            self.fail(error)
        if is_running:  # a task that is cancelled before its first step never runs, nor its `finally`
            self.task.cancel()
        return True

    def fail(self, error: BaseException) -> None:
        """Note that the turn has failed; the first error is the one that is told."""
        self.status = Status.STOPPED
        self.error = self.error or error

    def end(self, status: Status, last: bytes) -> None:
        """Note that the turn is settled or void, and add its last line."""
        self.status = status
        self.log.append(last)

    async def first_line(self) -> None:
        """Wait until there is a line. Raises the error of a void turn if that is its only line."""
        while not self.log.count and not self.log.closed:
            await self.log.changed()
        if self.status in {Status.STOPPED, Status.VOID} and self.log.count <= 1 and isinstance(self.error, Exception):
            raise self.error

    async def ended(self) -> None:
        """Wait until the turn is settled or abandoned."""
        if self.task is not None:
            await asyncio.wait([self.task])


def _fragment(piece: events.NewMessage, *, has_sound: bool) -> events.FragmentGenerated:
    """Tell a piece of the reply as a step. Return its text; of sound, the text that it speaks."""
    spoken = "".join(character for _ms, character in piece.transcript_alignment or ())
    return events.FragmentGenerated(piece.sequence_number - 1, spoken if has_sound else piece.message, piece.stop)
