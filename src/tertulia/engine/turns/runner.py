"""Turns in motion: run, settle or abandon.

A turn that has claimed its conversation runs in a task of its own. At the end it settles, in one transaction, and only
then says `interaction-complete`; whatever ends it early leads to `abandon`, which leaves nothing behind.
"""

import asyncio
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import structlog
from msgspec import structs
from sqlalchemy.engine import Connection

from tertulia import clock, events
from tertulia.engine.agent.interaction import interact
from tertulia.engine.agent.library import Library
from tertulia.engine.agent.meanings import Meanings
from tertulia.engine.agent.memory import NO_RECALL, Recall
from tertulia.engine.agent.models import AllModels
from tertulia.engine.agent.nearness import Nearness
from tertulia.engine.agent.remembering import KEPT, Remembered, UserMemory, read_remembered
from tertulia.engine.agent.reply_ahead import GUESSES
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Incoming, Outcome, PendingCall, Person, Scene, ToolResult
from tertulia.engine.agent.toolbox import NO_TOOLBOXES, Toolboxes, TurnTools
from tertulia.engine.graph import context_graph
from tertulia.engine.graph.context_graph import Position
from tertulia.engine.speech.ahead import VoicesAhead
from tertulia.engine.speech.voices import Voices
from tertulia.engine.speech.wishes import Speaking
from tertulia.engine.trace import Detail, TextPool, Trace
from tertulia.engine.traced import TracedModels, TracedToolbox, TracedVoices, traced_meanings
from tertulia.engine.turns.attendance import AttendedToolbox
from tertulia.engine.turns.patience import Patience
from tertulia.engine.turns.turn import ActionFilter, Status, Turn
from tertulia.errors import InternalError, ModelError, TertuliaError, Unavailable
from tertulia.events import VersionInfo
from tertulia.ids import new_id
from tertulia.settings import TurnSettings
from tertulia.storage.conversation import UserProfile
from tertulia.storage.database.units import Database
from tertulia.storage.turn.at_once import is_plain, settle_at_once
from tertulia.storage.turn.idempotency import IdempotencyTicket
from tertulia.storage.turn.settle import abandon, settle
from tertulia.storage.turn.stream import pack_stream
from tertulia.storage.turn.sweep import renew
from tertulia.storage.turn.values import Claim, Lease, NewTrace, PackedStream, Settlement

SUPERVISION_S = 1.0
"""Seconds between two looks at the running turns."""

CLOSE_LOOK_S = 0.05

KEPT_QUERIES = 500
"""Queries of recall states that a conversation keeps, the newest."""

KEPT_RESULT_CHARS = 60_000
"""Characters of results of tools, and of what they were called with, that a conversation keeps, the newest."""

_FEW_SPANS = 12
_FEW_BYTES = 64 << 10
"""The spans and the events of a turn whose trace is encoded without a thread of its own."""

VOID_S = 10.0
"""Seconds that turns which are stopped may take to be abandoned."""

STOPPING = "The server is stopping."

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reach:
    """The models, voices, meanings and tools that the turns of a server can reach."""

    models: AllModels
    voices: Voices
    meanings: Meanings
    toolboxes: Toolboxes = NO_TOOLBOXES


class Runner:
    """The turns that run in this process. `owner` is its name in leases.

    `attempts`: the number of models, or voices, that may be tried one after another for the same thing; each of them
    has `stall_s`.
    """

    def __init__(
        self,
        settings: TurnSettings,
        reach: Reach,
        library: Library,
        attempts: int,
        detail: Detail | None = None,
    ) -> None:
        self.owner = new_id()
        self._detail: Detail | None = detail
        self._texts = TextPool()
        self._settings = settings
        self._silence_s = settings.stall_s * attempts
        self._reach = reach
        self._library = library
        self._nearness = Nearness(reach.meanings.embedder, reach.meanings.keeping)
        self._running: dict[str, Turn] = {}
        self._beginning = 0
        self._grace_ends: float | None = None

    @property
    def running(self) -> int:
        """The number of turns that are running."""
        return len(self._running)

    @property
    def closing(self) -> bool:
        """True when this process takes no more turns."""
        return self._grace_ends is not None

    def find(self, interaction_id: str) -> Turn | None:
        """Find a turn that runs here. Return it, or None."""
        return self._running.get(interaction_id)

    @contextmanager
    def admitted(self) -> Generator[None]:
        """Reserve a place for a turn, while it is claimed and until it is launched; the bound holds for a crowd too.

        Raises:
            Unavailable: the server is stopping, or has enough.
        """
        if self.closing:
            raise Unavailable(STOPPING, retry_after=2)
        if len(self._running) + self._beginning >= self._settings.max_running:
            raise Unavailable("The server runs as many conversations as it can.", retry_after=1)
        self._beginning += 1
        try:
            yield
        finally:
            self._beginning -= 1

    def lease(self) -> Lease:
        """Return a lease for a turn that is about to begin."""
        return Lease(self.owner, new_id(), self._lease_end())

    def make_turn(
        self, database: Database, claim: Claim, wants: ActionFilter, ticket: IdempotencyTicket | None = None
    ) -> Turn:
        """Make the turn of a claim, once only if there is a ticket. Return it, to be launched."""
        turn = Turn(database, claim, wants, Patience(self._silence_s, self._settings.total_s))
        turn.attempt = claim.interaction_id
        if ticket is not None:
            turn.attempt = " ".join([ticket.org_id, ticket.user_id, ticket.request_hash, ticket.key])
            turn.has_key = True
        if self._detail is not None:
            turn.trace = Trace(self._detail, claim.agent[0], self._texts)
        return turn

    def launch(self, turn: Turn, incoming: Incoming | None, speaking: Speaking | None = None) -> None:
        """Run a turn in a task of its own; its reply is written, or spoken as `speaking` says."""
        self._running[turn.claim.interaction_id] = turn
        turn.task = asyncio.create_task(self._run(turn, incoming, speaking))

    @property
    def supervision_s(self) -> float:
        """The time between two looks at the patience with turns, in seconds."""
        return min(SUPERVISION_S, self._settings.lease_s / 4)

    async def drain(self) -> None:
        """Take no more turns, and wait until those that run have ended, within the time of grace.

        That begins with the first call; safe to repeat.
        """
        loop = asyncio.get_running_loop()
        if self._grace_ends is None:
            self._grace_ends = loop.time() + self._settings.grace_s
        while self._busy and loop.time() < self._grace_ends:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(CLOSE_LOOK_S)

    async def close(self) -> None:
        """Take no more turns and end what still runs: it is void. What cannot be ended is left to the sweeper."""
        loop = asyncio.get_running_loop()
        self._grace_ends = loop.time()
        latest = loop.time() + VOID_S
        while self._busy and loop.time() < latest:
            for turn in list(self._running.values()):
                turn.stop(Unavailable(STOPPING))
            await asyncio.sleep(CLOSE_LOOK_S)

    @property
    def _busy(self) -> bool:
        return bool(self._running or self._beginning)

    def _lease_end(self) -> datetime:
        return clock.now() + timedelta(seconds=self._settings.lease_s)

    async def stop_overdue(self) -> None:
        """End the turns that have run out of time."""
        for turn in list(self._running.values()):
            error = turn.patience.verdict()
            if error is not None:
                turn.stop(error)

    async def renew_leases(self) -> None:
        """Lengthen the leases of running turns, of every cluster; raise what went wrong with one."""
        running: dict[Database, list[str]] = {}
        for turn in self._running.values():
            running.setdefault(turn.database, []).append(turn.claim.conversation_id)
        failure: Exception | None = None
        for database, conversation_ids in running.items():
            try:
                await database.write(renew, self.owner, self._lease_end(), conversation_ids)
            except Exception as error:  # noqa: BLE001 - the other clusters are not to suffer
                failure = error
        if failure is not None:
            raise failure

    async def _run(self, turn: Turn, incoming: Incoming | None, speaking: Speaking | None) -> None:
        """Run a turn, from its claim to its last event. Nothing escapes: an error becomes the `error` event."""
        complete = b""
        try:
            turn.begin()
            outcome = await self._interact(turn, incoming, speaking)
            turn.begin_settling()
            complete = events.encode(
                events.InteractionComplete(
                    outcome.message_id, turn.claim.interaction_id, outcome.full_message, outcome.finished
                )
            )
            if speaking is None:
                stream: bytes | PackedStream = turn.log.body + complete
            else:  # it is large: neither the event loop nor the database's writer is to wait until it is packed
                body = turn.log.body + complete
                said = turn.claim.interaction_id, outcome.messages, outcome.recordings
                stream = await asyncio.to_thread(pack_stream, body, *said)
            trace = await _trace_of(turn)
            settlement = self._settlement(turn, outcome, stream, _next_behavior(turn.claim, incoming, outcome), trace)
            await _settle(turn.database, turn.claim, settlement)
            turn.end(Status.SETTLED, complete)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a stream has no other way to tell it
            turn.fail(error)
            await self._give_up(turn, turn.error or error, complete)
        finally:
            del self._running[turn.claim.interaction_id]
            turn.log.close()

    async def _interact(self, turn: Turn, incoming: Incoming | None, speaking: Speaking | None) -> Outcome:
        remembered = await self._remembered(turn)
        scene = await self._scene(turn, incoming, speaking, remembered)
        meanings = self._reach.meanings if turn.trace is None else traced_meanings(self._reach.meanings, turn.trace)
        recall = _recall(turn, meanings)
        # The scene has them, and a turn may take long.
        turn.claim = structs.replace(turn.claim, profile=_left_of(turn.claim.profile), history=())
        outcome = Outcome(scene.position, turn.claim.last_message_time, working_memory=list(remembered.working_memory))
        models, voices = self._reach.models.of(turn.claim.org_id), self._reach.voices
        if incoming is not None and incoming.hearing is not None:
            voices = VoicesAhead(voices, incoming.hearing)
        toolbox = self._reach.toolboxes.of(turn.database, turn.claim)
        if not turn.has_key:
            toolbox = AttendedToolbox(toolbox, turn, self._settings.deserted_s)
        if turn.trace is not None:
            models, voices = TracedModels(models, turn.trace), TracedVoices(voices, turn.trace)
            toolbox = TracedToolbox(toolbox, turn.trace)
        resources = Resources(
            models=models,
            voices=voices,
            alive=turn.patience.touch,
            nearness=self._nearness.asking(meanings.embedder),
            recall=recall,
            guess=GUESSES[self._settings.reply_ahead],
            tools=TurnTools(toolbox, turn.attempt, self._settings.tool_s),
        )
        happening = interact(scene, outcome, resources)
        async with aclosing(happening):
            async for event in happening:
                turn.tell(event)
        return outcome

    async def _remembered(self, turn: Turn) -> Remembered:
        """Read what is remembered of the user. Return it, at no cost if nothing ever was."""
        claim = turn.claim
        if not claim.profile.memory_revision:
            return Remembered()
        return await turn.database.read(read_remembered, claim.user_id, claim.working_memory)

    async def _scene(
        self, turn: Turn, incoming: Incoming | None, speaking: Speaking | None, remembered: Remembered
    ) -> Scene:
        claim = turn.claim
        person = person_of(claim.profile)
        person = replace(person, additional_context=[*person.additional_context, *remembered.models])
        graphs = await self._library.graphs(turn.database, claim.graph)
        return Scene(
            agent=await self._library.agent(turn.database, claim.agent),
            graphs=graphs,
            position=(
                context_graph.start(claim.graph, graphs, returning=claim.returning)
                if claim.position is None
                else Position.from_json(claim.position)
            ),
            person=person,
            history=claim.history,
            incoming=incoming,
            llm_model_preferences=claim.llm_model_preferences,
            number=claim.num_interactions,
            speaking=speaking,
            behaviors=await self._library.behaviors(turn.database, claim.service_id, claim.behaviors_revision),
            previous_behavior=claim.behavior,
            performed_queries=claim.performed_queries,
            tool_results=[ToolResult.model_validate(result) for result in claim.tool_results],
            pending_calls=[PendingCall.model_validate(call) for call in claim.pending_calls],
        )

    async def _give_up(self, turn: Turn, error: BaseException, complete: bytes) -> None:
        """Leave nothing of a turn, and tell why. If a commit was under way, the turn may turn out to be settled.

        A reader does not wait for a database that is away, unless the turn may be committed.
        """
        outcome = await self._abandon(turn)
        if outcome is None and not complete:
            turn.end(Status.STOPPED, events.encode(_error_event(error, turn.claim)))
            turn.log.close()
            turn.status = await self._insist(turn) or Status.STOPPED
            return
        outcome = outcome or await self._insist(turn) or Status.VOID
        last = complete if outcome is Status.SETTLED else events.encode(_error_event(error, turn.claim))
        turn.end(outcome, last)

    async def _insist(self, turn: Turn) -> Status | None:
        """Abandon a turn once the database answers. Return its outcome; None if its lease or this process ends."""
        latest = asyncio.get_running_loop().time() + self._settings.lease_s
        while not self.closing and asyncio.get_running_loop().time() < latest:
            await asyncio.sleep(SUPERVISION_S)
            outcome = await self._abandon(turn)
            if outcome is not None:
                return outcome
        return None

    async def _abandon(self, turn: Turn) -> Status | None:
        """Leave nothing of a turn. Return its outcome, VOID or SETTLED; None if the database does not answer."""
        try:
            is_settled = await turn.database.write(abandon, turn.claim, await _trace_of(turn))
        except Exception as error:  # noqa: BLE001 - the lease ends by itself, and the sweeper does the same
            log.warning("turn not abandoned", conversation_id=turn.claim.conversation_id, reason=repr(error))
            return None
        return Status.SETTLED if is_settled else Status.VOID

    def _settlement(
        self,
        turn: Turn,
        outcome: Outcome,
        stream: bytes | PackedStream,
        behavior: VersionInfo | None,
        trace: NewTrace | None,
    ) -> Settlement:
        return Settlement(
            created_at=outcome.began,
            messages=outcome.messages,
            position=outcome.position.to_json(),
            insights=outcome.insights,
            finished=outcome.finished,
            stream=stream,
            recordings=outcome.recordings,
            behavior=behavior,
            invocation=outcome.invocation,
            working_memory=[found.id for found in outcome.working_memory][-KEPT:],
            performed_queries=[*turn.claim.performed_queries, *outcome.performed_queries][-KEPT_QUERIES:],
            tool_results=_kept_results(turn.claim, outcome),
            pending_calls=[call.model_dump(mode="json") for call in outcome.pending_calls],
            trace=trace,
            stream_expires_at=clock.now() + timedelta(seconds=self._settings.replay_s),
        )


def _recall(turn: Turn, meanings: Meanings) -> Recall:
    """Return the memory of the turn's user."""
    if not turn.claim.profile.memory_revision:
        return NO_RECALL
    return UserMemory(turn.database, turn.claim.user_id, meanings)


async def _settle(database: Database, claim: Claim, made: Settlement) -> None:
    """Commit the work of a turn. Raises what `storage.turn.settle.settle` does."""

    def settle_turn(connection: Connection) -> None:
        settle(connection, claim, made)

    if is_plain(made):
        await database.do(settle_at_once(settle_turn, claim, made))
    else:
        await database.write(settle_turn)


def _kept_results(claim: Claim, outcome: Outcome) -> list[Mapping[str, Any]]:
    """List the results of tools that later turns are told. Return them, the newest that have room."""
    new = [result.model_dump(mode="json") for result in outcome.tool_results if result.lasts]
    kept: deque[Mapping[str, Any]] = deque()
    room = KEPT_RESULT_CHARS
    for result in reversed([*claim.tool_results, *new]):
        room -= len(result["output"]) + len(msgspec.json.encode(result["arguments"]))
        if room < 0:
            break
        kept.appendleft(result)
    return list(kept)


def _left_of(profile: UserProfile) -> UserProfile:
    """Leave out what a running turn no longer reads of its user's profile. Return the rest, which its end compares."""
    return UserProfile("", "", {}, (), memory_forgotten_at=profile.memory_forgotten_at)


def _next_behavior(claim: Claim, incoming: Incoming | None, outcome: Outcome) -> VersionInfo | None:
    """Tell the behaviour that the next turn finds as the one before. Return it; a skipped message changes nothing."""
    if incoming is not None and incoming.type == "skip":
        return claim.behavior
    return None if outcome.behavior is None else outcome.behavior.version


def person_of(user: UserProfile) -> Person:
    """Describe a user as the agent knows them. Returns them as a person."""
    return Person(user.name, user.language, user.timezone, user.additional_context)


def _root_span(claim: Claim) -> dict[str, Any]:
    agent_id, version = claim.agent
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": agent_id,
        "gen_ai.agent.version": str(version),
        "gen_ai.conversation.id": claim.conversation_id,
        "tertulia.interaction_id": claim.interaction_id,
    }


async def _trace_of(turn: Turn) -> NewTrace | None:
    """End the trace of a turn. Return it as it is stored; None without one, or if it cannot be written."""
    if turn.trace is None:
        return None
    try:
        encode = partial(turn.trace.encode, _root_span(turn.claim), turn.error)
        return NewTrace(*(await asyncio.to_thread(encode) if _is_large(turn, turn.trace) else encode()))
    except Exception as error:  # noqa: BLE001 - the turn counts, and is not to fail for its trace
        log.warning("trace not kept", interaction_id=turn.claim.interaction_id, reason=repr(error))
        return None


def _is_large(turn: Turn, trace: Trace) -> bool:
    """Return True if encoding a trace may keep the event loop for milliseconds: its steps quote the turn's events."""
    return trace.keeps_texts and (trace.spans > _FEW_SPANS or turn.log.size > _FEW_BYTES)


def _error_event(error: BaseException, claim: Claim) -> events.Error:
    if isinstance(error, TertuliaError):
        reason = error.reason if isinstance(error, ModelError) else error.detail
        log.warning("turn void", conversation_id=claim.conversation_id, error=type(error).__name__, reason=reason)
        return events.Error(error.status, error.detail)
    log.error("turn failed", conversation_id=claim.conversation_id, exc_info=error)
    return events.Error(InternalError.status, InternalError().detail)
