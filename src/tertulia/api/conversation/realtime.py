"""Live conversations: `GET /v1/{organization}/conversation/converse_realtime`, a WebSocket.

What keeps a caller out is a plain HTTP error, as everywhere; from then on errors are messages. This is the way to the
client and back, and the asking of permissions; the conversation is `engine.live`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Literal, TypeVar

import msgspec
import structlog
from fastapi import WebSocket
from fastapi.responses import JSONResponse
from prometheus_client import Gauge
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.engine import Connection as SqlConnection
from starlette.websockets import WebSocketDisconnect, WebSocketState

from tertulia import problems
from tertulia.api.conversation.action_filter import EVERYTHING, action_filter
from tertulia.api.conversation.conversation import (
    CreateConversation,
    conversation_target,
    may_finish,
    may_interact,
    shown_actions,
    target_of_new,
)
from tertulia.api.http.deps import (
    OrganizationScope,
    RecentActor,
    Runtime,
    find_claims,
    find_organization,
    find_runtime,
    forget_actor,
)
from tertulia.api.http.errors import answer
from tertulia.api.http.routing import contract_router, refuse_nul
from tertulia.audio import require_codecs
from tertulia.auth.actor import Actor, confirm_actor
from tertulia.auth.credentials import SUBPROTOCOL
from tertulia.auth.permissions import Permission
from tertulia.engine.agent.scene import Incoming
from tertulia.engine.live import messages as live_messages
from tertulia.engine.live.messages import AnyClientMessage, StartConversation
from tertulia.engine.live.ports import ClientGone, Closing, SessionClosed
from tertulia.engine.live.session import Pace, Session
from tertulia.engine.speech.wishes import AudioFormat, VoiceWish
from tertulia.engine.turns.conversations import Manner, Stream
from tertulia.engine.turns.turn import ActionFilter
from tertulia.errors import Conflict, TertuliaError, TooManyRequests, Unprocessable
from tertulia.providers.base import Detector
from tertulia.storage import conversation as stored

router = contract_router("/conversation", "Conversation")

PACE = Pace()

MESSAGE_BYTES = 1 << 20
"""The longest message of a client."""

SESSIONS_AT_ONCE = 10
"""Of one user in a process; what finds speech in one may take 10 MB."""

SESSIONS_A_MINUTE = 5
TURNS_A_MINUTE = 60
"""Of one user, whatever their sessions; a session's beginning and end count as turns."""

READER_STALL_S = 60
"""How long a client may take nothing of what is there for it."""

UNSUPPORTED, TOO_BIG, INTERNAL = 1003, 1009, 1011

_GONE = (WebSocketDisconnect, RuntimeError)
"""What sending raises where the client has left, or has broken the protocol."""

_sessions: Counter[tuple[str, str]] = Counter()
"""Those of each user (organization, id) in this process."""

OPEN_SESSIONS = Gauge("tertulia_live_sessions", "Live conversations now.", multiprocess_mode="livesum")

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class RealtimeQuery(BaseModel):
    """The query of the address."""

    response_format: Literal["text", "voice"]
    audio_format: AudioFormat = "pcm"
    action_pattern: Annotated[str, Field(alias="current_agent_action_type")] = EVERYTHING

    @property
    def spoken(self) -> AudioFormat | None:
        """How the agent speaks; None where it writes."""
        return self.audio_format if self.response_format == "voice" else None


@router.websocket("/converse_realtime")
@router.websocket("/converse_realtime/")
async def converse_realtime(websocket: WebSocket) -> None:
    """Talk to an agent, in speech, text, or both."""
    with ExitStack() as places:
        try:
            query, talk = await _admit(websocket, places)
        except TertuliaError as error:
            await websocket.send_denial_response(answer(error))
            return
        except Exception as error:  # noqa: BLE001 - nobody else answers
            _log.error("live session refused", exc_info=error)
            await websocket.send_denial_response(JSONResponse({"detail": "Internal error."}, 500))
            return
        await websocket.accept(_chosen_subprotocol(websocket))
        with OPEN_SESSIONS.track_inprogress():
            await _converse(websocket, query, talk)


async def _admit(websocket: WebSocket, places: ExitStack) -> tuple[RealtimeQuery, "_Talk"]:
    """What the caller wants, and may; their place among the sessions is in `places`.

    Raises:
        Unavailable, NotFound, Unauthorized, Forbidden: see find_organization and find_claims.
        TooManyRequests: they connect too often, or talk at too many places at once.
        Unprocessable: the query is wrong.
        BadRequest: the server has no codec for the format.
    """
    refuse_nul(websocket)
    runtime, organization = await find_runtime(websocket), await find_organization(websocket)
    claims = await find_claims(websocket)
    talk = _Talk(websocket, runtime, organization)
    await talk.count("converse_realtime", SESSIONS_A_MINUTE)
    if runtime.limiter is not None:
        places.enter_context(_place((claims.org_id, claims.user_id)))
    query = _read_query(websocket)
    talk.matches = action_filter(query.action_pattern)
    if query.spoken == "mp3":
        require_codecs("audio_format:")
    return query, talk


@contextmanager
def _place(user: tuple[str, str]) -> Generator[None]:
    """One of the sessions that a user may have. Raises TooManyRequests."""
    if _sessions[user] >= SESSIONS_AT_ONCE:
        raise TooManyRequests(f"There are {SESSIONS_AT_ONCE} live conversations of this user already.", 1)
    _sessions[user] += 1
    try:
        yield
    finally:
        _sessions[user] -= 1
        if not _sessions[user]:
            del _sessions[user]


def _read_query(websocket: WebSocket) -> RealtimeQuery:
    sent = dict(websocket.query_params)
    try:
        return RealtimeQuery.model_validate(sent)
    except ValidationError as error:
        raise Unprocessable.listing(problems.of_validation(error, sent, ("query",))) from None


def _chosen_subprotocol(websocket: WebSocket) -> str | None:
    """The one that brought the token: a browser gives up where it is not echoed.

    Python's `websockets` does so where it is echoed and was a header, and never minds where it is not.
    """
    if "websockets/" in websocket.headers.get("user-agent", ""):
        return None
    offered: list[str] = websocket.scope["subprotocols"]
    return next((protocol for protocol in offered if protocol.startswith(SUBPROTOCOL)), None)


async def _converse(websocket: WebSocket, query: RealtimeQuery, talk: "_Talk") -> None:
    limits = talk.runtime.settings.limit
    session = Session(talk, _Socket(websocket), query.spoken, limits, PACE)
    try:
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
    _log.info("live session", org_id=talk.organization.org_id, closed=code)


class _Socket:
    """A WebSocket as the session knows it."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> AnyClientMessage:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise ClientGone
        text = message.get("text")
        if text is None:
            raise SessionClosed(UNSUPPORTED, "messages are JSON, as text")
        if len(text) > MESSAGE_BYTES:
            raise SessionClosed(TOO_BIG, f"a message is longer than {MESSAGE_BYTES} bytes")
        return live_messages.decode(text)

    async def send(self, message: bytes) -> None:
        try:
            async with asyncio.timeout(READER_STALL_S):
                await self._websocket.send_text(message.decode())
        except (*_GONE, TimeoutError):
            raise ClientGone from None


class _Talk:
    """A caller's conversations, begun as over HTTP: with the same permissions, asked anew for each turn."""

    matches: ActionFilter

    def __init__(self, websocket: WebSocket, runtime: Runtime, organization: OrganizationScope) -> None:
        self._websocket = websocket
        self.runtime = runtime
        self.organization = organization
        self._caller = RecentActor(websocket, runtime, organization)

    async def count(self, what: str, per_minute: int) -> None:
        """Count something that the caller does. Raises TooManyRequests."""
        if self.runtime.limiter is not None:
            claims = await find_claims(self._websocket)
            self.runtime.limiter.hit(self._websocket.scope, per_minute, what, claims.org_id, claims.user_id)

    async def start(self, opening: StartConversation, aloud: VoiceWish | None) -> Stream:
        sent = msgspec.structs.asdict(opening)
        try:
            body = CreateConversation.model_validate(sent)
        except ValidationError as error:
            raise Unprocessable.listing(problems.of_validation(error, sent, ("start-conversation",))) from None
        incoming = body.to_incoming()

        async def start(actor: Actor) -> Stream:
            target = target_of_new(actor, body.service_id)
            actor.require(Permission.CONVERSATION_CREATE_CONVERSATION, target)
            return await self.runtime.conversations.start(
                self.organization.database,
                lambda connection: confirm_actor(connection, actor),
                body.to_opening(actor),
                incoming,
                shown_actions(actor, target, self.matches),
                Manner(aloud=aloud),
            )

        return await self._act(start)

    async def resume(self, conversation_id: str) -> None:
        async def resume(actor: Actor) -> None:
            row = await self.organization.database.read(
                stored.get_conversation, self.organization.org_id, conversation_id
            )
            may_interact(actor)(row)
            if row["is_finished"]:
                raise Conflict("The conversation is finished.")

        await self._act(resume)

    async def interact(self, conversation_id: str, incoming: Incoming, aloud: VoiceWish | None) -> Stream:
        async def interact(actor: Actor) -> Stream:
            return await self.runtime.conversations.interact(
                self.organization.database,
                lambda connection: confirm_actor(connection, actor),
                self.organization.org_id,
                conversation_id,
                incoming,
                may_interact(actor),
                lambda row: shown_actions(actor, conversation_target(row), self.matches),
                Manner(aloud=aloud),
            )

        return await self._act(interact)

    async def finish(self, conversation_id: str) -> None:
        async def finish(actor: Actor) -> None:
            def write(connection: SqlConnection) -> None:
                confirm_actor(connection, actor)
                stored.finish(connection, self.organization.org_id, conversation_id, may_finish(actor))

            await self.organization.database.write(write)

        await self._act(finish)

    def detector(self) -> Detector:
        return self.runtime.conversations.voices.detector()

    @property
    def closing(self) -> bool:
        return self.runtime.conversations.closing

    async def _act(self, do: Callable[[Actor], Awaitable[T]]) -> T:
        self.runtime.maintenance.refuse()
        await self.count("converse_realtime turn", TURNS_A_MINUTE)
        forget_actor(self._websocket)  # a session is long, and the user may have changed meanwhile
        return await self._caller.act(do)
