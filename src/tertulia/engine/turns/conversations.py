"""What can be done with conversations: start one, go on with it, follow, cancel.

A turn first claims its conversation in a short write; what is wrong until then is a plain HTTP error. From then on it
is the runner's, and what it does is read from its log: here, from the database once it has ended, or from the worker
that runs it.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.engine import Connection

from tertulia import clock, events
from tertulia.engine.agent.library import Library
from tertulia.engine.agent.models import AllModels
from tertulia.engine.agent.scene import Agent, Incoming
from tertulia.engine.graph import context_graph
from tertulia.engine.speech.voices import Voices, refuse_unheard, speaking_of
from tertulia.engine.speech.wishes import Speaking, VoiceWish
from tertulia.engine.turns import relay
from tertulia.engine.turns.relay import Relay
from tertulia.engine.turns.runner import Runner
from tertulia.engine.turns.turn import ActionFilter, EventLog, Recorded, Turn
from tertulia.errors import BadRequest, Conflict, Gone, NotFound, TertuliaError, Unavailable
from tertulia.settings import Settings
from tertulia.storage.conversation import Authorize, Record, get_conversation
from tertulia.storage.database.units import Database
from tertulia.storage.service import find_keyterms
from tertulia.storage.turn import worker
from tertulia.storage.turn.claim import claim_existing, claim_new
from tertulia.storage.turn.idempotency import Earlier, Ticket, begin_once
from tertulia.storage.turn.settle import abandon
from tertulia.storage.turn.stream import Elsewhere, Recording, find_stream
from tertulia.storage.turn.values import Claim, Lease, Opening

CLOCK_SKEW = timedelta(seconds=5)
"""How far ahead of ours a caller's clock may be: an event so little in the future counts as past."""

LOOKUPS = 5
"""How often a turn is looked for: between two looks it may end here, or begin there."""

LOOKUP_PAUSE_S = 0.02

log = structlog.get_logger()

Confirm = Callable[[Connection], None]
"""Raises when what the caller may do is not what was assumed."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a turn is asked for: once only, by a ticket, and with a reply that is spoken."""

    ticket: Ticket | None = None
    aloud: VoiceWish | None = None


PLAIN = Manner()


@dataclass(frozen=True, slots=True)
class Stream:
    """The events of a turn, and the identifiers to come back to it. `replayed`: a request before this one began it."""

    conversation_id: str
    interaction_id: str
    log: EventLog
    replayed: bool = False


class Conversations:
    """The conversations of an installation, as one of its workers has them."""

    def __init__(
        self, settings: Settings, models: AllModels, voices: Voices, registry: Database, relay_key: bytes
    ) -> None:
        self.models = models
        self.voices = voices
        self.library = Library()
        self.history = settings.turn.history
        self._settings = settings
        attempts = max(len(settings.model), len(settings.voice))
        self._runner = Runner(settings.turn, models, voices, self.library, attempts)
        self._registry = registry
        self._relay_key = relay_key
        self._relay = Relay(relay_key, self._runner.find)

    @property
    def running(self) -> int:
        """How many turns run in this process."""
        return self._runner.running

    @property
    def closing(self) -> bool:
        """Whether this process takes no more turns."""
        return self._runner.closing

    async def drain(self) -> None:
        """Take no more turns, and wait for those that run, within the time of grace; safe to repeat and to cancel."""
        await self._runner.drain()

    async def void(self) -> None:
        """End the turns that still run; nothing of them remains."""
        await self._runner.close()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Be a worker of the installation while the block runs; then finish what runs, within the time of grace."""
        address = await self._relay.open(self._settings.relay.host)
        tasks = [asyncio.create_task(work) for work in (self._register(address), self._runner.supervise())]
        try:
            yield
        finally:
            await self.drain()
            await self.void()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._relay.close()
            with suppress(TertuliaError):
                await self._registry.write(worker.unregister, self._runner.owner)

    async def _register(self, address: str) -> None:
        lease_s = self._settings.turn.lease_s
        while True:
            until = clock.now() + timedelta(seconds=lease_s)
            try:
                await self._registry.write(worker.register, self._runner.owner, address, until)
            except Exception as error:  # noqa: BLE001 - the next time may succeed before the last one is forgotten
                log.warning("worker not registered", reason=repr(error))
            await asyncio.sleep(lease_s / 3)

    async def start(
        self,
        database: Database,
        confirm: Confirm,
        opening: Opening,
        incoming: Incoming | None,
        wants: ActionFilter,
        manner: Manner = PLAIN,
    ) -> Stream:
        """Create a conversation and begin its first turn: with `incoming`, or else with the agent's word.

        `confirm` is called in the transaction that claims; what it raises undoes everything.

        Raises:
            NotFound, BadRequest, Conflict: see storage.turn.claim.
            BadRequest: the graph has states that the engine cannot run, or the reply cannot be spoken.
            Unprocessable: the ticket's key was used for another request.
            Unavailable: there can be no new turn now.
        """

        def claim(connection: Connection, lease: Lease) -> Claim:
            return claim_new(connection, opening, lease)

        with self._runner.admitted():
            claimed = await self._claim(database, confirm, manner.ticket, claim)
            if isinstance(claimed, Stream):
                return claimed
            async with _abandoned_with_error(database, claimed):
                await self._refuse_what_cannot_run(database, claimed)
                speaking = await self._speaking(database, claimed, manner.aloud)
            turn = Turn(database, claimed, wants)
            turn.tell(events.ConversationCreated(claimed.conversation_id))
            return self._launch(turn, incoming, speaking)

    async def interact(
        self,
        database: Database,
        confirm: Confirm,
        org_id: str,
        conversation_id: str,
        incoming: Incoming,
        authorize: Authorize,
        wants: Callable[[Record], ActionFilter],
        manner: Manner = PLAIN,
    ) -> Stream:
        """Begin another turn of a conversation; `authorize` and `wants` are asked with the conversation's row.

        `confirm` is called in the transaction that claims; what it raises undoes everything. A spoken message is heard
        before this returns: what goes wrong until then is raised, and leaves nothing.

        Raises:
            NotFound, Forbidden, Conflict: see storage.turn.claim.
            BadRequest: the external events do not fit into the conversation, the reply cannot be spoken, or there is no
                speech in the message.
            TranscriptionFailed, or what `incoming.decode` raises: the message cannot be heard.
            Unprocessable: the ticket's key was used for another request.
            Unavailable: there can be no new turn now.
        """

        def claim(connection: Connection, lease: Lease) -> Claim:
            claimed = claim_existing(connection, org_id, conversation_id, lease, self.history, authorize)
            check_external_events(incoming, claimed.last_message_time)
            return claimed

        with self._runner.admitted():
            if manner.ticket is not None:  # what is replayed has not been claimed, and asks nobody
                await database.read(_authorize, org_id, conversation_id, authorize)
            claimed = await self._claim(database, confirm, manner.ticket, claim)
            if isinstance(claimed, Stream):
                return claimed
            turn = Turn(database, claimed, wants(claimed.user))
            is_spoken = incoming.decode is not None
            if manner.aloud is None and not is_spoken:
                return self._launch(turn, incoming)
            async with _abandoned_with_error(database, claimed):
                speaking = await self._speaking(database, claimed, manner.aloud)
                if is_spoken:
                    incoming = replace(incoming, keyterms=await self._keyterms(database, claimed))
            stream = self._launch(turn, incoming, speaking)
        if is_spoken:
            await turn.first_line()
        return stream

    async def _speaking(self, database: Database, claim: Claim, aloud: VoiceWish | None) -> Speaking | None:
        if aloud is None:
            return None
        agent = await self.library.agent(database, claim.agent)
        voice_id = None if agent.voice_config is None else agent.voice_config.voice_id
        return speaking_of(self.voices, voice_id, _language(claim, agent), aloud)

    async def _keyterms(self, database: Database, claim: Claim) -> list[str]:
        """Words that are likely in what the user says. Raises BadRequest where their language is not understood."""
        agent = await self.library.agent(database, claim.agent)
        refuse_unheard(self.voices, _language(claim, agent))
        terms = await database.read(find_keyterms, claim.org_id, claim.user["service_id"])
        return list(dict.fromkeys([*terms, *claim.user["preferences"].get("audio_keyterms", ())]))

    async def _refuse_what_cannot_run(self, database: Database, claim: Claim) -> None:
        """A version set may follow the latest version of a graph, which came after the service was checked."""
        graphs = await self.library.graphs(database, claim.graph)
        names = [name for graph in graphs.values() for name in context_graph.unsupported(graph)]
        if names:
            raise BadRequest(f"The service's context graph has states that cannot be run yet: {', '.join(names)}.")

    async def _claim(
        self,
        database: Database,
        confirm: Confirm,
        ticket: Ticket | None,
        claim: Callable[[Connection, Lease], Claim],
    ) -> Claim | Stream:
        """A new claim, or the turn that an earlier request with the same key began."""
        for _ in range(LOOKUPS):
            claimed = await self._redeem(database, confirm, ticket, claim)
            if isinstance(claimed, Claim):
                return claimed
            with suppress(NotFound):  # void since we looked: its key is free again
                return await self.follow(database, claimed.conversation_id, claimed.interaction_id, replayed=True)
        raise Unavailable("Earlier requests with this Idempotency-Key fail one after the other.", retry_after=2)

    async def _redeem(
        self,
        database: Database,
        confirm: Confirm,
        ticket: Ticket | None,
        claim: Callable[[Connection, Lease], Claim],
    ) -> Claim | Earlier:
        lease = self._runner.lease()

        def redeem(connection: Connection) -> Claim | Earlier:
            confirm(connection)
            return begin_once(connection, ticket, lambda connection: claim(connection, lease))

        try:
            return await database.write_lazily(redeem)
        except (BadRequest, Conflict):
            if ticket is None:
                raise
            return await database.write_lazily(redeem)  # what is in the way may be the key's own turn, just begun

    def _launch(self, turn: Turn, incoming: Incoming | None, speaking: Speaking | None = None) -> Stream:
        if speaking is not None:
            turn.expect_sound()
        self._runner.launch(turn, incoming, speaking)
        return Stream(turn.claim.conversation_id, turn.claim.interaction_id, turn)

    async def follow(
        self, database: Database, conversation_id: str, interaction_id: str, after: int = 0, *, replayed: bool = False
    ) -> Stream:
        """The events of a turn, from wherever it runs or is kept; the first `after` lines are not wanted.

        Raises:
            NotFound: there is no such turn, or it is void.
            Gone: its events are not kept any more.
            Unavailable: the worker that runs it cannot be reached.
        """
        for _ in range(LOOKUPS):
            log = await self._find_log(database, conversation_id, interaction_id, after)
            if log is not None:
                return Stream(conversation_id, interaction_id, log, replayed)
            await asyncio.sleep(LOOKUP_PAUSE_S)
        raise Unavailable("The worker that runs this turn cannot be reached.", retry_after=2)

    async def _find_log(
        self, database: Database, conversation_id: str, interaction_id: str, after: int
    ) -> EventLog | None:
        turn = self._runner.find(interaction_id)
        if turn is not None and turn.claim.conversation_id == conversation_id:
            return turn
        found = await database.read(find_stream, conversation_id, interaction_id)
        if isinstance(found, Recording):
            return Recorded(found.body)
        address = await self._address(found)
        return await relay.follow_at(address, self._relay_key, interaction_id, after) if address else None

    async def _address(self, where: Elsewhere) -> str | None:
        if where.owner == self._runner.owner:  # it is about to begin here, or has just ended
            return None
        return await self._registry.read(worker.find_address, where.owner)

    async def cancel(self, database: Database, conversation_id: str, interaction_id: str) -> None:
        """End a running turn, wherever it runs; nothing of it remains.

        Raises:
            NotFound: there is no such turn, or it is void already.
            Conflict: it is complete.
            Unavailable: the worker that runs it cannot be reached.
        """
        for _ in range(LOOKUPS):
            word = await self._cancel(database, conversation_id, interaction_id)
            if word == "yes":
                return
            if word == "late":
                raise Conflict("The interaction is complete.")
            await asyncio.sleep(LOOKUP_PAUSE_S)
        raise Unavailable("The worker that runs this turn cannot be reached.", retry_after=2)

    async def _cancel(self, database: Database, conversation_id: str, interaction_id: str) -> relay.Word:
        turn = self._runner.find(interaction_id)
        if turn is not None and turn.claim.conversation_id == conversation_id:
            return await relay.cancel(turn)
        try:
            found = await database.read(find_stream, conversation_id, interaction_id)
        except Gone:
            return "late"
        if isinstance(found, Recording):
            return "late"
        address = await self._address(found)
        return await relay.cancel_at(address, self._relay_key, interaction_id) if address else "unknown"


@asynccontextmanager
async def _abandoned_with_error(database: Database, claim: Claim) -> AsyncGenerator[None]:
    """What is to be done between a claim and its turn: where it fails, nothing of the claim remains."""
    try:
        yield
    except Exception:
        with suppress(TertuliaError):
            await database.write(abandon, claim)
        raise


def _language(claim: Claim, agent: Agent) -> str:
    return claim.user["preferences"].get("preferred_language") or agent.identity.default_spoken_language


def _authorize(connection: Connection, org_id: str, conversation_id: str, authorize: Authorize) -> None:
    authorize(get_conversation(connection, org_id, conversation_id))


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
