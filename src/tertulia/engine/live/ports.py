"""Ports of a live conversation: its client, its caller, and the ways in which it ends."""

from dataclasses import dataclass
from typing import Protocol

from tertulia.engine.agent.scene import Incoming
from tertulia.engine.live.messages import AnyClientMessage, StartConversation
from tertulia.engine.speech.ahead import HeardAhead
from tertulia.engine.speech.wishes import VoiceWish
from tertulia.engine.turns.log import Stream
from tertulia.providers.base import Detector

NORMAL, POLICY, RESTART, IDLE = 1000, 1008, 1012, 4408
"""Codes that a session ends with (RFC 6455, section 7.4); those from 4000 on are ours."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a session: how the connection is to be closed."""

    code: int
    reason: str


class ClientGone(Exception):
    """The client is gone."""


class SessionClosed(Exception):
    """The connection is to be closed for what the client has sent."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.closing = Closing(code, reason)


class LiveCaller(Protocol):
    """A client's rights over conversations, carried out; all methods raise TertuliaError and its kinds."""

    async def start(self, opening: StartConversation, aloud: VoiceWish | None) -> Stream: ...

    async def resume(self, conversation_id: str) -> None:
        """See that the conversation can be gone on with."""
        ...

    async def interact(self, conversation_id: str, incoming: Incoming, aloud: VoiceWish | None) -> Stream: ...

    async def hear_ahead(self, conversation_id: str, pcm: bytes) -> HeardAhead | None:
        """Write down what may be the next message. Return None if a turn is to hear it."""
        ...

    async def finish(self, conversation_id: str) -> None: ...

    def detector(self) -> Detector: ...

    @property
    def closing(self) -> bool:
        """True if there will be no more turns, for the server is stopping."""
        ...


class Connection(Protocol):
    """The way to the client and back."""

    async def receive(self) -> AnyClientMessage:
        """Wait for the next message. Return it.

        Raises:
            TertuliaError: the message is wrong.
            ClientGone: the client has left.
            SessionClosed: the session has to end.
        """
        ...

    async def send(self, message: bytes) -> None:
        """Send a message, which is JSON. Raises ClientGone."""
        ...
