"""Live conversations: `GET /v1/{organization}/conversation/converse_realtime`, a WebSocket.

An error that keeps a caller out is a plain HTTP error, as everywhere; from then on errors are messages. This module is
the way to the client and back; the conversation is `engine.live`, and its turns go through the door.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Annotated, Literal

import msgspec
import structlog
from fastapi import WebSocket
from prometheus_client import Gauge
from pydantic import BaseModel, Field, ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from tertulia import problems
from tertulia.api.conversation import door
from tertulia.api.conversation.action_filter import EVERYTHING, action_filter
from tertulia.api.conversation.opening import CreateConversation
from tertulia.api.http.deps import Caller, find_caller, forget_actor
from tertulia.api.http.errors import answer
from tertulia.api.http.rate_limit import count, headers_of
from tertulia.api.http.routing import contract_router, refuse_nul_in_path, refuse_query
from tertulia.api.http.warnings import MOST, unknown, with_warnings
from tertulia.audio import require_codecs
from tertulia.auth.credentials import SUBPROTOCOL
from tertulia.engine.agent.scene import Incoming
from tertulia.engine.live import messages as live_messages
from tertulia.engine.live.messages import AnyClientMessage, StartConversation
from tertulia.engine.live.ports import POLICY, ClientGone, Closing, SessionClosed
from tertulia.engine.live.session import Pace, Session
from tertulia.engine.speech.ahead import HeardAhead
from tertulia.engine.speech.wishes import AudioFormat, VoiceWish
from tertulia.engine.turns.conversations import TurnOptions
from tertulia.engine.turns.log import Stream
from tertulia.engine.turns.turn import ActionFilter
from tertulia.errors import InternalError, TertuliaError, Unprocessable, in_field
from tertulia.providers.base import Detector
from tertulia.settings import Settings

router = contract_router("/conversation", "Conversation")

OPERATION = "converse-realtime"
"""The name by which a setting changes the limit of sessions."""

PACE = Pace()

MESSAGE_BYTES = 1 << 20
"""The longest message of a client."""

SESSIONS_AT_ONCE = 10
"""Sessions of one user in a process; a detector of speech takes 10 MB."""

SESSIONS_A_MINUTE = 5
TURNS_A_MINUTE = 60
"""Turns of one user, over all their sessions; a session's beginning and end count as turns."""

READER_STALL_S = 60
"""Seconds after which a client that takes no message has left."""

UNSUPPORTED, TOO_BIG, INTERNAL = 1003, 1009, 1011

_GONE = (WebSocketDisconnect, RuntimeError)
"""Errors of sending to a client that has left, or has broken the protocol."""

OPEN_SESSIONS = Gauge("tertulia_live_sessions", "Live conversations now.", multiprocess_mode="livesum")

_log = structlog.get_logger(__name__)


class RealtimeQuery(BaseModel):
    """The query of the address."""

    response_format: Literal["text", "voice"]
    audio_format: AudioFormat = "pcm"
    action_pattern: Annotated[str, Field(alias="current_agent_action_type")] = EVERYTHING

    @property
    def spoken(self) -> AudioFormat | None:
        """The format in which the agent speaks; None if it writes."""
        return self.audio_format if self.response_format == "voice" else None


@router.websocket("/converse_realtime")
@router.websocket("/converse_realtime/")
async def converse_realtime(websocket: WebSocket) -> None:
    """Talk to an agent, in speech, text, or both."""
    with ExitStack() as places:
        try:
            query, caller = await _admit(websocket, places)
        except TertuliaError as error:
            denial = answer(error)
            denial.headers.update(headers_of(websocket.scope))
            await websocket.send_denial_response(denial)
            return
        except Exception as error:  # noqa: BLE001 - nobody else answers
            _log.error("live session refused", exc_info=error)
            await websocket.send_denial_response(answer(InternalError()))
            return
        told = [(name.encode(), value.encode()) for name, value in headers_of(websocket.scope).items()]
        await websocket.accept(_chosen_subprotocol(websocket), told)
        with OPEN_SESSIONS.track_inprogress():
            await _converse(websocket, query, caller)


async def _admit(websocket: WebSocket, places: ExitStack) -> tuple[RealtimeQuery, "_LiveCaller"]:
    """Let a caller in. Return their query and themselves; their place among the sessions is in `places`.

    Raises:
        Unavailable, NotFound, Unauthorized, Forbidden: see find_organization and find_claims.
        TooManyRequests: they connect too often, or talk at too many places at once.
        Unprocessable: the query is wrong.
        CodecsMissing: the server has no codec for the format.
    """
    refuse_nul_in_path(websocket)
    refuse_query(websocket)
    found = await find_caller(websocket)
    limiter, claims = found.runtime.limiter, found.claims
    await count(websocket, OPERATION, SESSIONS_A_MINUTE, claims.org_id, claims.user_id)
    if limiter is not None:
        refusal = f"There are {SESSIONS_AT_ONCE} live conversations of this user already."
        who = OPERATION, claims.org_id, claims.user_id
        places.enter_context(limiter.place(SESSIONS_AT_ONCE, refusal, *who))
    query = _read_query(websocket)
    caller = _LiveCaller(websocket, found, action_filter(query.action_pattern))
    if query.spoken == "mp3":
        with in_field("audio_format"):
            require_codecs()
    return query, caller


def _read_query(websocket: WebSocket) -> RealtimeQuery:
    sent = dict(websocket.query_params)
    try:
        return RealtimeQuery.model_validate(sent)
    except ValidationError as error:
        raise Unprocessable.listing(problems.of_validation(error, sent, ("query",))) from None


def _chosen_subprotocol(websocket: WebSocket) -> str | None:
    """Choose the subprotocol that brought the token, or None. Return it: a browser gives up unless it is echoed.

    Python's `websockets` gives up if it is echoed and was a header, and does not mind if it is not.
    """
    if "websockets/" in websocket.headers.get("user-agent", ""):
        return None
    offered: list[str] = websocket.scope["subprotocols"]
    return next((protocol for protocol in offered if protocol.startswith(SUBPROTOCOL)), None)


async def _converse(websocket: WebSocket, query: RealtimeQuery, caller: "_LiveCaller") -> None:
    limits = caller.settings.limit
    session = Session(caller, _Socket(websocket), query.spoken, limits, PACE)
    try:
        async with caller.watch(session):
            closing = await session.run()
    except Exception as error:  # noqa: BLE001 - the client is to be told, and nobody else logs it
        _log.error("live session failed", exc_info=error)
        closing = Closing(INTERNAL, "internal error")
    if closing is not None and websocket.client_state is WebSocketState.CONNECTED:
        try:
            await websocket.close(closing.code, closing.reason)
        except _GONE:
            closing = None
    code = 0 if closing is None else closing.code
    _log.info("live session", org_id=caller.org_id, closed=code)


class _Socket:
    """A WebSocket as a session has it."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._warnings: list[str] = []
        """Warnings that the next message to the client carries."""

    async def receive(self) -> AnyClientMessage:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise ClientGone
        text = message.get("text")
        if text is None:
            raise SessionClosed(UNSUPPORTED, "messages are JSON, as text")
        if len(text) > MESSAGE_BYTES:
            raise SessionClosed(TOO_BIG, f"a message is longer than {MESSAGE_BYTES} bytes")
        received = live_messages.decode(text)
        for name in live_messages.unknown_fields(text, received)[:MOST]:
            if len(self._warnings) <= MOST and unknown(name) not in self._warnings:
                self._warnings.append(unknown(name))
        return received

    async def send(self, message: bytes) -> None:
        if self._warnings:
            told, self._warnings = self._warnings, []
            message = with_warnings(message, told)
        try:
            async with asyncio.timeout(READER_STALL_S):
                await self._websocket.send_text(message.decode())
        except (*_GONE, TimeoutError):
            raise ClientGone from None


class _LiveCaller:
    """A caller's conversations, begun as over HTTP: with the same permissions, asked anew for each turn."""

    def __init__(self, websocket: WebSocket, caller: Caller, matches: ActionFilter) -> None:
        self._websocket = websocket
        self._caller = caller
        self._matches = matches

    @property
    def settings(self) -> Settings:
        return self._caller.runtime.settings

    @property
    def org_id(self) -> str:
        return self._caller.organization.org_id

    async def start(self, opening: StartConversation, aloud: VoiceWish | None) -> Stream:
        sent = msgspec.structs.asdict(opening)
        try:
            body = CreateConversation.model_validate(sent)
        except ValidationError as error:
            raise Unprocessable.listing(problems.of_validation(error, sent, ("start-conversation",))) from None
        incoming = body.to_incoming()
        caller = await self._counted()
        return await door.start(caller, body.to_opening(caller), incoming, self._matches, TurnOptions(voice=aloud))

    async def resume(self, conversation_id: str) -> None:
        await door.resume(await self._counted(), conversation_id)

    async def interact(self, conversation_id: str, incoming: Incoming, aloud: VoiceWish | None) -> Stream:
        options = TurnOptions(voice=aloud)
        return await door.interact(await self._counted(), conversation_id, incoming, self._matches, options)

    async def hear_ahead(self, conversation_id: str, pcm: bytes) -> HeardAhead | None:
        caller = self._caller
        return await caller.runtime.conversations.hear_ahead(caller.database, self.org_id, conversation_id, pcm)

    async def finish(self, conversation_id: str) -> None:
        await door.finish(await self._counted(), conversation_id)

    def detector(self) -> Detector:
        return self._caller.runtime.conversations.voices.detector()

    @property
    def closing(self) -> bool:
        return self._caller.runtime.conversations.closing

    async def _counted(self) -> Caller:
        """Count something that the caller does. Return the caller, of whom nothing older than a minute is believed.

        Raises:
            Unavailable: the installation is under maintenance.
            TooManyRequests: they do too much.
        """
        runtime, claims = self._caller.runtime, self._caller.claims
        runtime.maintenance.refuse()
        await count(self._websocket, f"{OPERATION}:turn", TURNS_A_MINUTE, claims.org_id, claims.user_id)
        forget_actor(self._websocket)  # a session is long, and the user may have changed meanwhile
        return self._caller

    def watch(self, session: Session) -> AbstractAsyncContextManager[None]:
        """Have a session end with its token, its key, its user, or the role that its user had, while a block runs.

        Return the block's context.
        """
        caller = self._caller
        return caller.runtime.sessions.watch(
            caller.database, caller.claims, lambda reason: session.end(Closing(POLICY, reason))
        )
