"""Chat completions as servers send them: the ordinary form fast, every odd but clear form too.

https://platform.openai.com/docs/api-reference/chat-streaming. Oddities that are understood: null in any place,
`content` as a list of parts, a choice's index that is missing or null, halves of a surrogate pair, errors in the place
of a reply.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from tertulia.errors import ModelError, ModelMisbehaved, ModelUnavailable, PromptTooLong
from tertulia.providers.base import UNCOUNTED, Cut, Tokens
from tertulia.providers.models.window import is_too_long

_MAX_WORDS = 2_000
_TOO_LONG = ("length", "max_", "model_context_window", "token_limit", "incomplete")
_BROKEN_OFF = (
    "abort",
    "cancel",
    "connection",
    "error",
    "exception",
    "fail",
    "insufficient",
    "interrupt",
    "malformed",
    "network",
    "overload",
    "terminated",
    "time_limit",
    "timeout",
    "unavailable",
    "unexpected",
    "unknown",
)
"""Parts of the reasons that servers have for an end, each in many forms: `abort`, `aborted`, `request_aborted`."""
_THOUGHTS = frozenset({"thinking", "reasoning"})
_FILTERED = (
    "block",
    "filter",
    "guardrail",
    "moderat",
    "prohibited",
    "recitation",
    "refus",
    "safety",
    "sensitive",
    "spii",
)
_NOTHING = frozenset({"", "null", "none"})


End = Literal["", "stop"] | Cut
"""Why a reply ends; empty: it goes on."""


class Delta(msgspec.Struct, gc=False):
    """A message, or what a chunk adds to it."""

    content: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None

    @property
    def thinks(self) -> bool:
        """True if a thought came beside the text, under one of the names that servers have for it."""
        return bool(self.reasoning_content or self.reasoning)


class Choice(msgspec.Struct, gc=False):
    """One of the replies; ours is the first."""

    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    index: int = 0
    error: Any = None


class Completion(msgspec.Struct, gc=False):
    """A piece of a streamed completion, or a whole one; some servers send an error in its place."""

    choices: list[Choice] = []
    error: Any = None
    usage: Any = None
    x_groq: Any = None

    @property
    def tokens(self) -> Tokens:
        """The tokens that the server counted, as far as it says."""
        if not isinstance(self.usage, dict):
            return UNCOUNTED
        usage = cast("dict[str, Any]", self.usage)
        details = usage.get("prompt_tokens_details")
        cached = cast("dict[str, Any]", details).get("cached_tokens") if isinstance(details, dict) else None
        return Tokens(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _count(cached))


_decode = msgspec.json.Decoder(Completion).decode


def read(data: bytes) -> Completion | None:
    """Decode a completion. Return None for JSON that is none, which streams are full of.

    Raises:
        ModelMisbehaved: the data is not JSON, or its text is not text.
        ModelUnavailable: the server tells an error; PromptTooLong if that is the error.
    """
    try:
        completion = _decode(data)
    except (ValueError, RecursionError):
        completion = _read_odd(data)
    else:
        if not completion.choices and completion.error is None and completion.usage is None:
            completion = _read_odd(data)
    if completion is not None and completion.error is not None:
        check(completion.error)
    if completion is not None and isinstance(completion.x_groq, dict):
        check(cast("dict[str, Any]", completion.x_groq).get("error"))
    return completion


def check(error: object) -> None:
    """Judge an error in the place of a reply. Empty ones, and those of empty fields, say nothing.

    Raises:
        ModelUnavailable: the error says something; PromptTooLong if it says that.
    """
    if _says_something(error):
        raise failure(words(error))


def failure(text: str) -> ModelError:
    """Make the error of a server that told one in the place of a reply, or in the middle of it."""
    kind = PromptTooLong if is_too_long(text) else ModelUnavailable
    return kind(f"the server sent an error: {text}")


def words(value: object) -> str:
    """Find what an error says. Return its message if it has one, and its code."""
    if isinstance(value, Mapping):
        error = cast("Mapping[str, Any]", value)
        told = [error[name] for name in ("message", "detail", "msg", "type", "code") if error.get(name)]
        value = " ".join(map(str, told)) or json.dumps(value)
    return str(value)[:_MAX_WORDS]


def ours(completion: Completion) -> Choice | None:
    """Find the reply among the choices of a whole completion. Return None if there is none."""
    return min(completion.choices, key=lambda choice: choice.index, default=None)


def finish_reason(choice: Choice) -> End:
    """Read why a reply ends. Return an empty text if the reply goes on.

    Raises:
        ModelUnavailable: the reply was broken off.
    """
    reason = (choice.finish_reason or "").strip().lower()
    if reason in _NOTHING:
        return ""
    if _has(reason, _TOO_LONG):
        return "length"
    if reason == "other" or _has(reason, _BROKEN_OFF):
        raise ModelUnavailable(f"the reply was broken off: {reason}")
    return "content_filter" if _has(reason, _FILTERED) else "stop"


def _has(reason: str, parts: Sequence[str]) -> bool:
    return any(part in reason for part in parts)


def join_halves(text: str) -> tuple[str, str]:
    """Join the halves of surrogate pairs. Return the text, and a first half at its end that waits for the second."""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    whole = text[: len(text) - len(half)]
    return whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), half


def _read_odd(data: bytes) -> Completion | None:
    """Decode what has not the ordinary form."""
    try:
        value: object = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ModelMisbehaved("the server sent bytes that are not UTF-8") from None
    except (ValueError, RecursionError):
        raise ModelMisbehaved(f"the server sent what is not JSON: {data[:200].decode(errors='replace')}") from None
    if isinstance(value, list):  # as Gemini wraps an error
        value = next((item for item in _dicts(cast("object", value)) if "error" in item), None)
    if not isinstance(value, dict):
        return None
    completion = cast("dict[str, Any]", value)
    choices = [_choice(item) for item in _dicts(completion.get("choices"))]
    return Completion(choices, _error_of(completion), completion.get("usage"), completion.get("x_groq"))


def _error_of(told: Mapping[str, Any]) -> object:
    """Find the error that an object tells, under one of the names that servers have for it."""
    if told.get("error") is not None or told.get("choices"):
        return told.get("error")
    base = told.get("base_resp")
    if isinstance(base, dict) and cast("dict[str, Any]", base).get("status_code"):
        return cast("object", base)
    if "error" in (told.get("object"), told.get("type"), told.get("status")) or told.get("success") is False:
        return told
    if told.get("code") and isinstance(told.get("message") or told.get("msg"), str):
        return told
    return told.get("errors") or told.get("detail")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _choice(value: dict[str, Any]) -> Choice:
    reason, index = value.get("finish_reason"), value.get("index")
    if isinstance(reason, dict):  # as SGLang and TGI write it among themselves
        reason = cast("dict[str, Any]", reason).get("type")
    return Choice(
        _delta(value.get("delta")),
        _delta(value.get("message")),
        reason if isinstance(reason, str) else None,
        int(index) if isinstance(index, int | float) or (isinstance(index, str) and index.isdecimal()) else 0,
        value.get("error"),
    )


def _delta(value: object) -> Delta | None:
    if not isinstance(value, dict):
        return None
    delta = cast("dict[str, Any]", value)
    content = delta.get("content")
    return Delta(_text(content), delta.get("reasoning_content"), delta.get("reasoning") or _has_thought(content))


def _has_thought(content: object) -> bool:
    """Tell if one of a content's parts is a thought."""
    return any(part.get("type") in _THOUGHTS and part.get(part["type"]) for part in _dicts(content))


def _text(content: object) -> str | None:
    """Read a content: text, or parts of which the text counts."""
    if content is None or content is False:
        return None
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return _part(cast("dict[str, Any]", content))
    if isinstance(content, list):
        return "".join(
            item if isinstance(item, str) else _part(cast("dict[str, Any]", item))
            for item in cast("list[object]", content)
            if isinstance(item, str | dict)
        )
    raise ModelMisbehaved("the server sent a content that is not text")


def _part(part: Mapping[str, Any]) -> str:
    if part.get("type", "text") not in {"text", "output_text", None}:
        return ""
    text = part.get("text")
    if isinstance(text, Mapping):
        text = cast("Mapping[str, Any]", text).get("value")
    return text if isinstance(text, str) else ""


def _dicts(value: object) -> Sequence[dict[str, Any]]:
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _says_something(error: object) -> bool:
    if isinstance(error, Mapping):
        return any(map(_says_something, cast("Mapping[str, object]", error).values()))
    return error.strip().lower() not in _NOTHING if isinstance(error, str) else bool(error)
