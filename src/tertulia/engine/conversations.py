"""Conversations in motion: claim, run, settle or abandon.

A turn first claims its conversation in a short write; what is wrong until then is a plain HTTP error. Then it runs in a
task of its own and writes its events to a log that the response follows. At the end it settles, in one transaction, and
only then says `interaction-complete`; whatever ends it early leads to `abandon`, which leaves nothing behind.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime, timedelta

import structlog
from sqlalchemy.engine import Connection, RowMapping

from tertulia import clock, events
from tertulia.engine import context_graph
from tertulia.engine.context_graph import Position
from tertulia.engine.interaction import interact
from tertulia.engine.library import Library
from tertulia.engine.models import Models
from tertulia.engine.scene import Incoming, Outcome, Person, Scene
from tertulia.engine.turn import ActionFilter, Turn
from tertulia.errors import BadRequest, ModelError, ModelTimeout, TertuliaError, Unavailable
from tertulia.ids import new_id
from tertulia.settings import TurnSettings
from tertulia.storage import turn as stored
from tertulia.storage.conversation import Authorize
from tertulia.storage.database import Database
from tertulia.storage.turn import Claim, Lease, Opening, Settlement

CLOCK_SKEW = timedelta(seconds=5)
"""How far ahead of ours a caller's clock may be: an event so little in the future counts as past."""

SUPERVISION_S = 1.0
"""How often running turns are looked at, in seconds."""

log = structlog.get_logger()


class Conversations:
    """The turns of one process."""

    def __init__(self, settings: TurnSettings, models: Models) -> None:
        self.models = models
        self.library = Library()
        self.history = settings.history
        self._settings = settings
        self._owner = new_id()
        self._running: dict[Turn, Database] = {}
        self._closing = False

    @property
    def running(self) -> int:
        """How many turns are running."""
        return len(self._running)

    async def start(self, database: Database, opening: Opening, incoming: Incoming | None, wants: ActionFilter) -> Turn:
        """Create a conversation and begin its first turn: with `incoming`, or else with the agent's word.

        Raises:
            NotFound, BadRequest, Conflict: see storage.turn.claim_new.
            Unavailable: the server is stopping.
        """
        self._refuse_when_closing()
        claim = await database.write(stored.claim_new, opening, self._lease())
        turn = Turn(wants)
        turn.append(events.ConversationCreated(claim.conversation_id))
        return self._launch(turn, database, claim, incoming)

    async def interact(
        self,
        database: Database,
        org_id: str,
        conversation_id: str,
        incoming: Incoming,
        authorize: Authorize,
        wants: Callable[[RowMapping], ActionFilter],
    ) -> Turn:
        """Begin another turn of a conversation; `authorize` and `wants` are asked with the conversation's row.

        Raises:
            NotFound, Forbidden, Conflict: see storage.turn.claim_existing.
            BadRequest: the external events do not fit into the conversation.
            Unavailable: the server is stopping.
        """
        self._refuse_when_closing()

        def claim_checked(connection: Connection) -> Claim:
            claim = stored.claim_existing(connection, org_id, conversation_id, self._lease(), self.history, authorize)
            check_external_events(incoming, claim.last_message_time)
            return claim

        claim = await database.write(claim_checked)
        return self._launch(Turn(wants(claim.user)), database, claim, incoming)

    async def supervise(self) -> None:
        """Lengthen the leases of running turns and end those whose model has stalled; runs until cancelled."""
        ticks_per_renewal = max(1, int(self._settings.lease_s / 3 / SUPERVISION_S))
        tick = 0
        while True:
            await asyncio.sleep(SUPERVISION_S)
            self._stop_stalled()
            tick = (tick + 1) % ticks_per_renewal
            if tick == 0:
                await self._renew_leases()

    async def close(self, grace_s: float) -> None:
        """Take no more turns; let those that run finish within `grace_s` seconds, and void the rest."""
        self._closing = True
        tasks = [turn.task for turn in self._running if turn.task]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for turn in list(self._running):
            turn.stop(Unavailable("The server is stopping."))
        await asyncio.gather(*tasks, return_exceptions=True)

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise Unavailable("The server is stopping.", retry_after=2)

    def _lease(self) -> Lease:
        return Lease(self._owner, clock.now() + timedelta(seconds=self._settings.lease_s))

    def _stop_stalled(self) -> None:
        latest = asyncio.get_running_loop().time() - self._settings.stall_s
        for turn in list(self._running):
            if turn.touched < latest:
                turn.stop(ModelTimeout(f"nothing for {self._settings.stall_s:g} s"))

    async def _renew_leases(self) -> None:
        for database in set(self._running.values()):
            try:
                await database.write(stored.renew, self._lease())
            except TertuliaError as error:  # the next renewal may succeed before the lease ends
                log.warning("leases not renewed", reason=error.detail)

    def _launch(self, turn: Turn, database: Database, claim: Claim, incoming: Incoming | None) -> Turn:
        self._running[turn] = database
        turn.task = asyncio.create_task(self._run(turn, database, claim, incoming))
        return turn

    async def _run(self, turn: Turn, database: Database, claim: Claim, incoming: Incoming | None) -> None:
        """A turn, from its claim to its last event. Nothing escapes: what goes wrong becomes the `error` event."""
        try:
            outcome = await self._interact(turn, database, claim, incoming)
            turn.settling = True
            await database.write(stored.settle, claim, _settlement(outcome))
            turn.append(
                events.InteractionComplete(
                    outcome.message_id, outcome.interaction_id, outcome.full_message, outcome.finished
                )
            )
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a stream has no other way to tell it
            await self._abandon(database, claim)
            turn.append(_error_event(turn.stopped_by or error, claim))
        finally:
            del self._running[turn]
            turn.close()

    async def _interact(self, turn: Turn, database: Database, claim: Claim, incoming: Incoming | None) -> Outcome:
        scene = await self._scene(database, claim, incoming)
        outcome = Outcome(scene.position, claim.last_message_time)
        async with aclosing(interact(scene, outcome, self.models)) as happening:
            async for event in happening:
                turn.append(event)
        return outcome

    async def _abandon(self, database: Database, claim: Claim) -> None:
        try:
            await database.write(stored.abandon, claim.conversation_id, claim.lease_token)
        except Exception as error:  # noqa: BLE001 - the lease ends by itself, and the sweeper does the same
            log.warning("turn not abandoned", conversation_id=claim.conversation_id, reason=repr(error))

    async def _scene(self, database: Database, claim: Claim, incoming: Incoming | None) -> Scene:
        graphs = await self.library.graphs(database, claim.graph)
        return Scene(
            agent=await self.library.agent(database, claim.agent),
            graphs=graphs,
            position=(
                context_graph.start(claim.graph, graphs, returning=claim.returning)
                if claim.position is None
                else Position.from_json(claim.position)
            ),
            person=_person(claim),
            history=claim.history,
            incoming=incoming,
            llm_model_preferences=claim.llm_model_preferences,
        )


def check_external_events(incoming: Incoming, last_message_time: datetime | None) -> None:
    """Raise BadRequest unless external events are past, in order, and later than all that was said."""
    earliest = last_message_time or clock.EPOCH
    latest = clock.now() + CLOCK_SKEW
    for event in incoming.external_events:
        if event.happened_at > latest:
            raise BadRequest("external_event_message_timestamp: an external event is not in the past.")
        if event.happened_at < earliest:
            raise BadRequest(
                "external_event_message_timestamp: an external event is earlier than the conversation's last message, "
                "or not in chronological order."
            )
        earliest = event.happened_at


def _person(claim: Claim) -> Person:
    user = claim.user
    preferences = user["preferences"]
    return Person(
        name=f"{user['first_name']} {user['last_name']}",
        language=preferences.get("preferred_language"),
        timezone=preferences.get("timezone") or "UTC",
        additional_context=user["additional_context"],
    )


def _settlement(outcome: Outcome) -> Settlement:
    return Settlement(
        interaction_id=outcome.interaction_id,
        created_at=outcome.began,
        messages=outcome.messages,
        position=outcome.position.to_json(),
        insights=outcome.insights,
        finished=outcome.finished,
    )


def _error_event(error: BaseException, claim: Claim) -> events.Error:
    if isinstance(error, TertuliaError):
        reason = error.reason if isinstance(error, ModelError) else error.detail
        log.warning("turn void", conversation_id=claim.conversation_id, error=type(error).__name__, reason=reason)
        return events.Error(error.status, error.detail)
    log.error("turn failed", conversation_id=claim.conversation_id, exc_info=error)
    return events.Error(500, "Internal error.")
