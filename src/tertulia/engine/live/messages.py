"""The messages of a live conversation, both ways: JSON objects with a `type`.

What a turn tells (`tertulia.events`) goes to the client as it is, with `server.` before its type. The other messages
are the classes here. docs/reference/realtime.md says what each is for.
"""

from typing import Annotated, Any, Literal, cast

import msgspec

from tertulia import events
from tertulia.errors import SOUND_ERRORS, BadRequest, TertuliaError, Unprocessable
from tertulia.ids import OBJECT_ID_PATTERN

ObjectId = Annotated[str, msgspec.Meta(pattern=OBJECT_ID_PATTERN)]

SERVER_EVENTS = (
    events.ConversationCreated,
    events.UserMessageAvailable,
    events.CurrentAgentAction,
    events.NewMessage,
    events.InteractionComplete,
    events.Error,
)
"""The events that are sent as `server.` messages."""


class ClientMessage(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """Base of what a client sends."""


class StartConversation(ClientMessage, frozen=True, gc=False, tag="client.start-conversation"):
    """The fields of `POST /conversation/`; `api.realtime` checks them as that does."""

    service_id: ObjectId
    service_version_set_name: str = "release"
    initial_message: str | None = None
    initial_message_type: Literal["user-message", "external-event"] | None = None
    tags: dict[str, str | None] = {}
    is_test: bool = False


class ContinueConversation(ClientMessage, frozen=True, gc=False, tag="client.continue-conversation"):
    conversation_id: ObjectId


class NewTextMessage(ClientMessage, frozen=True, gc=False, tag="client.new-text-message"):
    text: str
    message_type: Literal["user-message", "external-event"] = "user-message"


class NewAudioMessage(ClientMessage, frozen=True, gc=False, tag="client.new-audio-message"):
    """A piece of sound, in base64; null: what was said is complete."""

    audio: bytes | None
    audio_config: dict[str, Any] | None = None


class SwitchVadMode(ClientMessage, frozen=True, gc=False, tag="client.switch-vad-mode"):
    vad_mode_on: bool


class ExtendTimeout(ClientMessage, frozen=True, gc=False, tag="client.extend-timeout"):
    pass


class FinishConversation(ClientMessage, frozen=True, gc=False, tag="client.finish-conversation"):
    pass


class CloseConnection(ClientMessage, frozen=True, gc=False, tag="client.close-connection"):
    pass


AnyClientMessage = (
    StartConversation
    | ContinueConversation
    | NewTextMessage
    | NewAudioMessage
    | SwitchVadMode
    | ExtendTimeout
    | FinishConversation
    | CloseConnection
)


class ServerMessage(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """Base of what the server sends beside a turn's events."""


class VadSpeechStarted(ServerMessage, frozen=True, gc=False, tag="server.vad-speech-started"):
    pass


class VadSpeechEnded(ServerMessage, frozen=True, gc=False, tag="server.vad-speech-ended"):
    pass


class VadResetZero(ServerMessage, frozen=True, gc=False, tag="server.vad-reset-zero"):
    """The message that supposed speech had no words."""


class VadModeSwitched(ServerMessage, frozen=True, gc=False, tag="server.vad-mode-switched"):
    vad_mode_on: bool


_KNOWN = {
    str(kind.__struct_config__.tag): {"type", *kind.__struct_encode_fields__} for kind in ClientMessage.__subclasses__()
}
_names = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decoder = msgspec.json.Decoder(AnyClientMessage)
_encoder = msgspec.json.Encoder()


def decode(text: str) -> AnyClientMessage:
    """Decode a client's message. Return it.

    Raises:
        BadRequest: it is not JSON.
        Unprocessable: there is no such message, or a field of it is wrong.
    """
    try:
        message = _decoder.decode(text)
        if "\\u0000" in text and _has_nul(msgspec.to_builtins(message)):
            raise Unprocessable("The character NUL is not allowed in text.", ())
        return message
    except msgspec.ValidationError as error:
        raise Unprocessable(f"{error}.", ()) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadRequest("The message is not valid JSON.") from error


def unknown_fields(text: str, message: AnyClientMessage) -> list[str]:
    """Compare a decoded message with its text. Return the names of the fields that mean nothing here."""
    known = _KNOWN[str(message.__struct_config__.tag)]
    return [name for name in _names.decode(text) if name not in known]


def _has_nul(value: object) -> bool:
    if isinstance(value, dict):
        items = cast("dict[str, object]", value)
        return any(_has_nul(item) for item in [*items.keys(), *items.values()])
    return isinstance(value, str) and "\0" in value


def encode(message: ServerMessage) -> bytes:
    """Encode a message as JSON. Return the bytes."""
    return _encoder.encode(message)


def told(line: bytes) -> bytes:
    """Make a message of a turn's encoded event. Return it; nothing but the name differs."""
    return events.prefixed(line, b"server.")


def refused(error: TertuliaError) -> bytes:
    """Make the message that refuses a message or tells of a void turn. Return it encoded."""
    return told(events.encode(events.Error(error.status, _description(error))).rstrip())


def _description(error: TertuliaError) -> str:
    """Write the text of an error. Return it, with each wrong field named."""
    if isinstance(error, SOUND_ERRORS):
        return f"audio: {error.detail}"
    if not isinstance(error, Unprocessable):
        return error.detail
    return " ".join(": ".join([*_place(problem["loc"]), problem["msg"]]) for problem in error.problems)


def _place(location: list[str | int]) -> list[str]:
    return [".".join(map(str, location))] if location else []
