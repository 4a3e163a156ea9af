"""The multipart body of an interaction. The message comes as a plain field from some clients, as a file from others.

With `request_format=voice` it is a recording, and its bytes stay as they are.
"""

import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

from fastapi import Request
from pydantic import AwareDatetime, BaseModel, ValidationError, field_serializer
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from tertulia import problems
from tertulia.api.http.deps import find_runtime
from tertulia.api.http.types import Text
from tertulia.api.http.warnings import unknown, warn
from tertulia.audio import decoding, require_codecs
from tertulia.audio.config import parse_audio_config
from tertulia.engine.agent.scene import ExternalEvent, Incoming
from tertulia.errors import BadRequest, PayloadTooLarge, Unprocessable, in_field
from tertulia.events import MAX_TEXT
from tertulia.settings import LimitSettings

if TYPE_CHECKING:  # it needs an extra
    from tertulia.audio.decode import Recorded

_CONTENT_TYPE = re.compile(
    r"""multipart/form-data;\s*
    boundary=(?P<quote>"?)(?P<boundary>[\w'()+,./:=?\ -]{0,69}[\w'()+,./:=?-])(?P=quote)  # RFC 2046, section 5.1.1
    (\s*;.*)?  # other parameters mean nothing: the text of a form is UTF-8 (RFC 7578, section 5.1.2)
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
Parts = dict[str, Any]

_LISTS = ("external_event_message_content", "external_event_message_timestamp")


class InteractForm(BaseModel):
    """The parts of the body, decoded. A message of bytes is a recording."""

    initial_message_type: Literal["user-message", "external-event", "skip"]
    recorded_message: str | bytes
    external_event_message_content: list[Text] = []
    external_event_message_timestamp: list[AwareDatetime] = []

    @field_serializer("recorded_message")
    def _identify(self, message: str | bytes) -> str:
        """Tell a message from others. Return its text, or the digest of a recording, which is large."""
        return message if isinstance(message, str) else hashlib.sha256(message).hexdigest()

    def to_incoming(self) -> Incoming:
        """Return the message that the interaction answers.

        Raises:
            Unprocessable: a part is missing, or one is given that must be left out.
            BadRequest: the message is blank.
        """
        contents, times = self.external_event_message_content, self.external_event_message_timestamp
        if self.initial_message_type == "skip":
            self._refuse_content_of_skip()
            return Incoming("skip")
        if len(contents) != len(times):
            raise _wrong("external_event_message_timestamp", "There must be one timestamp for each external event.")
        if not self.recorded_message:
            raise _wrong("recorded_message", "The message must not be empty.")
        text = "" if isinstance(self.recorded_message, bytes) else self.recorded_message.strip()
        if len(text) > MAX_TEXT:
            raise _wrong("recorded_message", f"This must have at most {MAX_TEXT} characters.")
        if not text and isinstance(self.recorded_message, str):
            raise BadRequest("recorded_message: the message is blank.")
        events = [ExternalEvent(content, moment) for content, moment in zip(contents, times, strict=True)]
        return Incoming(self.initial_message_type, text, events)

    @property
    def audio(self) -> bytes | None:
        """The recording, if the message is one."""
        message = self.recorded_message
        return message if isinstance(message, bytes) and self.initial_message_type != "skip" else None

    def _refuse_content_of_skip(self) -> None:
        for field in ("recorded_message", *_LISTS):
            if getattr(self, field):
                raise _wrong(field, "This must be empty where the initial message is skipped.")


async def read_interact_form(request: Request) -> InteractForm:
    """Read the body of an interaction, and warn of parts that mean nothing here. Return its form.

    Raises:
        Unprocessable: it is not multipart, or a part is wrong.
        PayloadTooLarge: beside a recording there is more text than a body in text may have.
    """
    content_type = _CONTENT_TYPE.fullmatch(request.headers.get("content-type", ""))
    if content_type is None:
        raise Unprocessable("The body must be multipart/form-data with a boundary.", ("header", "content-type"))
    spoken = request.query_params.get("request_format") == "voice"
    runtime = await find_runtime(request)
    limits = runtime.settings.limit
    form = await _parse(request, content_type["boundary"], limits)
    try:
        parts = await _decoded(form, spoken=spoken, most_text=limits.body_bytes)
    finally:
        await form.close()
    for name in sorted(parts.keys() - InteractForm.model_fields.keys()):
        warn(request, unknown(name))
    try:
        return InteractForm.model_validate(parts)
    except ValidationError as error:
        raise Unprocessable.listing(problems.of_validation(error, parts, ("body",))) from None


async def _parse(request: Request, boundary: str, limits: LimitSettings) -> FormData:
    """Parse a body. Return its parts; text is read as Latin-1, which keeps every byte, and is decoded later."""
    headers = Headers({"content-type": f'multipart/form-data; boundary="{boundary}"; charset=latin-1'})
    parser = MultiPartParser(
        headers,
        request.stream(),
        max_files=16,
        max_fields=1000,
        max_part_size=max(limits.body_bytes, limits.audio_bytes),  # the whole body has a bound of its own
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise BadRequest(error.message) from error


async def _decoded(form: FormData, *, spoken: bool, most_text: int) -> Parts:
    parts: Parts = {}
    text_bytes = 0
    for name, value in form.multi_items():
        if name in parts and name not in _LISTS:
            raise _wrong(name, "This part is given twice.")
        content = await _bytes(value)
        if name == "recorded_message" and spoken:
            parts[name] = content
            continue
        text_bytes += len(content)
        if text_bytes > most_text:
            raise PayloadTooLarge(f"{name}: there are more than {most_text} bytes of text.")
        if name in _LISTS:
            cast("list[str]", parts.setdefault(name, [])).append(_text(name, content))
        else:
            parts[name] = _text(name, content)
    return parts


async def _bytes(value: UploadFile | str) -> bytes:
    return value.encode("latin-1") if isinstance(value, str) else await value.read()


def _text(name: str, content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _wrong(name, "This is not text in UTF-8.") from error
    if "\0" in text:
        raise _wrong(name, "The character NUL is not allowed in text.")
    return text


def spoken_message(audio: bytes | None, audio_config: str | None, longest_s: float) -> Callable[[], "Recorded"] | None:
    """Prepare the decoding of a spoken message. Return the function that decodes, or None if there is no message.

    Raises:
        Unprocessable: the query does not say, or not rightly, what was recorded.
        CodecsMissing: the server decodes no sound.
    """
    if audio_config is None:
        raise Unprocessable("This is required where request_format is voice.", ("query", "request_audio_config"))
    config = parse_audio_config(audio_config, ("query", "request_audio_config"))
    if audio is None:
        return None
    with in_field("request_format"):
        require_codecs()
    return decoding(audio, config, longest_s)


def _wrong(field: str, text: str) -> Unprocessable:
    return Unprocessable(text, ("body", field))
