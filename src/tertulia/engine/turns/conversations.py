"""Conversations as the engine has them: start one, go on with one, and say what a user could say in one.

A turn first claims its conversation in a short write; an error until then is a plain HTTP error. From then on the turn
is the runner's, and its events are read from its log: see following.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from tertulia import clock, events
from tertulia.engine.agent import suggestions
from tertulia.engine.agent.library import Library
from tertulia.engine.agent.meanings import Meanings
from tertulia.engine.agent.models import AllModels
from tertulia.engine.agent.prompt import Setting
from tertulia.engine.agent.scene import Agent, Incoming
from tertulia.engine.agent.suggestions import Starter, StarterWish
from tertulia.engine.agent.toolbox import NO_TOOLBOXES, Toolboxes
from tertulia.engine.speech.ahead import HeardAhead
from tertulia.engine.speech.voices import Voices, refuse_unheard, speaking_of
from tertulia.engine.speech.wishes import Speaking, VoiceWish
from tertulia.engine.turns.following import Following
from tertulia.engine.turns.gate import Gate
from tertulia.engine.turns.log import Stream
from tertulia.engine.turns.runner import Reach, Runner, person_of
from tertulia.engine.turns.turn import Turn
from tertulia.engine.work import RecordedWork
from tertulia.errors import BadRequest, Conflict, NotFound, TertuliaError, Unavailable
from tertulia.loops import Loops
from tertulia.settings import Settings
from tertulia.storage.conversation import Conversation, get_conversation
from tertulia.storage.database.units import Database
from tertulia.storage.service import find_keyterms
from tertulia.storage.trace import Worked
from tertulia.storage.turn.at_once import claim_at_once
from tertulia.storage.turn.claim import claim_existing, claim_new, get_opened_service
from tertulia.storage.turn.history import HistoryBounds
from tertulia.storage.turn.idempotency import EarlierTurn, IdempotencyTicket, begin_once
from tertulia.storage.turn.settle import abandon
from tertulia.storage.turn.values import Claim, Lease, Message, Opening
from tertulia.storage.usage import Quotas, refuse_when_full

CLOCK_SKEW = timedelta(seconds=5)
"""The most by which a caller's clock may be ahead of ours: an event so little in the future counts as past."""

LOOKUPS = 5
"""Attempts to follow the earlier turn of a key, which may be void by the time that it is looked for."""

ClaimUnit = Callable[[Connection, Lease], Claim]
"""The unit that claims a conversation with a lease."""


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """Options of a turn: once only, by a ticket; and with a reply that is spoken."""

    ticket: IdempotencyTicket | None = None
    voice: VoiceWish | None = None


PLAIN = TurnOptions()


class Conversations:
    """The conversations of an installation, as one of its workers has them."""

    def __init__(
        self,
        settings: Settings,
        models: AllModels,
        voices: Voices,
        meanings: Meanings,
        registry: Database,
        relay_key: bytes,
        toolboxes: Toolboxes = NO_TOOLBOXES,
    ) -> None:
        self.voices = voices
        self._recorded = RecordedWork(models, meanings, settings.trace_detail)
        self._library = Library()
        self._settings = settings
        self.history = HistoryBounds(settings.turn.history, settings.turn.history_chars)
        self._quotas = Quotas(settings.limit.user_stored_bytes, settings.limit.organization_stored_bytes)
        attempts = max(len(settings.model), len(settings.model_fast), len(settings.voice))
        reach = Reach(models, voices, meanings, toolboxes)
        self._runner = Runner(settings.turn, reach, self._library, attempts, settings.trace_detail)
        self.following = Following(self._runner, registry, relay_key, settings.turn.lease_s)

    @property
    def running(self) -> int:
        """The number of turns that run in this process."""
        return self._runner.running

    @property
    def closing(self) -> bool:
        """True when this process takes no more turns."""
        return self._runner.closing

    async def drain(self) -> None:
        """Take no more turns, and wait for those that run, within the time of grace; safe to repeat and to cancel."""
        await self._runner.drain()

    async def void(self) -> None:
        """End the turns that still run; nothing of them remains."""
        await self._runner.close()

    @asynccontextmanager
    async def open(self, loops: Loops) -> AsyncGenerator[None]:
        """Be a worker of the installation while the block runs; then finish what runs, within the time of grace."""
        patience = loops.keep("patience with turns", self._runner.stop_overdue, self._runner.supervision_s)
        leases = loops.keep("leases", self._runner.renew_leases, self._settings.turn.lease_s / 3)
        async with self.following.open(self._settings.relay.host, loops), patience, leases:
            try:
                yield
            finally:
                await self.drain()
                await self.void()
                await self._recorded.drain()

    # --- Turns -------------------------------------------------------------------------------------------------------

    async def start(
        self,
        database: Database,
        gate: Gate,
        opening: Opening,
        incoming: Incoming | None,
        options: TurnOptions = PLAIN,
    ) -> Stream:
        """Create a conversation and begin its first turn: with `incoming`, or else with the agent's word.

        Return the turn's stream.

        Raises:
            NotFound, BadRequest, Conflict: see storage.turn.claim.claim_new; and whatever the gate raises.
            BadRequest: the graph has states that the engine cannot run, or the reply cannot be spoken.
            StorageFull: the user's conversations, or the organization's, hold as many bytes as they may.
            Unprocessable: the ticket's key was used for another request.
            Unavailable: there can be no new turn now.
        """

        def claim(connection: Connection, lease: Lease) -> Claim:
            refuse_when_full(connection, self._quotas, opening.org_id, opening.user_id)
            return claim_new(connection, opening, lease)

        with self._runner.admitted():
            if options.ticket is None and not self._quotas.are_set:
                claimed = await self._claim_at_once(database, gate, opening, claim)
            else:
                claimed = await self._claim(database, gate, options.ticket, claim)
            if isinstance(claimed, Stream):
                return claimed
            async with _abandoned_with_error(database, claimed):
                speaking = await self._speaking(database, claimed, options.voice)
            turn = self._runner.make_turn(database, claimed, gate.shows(claimed.attributes), options.ticket)
            turn.tell(events.ConversationCreated(claimed.conversation_id))
            return self._launch(turn, incoming, speaking)

    async def interact(
        self,
        database: Database,
        gate: Gate,
        org_id: str,
        conversation_id: str,
        incoming: Incoming,
        options: TurnOptions = PLAIN,
    ) -> Stream:
        """Begin another turn of a conversation. Return its stream.

        A spoken message is heard before this returns: an error until then is raised, and leaves nothing.

        Raises:
            NotFound, Conflict: see storage.turn.claim.claim_existing; and whatever the gate raises.
            BadRequest: the external events do not fit into the conversation, the reply cannot be spoken, or there is no
                speech in the message.
            StorageFull: as in `start`.
            TranscriptionFailed, or what `incoming.decode` raises: the message cannot be heard.
            Unprocessable: the ticket's key was used for another request.
            Unavailable: there can be no new turn now.
        """

        sender = ""

        def claim(connection: Connection, lease: Lease) -> Claim:
            nonlocal sender
            conversation = get_conversation(connection, org_id, conversation_id)
            gate.admit(conversation)
            refuse_when_full(connection, self._quotas, org_id, conversation.owner.user_id)
            claimed = claim_existing(connection, conversation, lease, self.history)
            check_external_events(incoming, claimed.last_message_time)
            sender = gate.record(connection, conversation)
            return claimed

        def admit(connection: Connection) -> None:
            gate.admit(get_conversation(connection, org_id, conversation_id))

        with self._runner.admitted():
            if options.ticket is not None:  # a turn that is replayed is not claimed, so nobody has asked yet
                await database.read(admit)
            claimed = await self._claim(database, gate, options.ticket, claim)
            if isinstance(claimed, Stream):
                return claimed
            incoming = replace(incoming, sender=sender)
            turn = self._runner.make_turn(database, claimed, gate.shows(claimed.attributes), options.ticket)
            is_spoken = incoming.decode is not None
            if options.voice is None and not is_spoken:
                return self._launch(turn, incoming)
            async with _abandoned_with_error(database, claimed):
                speaking = await self._speaking(database, claimed, options.voice)
                if is_spoken:
                    incoming = replace(incoming, keyterms=await self._keyterms(database, claimed))
            stream = self._launch(turn, incoming, speaking)
        if is_spoken:
            await turn.first_line()
        return stream

    async def hear_ahead(self, database: Database, org_id: str, conversation_id: str, pcm: bytes) -> HeardAhead | None:
        """Write down what may be the next message of a conversation. Return it.

        Return None if that would take the transcriber's time from others, or money, or if nothing can be heard.
        """
        with suppress(TertuliaError):  # the turn hears it again, and tells the error
            conversation = await database.read(get_conversation, org_id, conversation_id)
            language, keyterms = await self._language_and_keyterms(database, conversation)
            if self.voices.hears_ahead(language):
                return HeardAhead(language, keyterms, await self.voices.transcribe(pcm, language, keyterms))
        return None

    async def _speaking(self, database: Database, claim: Claim, voice: VoiceWish | None) -> Speaking | None:
        if voice is None:
            return None
        agent = await self._library.agent(database, claim.agent)
        voice_id = None if agent.voice_config is None else agent.voice_config.voice_id
        return speaking_of(self.voices, voice_id, _language(claim, agent), voice)

    async def _keyterms(self, database: Database, claim: Claim) -> list[str]:
        """List words that are likely in the user's message. Raises BadRequest if their language is not understood."""
        language, keyterms = await self._language_and_keyterms(database, claim)
        refuse_unheard(self.voices, language)
        return keyterms

    async def _language_and_keyterms(self, database: Database, talk: Claim | Conversation) -> tuple[str, list[str]]:
        agent = await self._library.agent(database, talk.agent)
        terms = await database.read(find_keyterms, talk.org_id, talk.service_id)
        return _language(talk, agent), list(dict.fromkeys([*terms, *talk.profile.keyterms]))

    async def _claim(
        self, database: Database, gate: Gate, ticket: IdempotencyTicket | None, claim: ClaimUnit
    ) -> Claim | Stream:
        """Claim a turn. Return the claim, or the stream of the turn that an earlier request with the key began."""
        for _ in range(LOOKUPS):
            claimed = await self._redeem(database, gate, ticket, claim)
            if isinstance(claimed, Claim):
                return claimed
            with suppress(NotFound):  # void since we looked: its key is free again
                stream = await self.following.follow(database, claimed.conversation_id, claimed.interaction_id)
                return replace(stream, replayed=True)
        raise Unavailable("Earlier requests with this Idempotency-Key fail one after the other.", retry_after=2)

    async def _claim_at_once(self, database: Database, gate: Gate, opening: Opening, claim: ClaimUnit) -> Claim:
        """Claim the first turn of a conversation. Return the claim."""
        lease = self._runner.lease()

        def redeem(connection: Connection) -> Claim:
            gate.confirm(connection)
            return claim(connection, lease)

        return await database.do_lazily(claim_at_once(redeem, opening, lease, gate.standing))

    async def _redeem(
        self, database: Database, gate: Gate, ticket: IdempotencyTicket | None, claim: ClaimUnit
    ) -> Claim | EarlierTurn:
        lease = self._runner.lease()

        def redeem(connection: Connection) -> Claim | EarlierTurn:
            gate.confirm(connection)
            return begin_once(connection, ticket, lambda connection: claim(connection, lease))

        try:
            return await database.write_lazily(redeem)
        except (BadRequest, Conflict):
            if ticket is None:
                raise
            return await database.write_lazily(redeem)  # what is in the way may be the key's own turn, just begun

    def _launch(self, turn: Turn, incoming: Incoming | None, speaking: Speaking | None = None) -> Stream:
        if speaking is not None:
            turn.log.expect_sound()
        self._runner.launch(turn, incoming, speaking)
        return Stream(turn.claim.conversation_id, turn.claim.interaction_id, turn.log)

    # --- Suggestions -------------------------------------------------------------------------------------------------

    async def recommend_responses(
        self, database: Database, conversation: Conversation, history: Sequence[Message], context: str
    ) -> list[str]:
        """Suggest answers that the user might give now. Return them. Raises ModelError."""
        agent = await self._library.agent(database, conversation.agent)
        graphs = await self._library.graphs(database, conversation.graph)
        began = history[0].created_at if history else clock.now()
        setting = Setting(agent, graphs[conversation.graph], person_of(conversation.profile), began)
        owner, graph_id = conversation.owner.user_id, conversation.graph[0]
        worked = Worked(
            "recommend-responses", conversation.org_id, owner, conversation.id, conversation.service_id, graph_id
        )
        async with self._recorded.begin_answer(database, worked) as resources:
            return await suggestions.recommend_responses(
                resources.models, conversation.llm_model_preferences, setting, history, context
            )

    async def recommend_starters(self, database: Database, opening: Opening, wish: StarterWish) -> list[Starter]:
        """Suggest first messages for a conversation that could begin. Return them.

        Raises:
            NotFound, BadRequest: see storage.turn.claim.get_opened_service.
            ModelError: the model has failed.
        """
        service = await database.read(get_opened_service, opening)
        agent = await self._library.agent(database, service.agent)
        graph = (await self._library.graphs(database, service.graph))[service.graph]
        worked = Worked(
            "conversation-starters", opening.org_id, opening.user_id, "", opening.service_id, service.graph[0]
        )
        async with self._recorded.begin_answer(database, worked) as resources:
            models, preferences = resources.models, service.llm_model_preferences
            return await suggestions.conversation_starters(models, preferences, agent, graph, wish)


@asynccontextmanager
async def _abandoned_with_error(database: Database, claim: Claim) -> AsyncGenerator[None]:
    """Run the steps between a claim and its turn; if they fail, nothing of the claim remains."""
    try:
        yield
    except Exception:
        with suppress(TertuliaError):
            await database.write(abandon, claim)
        raise


def _language(talk: Claim | Conversation, agent: Agent) -> str:
    return talk.profile.language or agent.identity.default_spoken_language


def check_external_events(incoming: Incoming, last_message_time: datetime | None) -> None:
    """Raise BadRequest if an event that the caller timed is in the future, out of order or before the last message."""
    earliest = last_message_time or clock.EPOCH
    latest = clock.now() + CLOCK_SKEW
    for event in incoming.external_events:
        if event.is_timed_here:
            continue
        if event.happened_at > latest:
            raise BadRequest("external_event_message_timestamp: an external event is not in the past.")
        if event.happened_at < earliest:
            raise BadRequest(
                "external_event_message_timestamp: an external event is earlier than the conversation's last message, "
                "or not in chronological order."
            )
        earliest = event.happened_at
