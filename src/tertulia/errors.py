"""Everything that can go wrong for a caller, each with its own HTTP status.

    TertuliaError                 500
    +-- BadRequest                400  well-formed, but not possible now
    |   +-- BadRecording          400  a recording is empty, too long, or has no sound
    |   |   +-- NothingHeard      400  there is no speech in it
    |   +-- CodecsMissing         400  the server's extra `voice` is not installed
    |   +-- BadTool               400  a tool's manifest, files or lock are wrong; names the field
    |   +-- StorageFull           400  conversations hold as many bytes as they may
    +-- Unauthorized              401  who are you?
    +-- Forbidden                 403  you may not
    +-- NotFound                  404
    +-- MethodNotAllowed          405  no operation of this path has the method
    +-- RequestTimeout            408  the request's body stalled
    +-- Conflict                  409  a related operation is running, or the state has moved on
    |   +-- TurnRunning           409  a turn of the conversation is running; names it
    |   +-- KeyTaken              409  another request with the same Idempotency-Key begins at this moment
    +-- Gone                      410  it was there, and is not kept any more
    +-- PayloadTooLarge           413
    +-- UnsupportedMedia          415
    |   +-- UnreadableRecording   415  a recording cannot be decoded, or is not of the format that it is said to be
    +-- Unprocessable             422  a field is wrong; names it
    +-- TooManyRequests           429
    +-- InternalError             500  nobody foresaw it; the log has the rest
    +-- BrokenGraph               500  a graph leads to a place that is not there
    +-- LostInGraph               500  a turn finds no action state
    +-- ToolMissing               400  a state names a tool, or a version of it, that is not there
    +-- ToolResultTooLong         400  a result that is to be persisted has more characters than that allows
    +-- Unavailable               503  try again later
    +-- TurnTooLong               503  a whole turn took too long; `error` event of a stream
    +-- ModelError                500  a language model failed; `error` event of a stream
        +-- ModelUnavailable      503  it cannot be reached, is overloaded or limits us
        +-- ModelTimeout          503  it stalled
        +-- ModelRefused          500  it does not accept the request (its key, name, ...)
        |   +-- PromptTooLong     500  it cannot take so long a conversation
        +-- ModelMissing          500  a version set names a model that is not here
        +-- ModelMisbehaved       500  its answer is empty or not of the asked form
        +-- EmbeddingFailed       503  texts cannot be compared in meaning; a turn goes on without that
        +-- VoiceFailed           503  a voice cannot be reached, stalled, or made no sound
        +-- TranscriptionFailed   503  what hears speech cannot be reached, stalled, or made no sense

The text goes to the caller as it is: it never holds a model's own words, a key, a path or a stack trace.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

MOST_PROBLEMS = 20
"""Wrong fields that one answer names."""
LONGEST_NAME = 100
"""Characters of the name of a wrong field, which a caller may have made up."""
LONGEST_TEXT = 1000
"""Characters of a text for the caller."""


class TertuliaError(Exception):
    """Base of all errors that a caller sees. `detail` is the text for the caller."""

    status: ClassVar[int] = 500

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = _cut(detail, LONGEST_TEXT)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to the answer, beside its body."""
        return {}


class BadRequest(TertuliaError):
    status = 400


class BadRecording(BadRequest):
    """A recording that is empty, too long, or has no sound."""


class NothingHeard(BadRecording):
    """A recording in which there is no speech."""


class CodecsMissing(BadRequest):
    """The lack of the extra that decodes and encodes sound."""

    def __init__(self, detail: str = "This server has no codecs: its extra `voice` is not installed.") -> None:
        super().__init__(detail)


class BadTool(BadRequest):
    """A tool's project that cannot be published: its manifest, its files or its lock are wrong."""


class StorageFull(BadRequest):
    """There is no room for another turn, or tool: the quota of a user or an organization is used up."""


class Unauthorized(TertuliaError):
    status = 401

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(TertuliaError):
    status = 403


class NotFound(TertuliaError):
    status = 404


class MethodNotAllowed(TertuliaError):
    """A method that no operation of a path has; `allowed` are those that there are."""

    status = 405

    def __init__(self, detail: str, allowed: Iterable[str]) -> None:
        super().__init__(detail)
        self.allowed = sorted(allowed)

    @property
    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed)}


class RequestTimeout(TertuliaError):
    status = 408


class Conflict(TertuliaError):
    status = 409


class TurnRunning(Conflict):
    """A turn is in the way. The answer's headers name it as those of its stream do, so that it can be followed."""

    def __init__(self, detail: str, conversation_id: str, interaction_id: str) -> None:
        super().__init__(detail)
        self._turn = {"X-Tertulia-Conversation-Id": conversation_id, "X-Tertulia-Interaction-Id": interaction_id}

    @property
    def headers(self) -> dict[str, str]:
        return self._turn


class KeyTaken(Conflict):
    """Another request with the same Idempotency-Key, which begins at this moment."""


class Gone(TertuliaError):
    status = 410


class PayloadTooLarge(TertuliaError):
    status = 413


class UnsupportedMedia(TertuliaError):
    status = 415


class UnreadableRecording(UnsupportedMedia):
    """A recording that cannot be decoded, or is not of the format that it is said to be."""


SOUND_ERRORS = (BadRecording, CodecsMissing, UnreadableRecording)
"""The errors of sound. Their texts name no field: the door that the sound came by knows its name."""


@contextmanager
def in_field(name: str) -> Generator[None]:
    """Name the field of a request in errors of the sound in it.

    Raises:
        BadRecording, CodecsMissing, UnreadableRecording: the error within, its text after the name.
    """
    try:
        yield
    except SOUND_ERRORS as error:
        raise type(error)(f"{name}: {error.detail}") from error


class Unprocessable(TertuliaError):
    """A field that is wrong: `location` is its path, e.g. `("body", "states", 2, "next_state")`.

    Of many wrong fields only the first are in `problems`, and a count of the others.
    """

    status = 422

    def __init__(self, detail: str, location: Sequence[str | int]) -> None:
        super().__init__(detail)
        self.problems: list[dict[str, Any]] = [problem(detail, location)]

    @classmethod
    def of(cls, problems: Sequence[tuple[Sequence[str | int], str]]) -> "Unprocessable":
        """Make one error of several wrong fields, each a location and a text. Return the error."""
        return cls.listing([problem(text, location) for location, text in problems[: MOST_PROBLEMS + 1]], len(problems))

    @classmethod
    def listing(cls, problems: Sequence[dict[str, Any]], total: int = 0) -> "Unprocessable":
        """Make one error of several problems, of which there may be more in `total`. Return the error."""
        error = cls(problems[0]["msg"], problems[0]["loc"])
        told = [problem(item["msg"], item["loc"], item["type"]) for item in problems[:MOST_PROBLEMS]]
        left_out = max(total, len(problems)) - len(told)
        if left_out:
            told.append(problem(f"{left_out} more problems are not listed.", told[0]["loc"][:1], "more"))
        error.problems = told
        return error

    @property
    def message(self) -> str:
        """All problems in one text, each after the field that it is about."""
        return " ".join(_sentence(item) for item in self.problems)


class TooManyRequests(TertuliaError):
    """Over the rate limit; `retry_after` is in whole seconds."""

    status = 429

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class InternalError(TertuliaError):
    """An error that nobody foresaw. The log has the rest."""

    def __init__(self, detail: str = "Internal error.") -> None:
        super().__init__(detail)


class BrokenGraph(TertuliaError):
    """A graph that leads to a place that is not there, although it was accepted."""


class LostInGraph(TertuliaError):
    """A turn that finds no action state: its graph was stored before circles, and tools, were refused."""


class ToolMissing(TertuliaError):
    """A tool, or a version of it, that a state names and that is not there any more."""

    status = 400


class ToolResultTooLong(TertuliaError):
    """The result of a tool that is to be persisted, and is longer than that allows."""

    status = 400


class Unavailable(TertuliaError):
    """Not now; `retry_after` is in whole seconds."""

    status = 503

    def __init__(self, detail: str, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class TurnTooLong(TertuliaError):
    """A turn that took longer than a whole turn may."""

    status = 503


class ModelError(TertuliaError):
    """A language model failed. `reason` is for our log alone."""

    status = 500
    text: ClassVar[str] = "The language model failed."

    def __init__(self, reason: str = "") -> None:
        super().__init__(self.text)
        self.reason = reason


class ModelUnavailable(ModelError):
    status = 503
    text = "The language model cannot be reached or is overloaded."


class ModelTimeout(ModelError):
    status = 503
    text = "The language model did not answer in time."


class ModelRefused(ModelError):
    text = "The language model did not accept the request."


class PromptTooLong(ModelRefused):
    """A refusal of a prompt for its length."""


class ModelMissing(ModelError):
    """The lack of a model that a version set names: no other model answers in its place."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no model {name[:100]!r} here")
        shown = "".join(character if character.isprintable() else "?" for character in name[:100])
        self.detail = f"The language model {shown} cannot be reached from this server."


class ModelMisbehaved(ModelError):
    text = "The language model gave no usable answer."


class NoRoom(ModelError):
    """A model answers one question at a time, and this one may not be wanted."""

    status = 503
    text = "The language model has no room for another question."


class EmbeddingFailed(ModelError):
    status = 503
    text = "The embedding model failed."


class VoiceFailed(ModelError):
    status = 503
    text = "The voice failed."


class TranscriptionFailed(ModelError):
    status = 503
    text = "The recording could not be transcribed."


def problem(text: str, location: Sequence[str | int], kind: str = "value_error") -> dict[str, Any]:
    """Describe a wrong field as an item of a 422 body, in FastAPI's form. Return it; long names and texts are cut."""
    places = [step if isinstance(step, int) else _cut(step, LONGEST_NAME) for step in location]
    return {"type": kind, "loc": places, "msg": _cut(text, LONGEST_TEXT)}


def _sentence(item: dict[str, Any]) -> str:
    place = ".".join(map(str, item["loc"][1:] if len(item["loc"]) > 1 else item["loc"]))
    return f"{place}: {item['msg']}" if place and item["type"] != "more" else item["msg"]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
