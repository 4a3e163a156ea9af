"""The multipart body of an interaction. The message comes as a plain field from some clients, as a file from others."""

import re
from typing import Any, Literal, cast

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ValidationError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from tertulia.api.types import Text
from tertulia.engine.scene import ExternalEvent, Incoming
from tertulia.errors import BadRequest, Unprocessable

_CONTENT_TYPE = re.compile(
    r"""multipart/form-data;\s*
    boundary=(?P<quote>"?)(?P<boundary>[\w'()+,./:=?\ -]{0,69}[\w'()+,./:=?-])(?P=quote)  # RFC 2046, section 5.1.1
    (\s*;.*)?  # other parameters mean nothing: the text of a form is UTF-8 (RFC 7578, section 5.1.2)
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_LISTS = ("external_event_message_content", "external_event_message_timestamp")


class InteractForm(BaseModel):
    """The parts of the body, decoded."""

    initial_message_type: Literal["user-message", "external-event", "skip"]
    recorded_message: str
    external_event_message_content: list[Text] = []
    external_event_message_timestamp: list[AwareDatetime] = []

    def to_incoming(self) -> Incoming:
        """What the interaction answers.

        Raises:
            Unprocessable: a part is missing, or given where it must not be.
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
        if not self.recorded_message.strip():
            raise BadRequest("recorded_message: the message is blank.")
        events = [ExternalEvent(content, moment) for content, moment in zip(contents, times, strict=True)]
        return Incoming(self.initial_message_type, self.recorded_message.strip(), events)

    def _refuse_content_of_skip(self) -> None:
        for field in ("recorded_message", *_LISTS):
            if getattr(self, field):
                raise _wrong(field, "This must be empty where the initial message is skipped.")


async def read_interact_form(request: Request) -> InteractForm:
    """The body of an interaction.

    Raises:
        Unprocessable, RequestValidationError: it is not multipart, or a part is wrong.
    """
    content_type = _CONTENT_TYPE.fullmatch(request.headers.get("content-type", ""))
    if content_type is None:
        raise Unprocessable("The body must be multipart/form-data with a boundary.", ("header", "content-type"))
    form = await _parse(request, content_type["boundary"])
    try:
        parts = await _decoded(form)
    finally:
        await form.close()
    try:
        return InteractForm.model_validate(parts)
    except ValidationError as error:
        problems = [{**problem, "loc": ("body", *problem["loc"])} for problem in error.errors(include_url=False)]
        raise RequestValidationError(problems) from error


async def _parse(request: Request, boundary: str) -> FormData:
    """The parts of a body. Text is read as Latin-1, which keeps every byte: whether it is UTF-8 is seen later."""
    headers = Headers({"content-type": f'multipart/form-data; boundary="{boundary}"; charset=latin-1'})
    try:
        return await MultiPartParser(headers, request.stream(), max_files=16, max_fields=1000).parse()
    except MultiPartException as error:
        raise BadRequest(error.message) from error


async def _decoded(form: FormData) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name, value in form.multi_items():
        text = await _text(name, value)
        if name in _LISTS:
            cast("list[str]", parts.setdefault(name, [])).append(text)
        elif name in parts:
            raise _wrong(name, "This part is given twice.")
        else:
            parts[name] = text
    return parts


async def _text(name: str, value: UploadFile | str) -> str:
    try:
        text = (value.encode("latin-1") if isinstance(value, str) else await value.read()).decode()
    except UnicodeDecodeError as error:
        raise _wrong(name, "This is not text in UTF-8.") from error
    if "\0" in text:
        raise _wrong(name, "The character NUL is not allowed in text.")
    return text


def _wrong(field: str, text: str) -> Unprocessable:
    return Unprocessable(text, ("body", field))
