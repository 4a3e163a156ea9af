"""Chat completions as servers send them: the ordinary form fast, every odd but clear form too.

https://platform.openai.com/docs/api-reference/chat-streaming. Oddities that are understood: null in any place,
`content` as a list of parts, text and reasons to finish under the names of other protocols, refusals, a completion
within another object or in an array, a choice's index that is missing or null, halves of a surrogate pair, errors in
the place of a reply.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from tertulia.errors import ModelError, ModelMisbehaved, ModelUnavailable, PromptTooLong
from tertulia.providers.base import UNCOUNTED, Cut, Tokens
from tertulia.providers.models.window import is_too_long

_MAX_WORDS = 2_000
_MOST_DEPTH = 8
_TOO_LONG = ("length", "max_", "model_context_window", "token_limit")
_NOT_WHOLE = "incomplete"
_BROKEN_OFF = (
    "_down",
    "abort",
    "cancel",
    "connection",
    "crash",
    "deadline",
    "died",
    "disconnect",
    "error",
    "evict",
    "exceeded_time",
    "exception",
    "expired",
    "fail",
    "gateway",
    "insufficient",
    "interrupt",
    "invalid",
    "kill",
    "lost",
    "malformed",
    "network",
    "no_response",
    "oom",
    "out_of_memory",
    "overload",
    "panic",
    "preempt",
    "quota",
    "rate_limit",
    "shutdown",
    "terminated",
    "time_exceeded",
    "time_limit",
    "timed_out",
    "timeout",
    "unavailable",
    "unexpected",
    "unhandled",
    "unknown",
    "unspecified",
)
"""Parts of the reasons that servers have for an end, each in many forms: `abort`, `aborted`, `request_aborted`."""
_TEXTS = frozenset({"text", "output_text", "text_delta", "refusal", "none"})
_ERROR_NAMES = ("error", "Error", "errors", "err", "error_msg", "error_message", "errorMessage", "exception", "detail")
_STATUSES = ("status", "status_code", "statusCode", "code")
_FIRST_ERROR = 400
_LAST_ERROR = 599
_WRAPPINGS = ("result", "data", "response", "body")
_REASONS = ("finish_reason", "finishReason", "stop_reason", "done_reason")
_BETWEEN = re.compile(r"(?:[\s,\0]|\\[nr]|data:)*")
"""Marks between objects on one line: JSON's own, a line break that was written as a backslash, a line's name."""
_DONE_AT_END = re.compile(r"\[\s*DONE\s*\](?:\s|\\[nr])*\Z", re.IGNORECASE)
_scan = json.JSONDecoder(strict=False).raw_decode
_BLAMES = re.compile(r"error|exception|fail|overload|unavailable|timed? ?out", re.IGNORECASE)
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
_NOTHING = frozenset({"", "null", "none", "undefined", "false", "0", "{}", "[]"})
_WELL = frozenset({"0", "200", "20000", "ok", "success", "succeeded"})
"""Codes of answers that went well."""


_WORDS = ("message", "detail", "msg", "error_msg", "error_message", "title", "type", "code", "error_code")

End = Literal["", "stop"] | Cut
"""Why a reply ends; empty: it goes on."""


class Delta(msgspec.Struct, gc=False):
    """A message, or what a chunk adds to it."""

    content: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None

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
        if _may_hold_more(completion):
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


def objects_in(data: bytes) -> Sequence[bytes]:
    """Split data in which a server has put several objects after each other. Return them, none if it is not that."""
    text = data.decode(errors="surrogateescape")
    found: list[bytes] = []
    at = 0
    while (begin := _BETWEEN.match(text, at).end()) < len(text):  # type: ignore[union-attr] - it matches nothing too
        if _DONE_AT_END.match(text, begin):
            return [*found, b"[DONE]"] if found else []
        try:
            value, at = _scan(text, begin)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        found.append(text[begin:at].encode(errors="surrogateescape"))
    return [] if found == [data] else found


def words(value: object) -> str:
    """Find what an error says. Return its message if it has one, and its code."""
    if isinstance(value, Mapping):
        error = cast("Mapping[str, Any]", value)
        told = [error[name] for name in _WORDS if error.get(name)]
        value = " ".join(map(str, told)) or json.dumps(value)
    return str(value)[:_MAX_WORDS]


def is_piece(data: bytes) -> bool:
    """Judge a line that stands alone: is it a piece of a streamed completion?"""
    try:
        return any(choice.delta is not None for choice in _decode(data).choices)
    except (ValueError, RecursionError):
        return False


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
    if _NOT_WHOLE in reason:
        return "length"
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
        value: object = json.loads(data.decode("utf-8-sig"), strict=False)
    except UnicodeDecodeError:
        raise ModelMisbehaved("the server sent bytes that are not UTF-8") from None
    except (ValueError, RecursionError):
        raise ModelMisbehaved(f"the server sent what is not JSON: {data[:200].decode(errors='replace')}") from None
    return _completion(value, 0)


def _may_hold_more(completion: Completion) -> bool:
    """Judge what was decoded as an ordinary completion: may it say something under another name?"""
    if not completion.choices:
        return completion.error is None and completion.usage is None
    choice = completion.choices[0]
    delta = choice.delta or choice.message
    if delta is None:
        return True
    silent = delta.content is None and delta.refusal is None and not delta.thinks
    return silent and not (choice.delta and choice.finish_reason)


def _completion(value: object, depth: int) -> Completion | None:
    """Read a completion from a decoded value. Return None if it is none, and tells no error."""
    if isinstance(value, list):  # as Gemini wraps what it sends
        parts = [_completion(item, depth) for item in _dicts(cast("object", value))]
        errors = [part.error for part in parts if part is not None and part.error is not None]
        choices = [choice for part in parts if part is not None for choice in part.choices]
        return Completion(choices, errors[0] if errors else None)
    if isinstance(value, str) and _BLAMES.search(value):
        return Completion(error=value)
    if not isinstance(value, dict):
        return None
    told = cast("dict[str, Any]", value)
    choices = [_choice(item) for item in _dicts(told.get("choices"))]
    if not choices and (reason := _reason(told)):
        choices = [Choice(finish_reason=reason)]
    error = _error_of(told)
    if not choices and not _says_something(error) and not depth:
        for name in _WRAPPINGS:
            within = _completion(told.get(name), 1) if isinstance(told.get(name), dict | list) else None
            if within is not None and (within.choices or within.error is not None):
                return within
    return Completion(choices, error, told.get("usage"), told.get("x_groq"))


def _error_of(told: Mapping[str, Any]) -> object:
    """Find the error that an object tells, under one of the names that servers have for it."""
    if told.get("error") is not None or told.get("choices"):
        return told.get("error")
    base = told.get("base_resp")
    if isinstance(base, dict) and cast("dict[str, Any]", base).get("status_code"):
        return cast("object", base)
    kinds = {str(told.get(name)).lower() for name in ("object", "type", "status")}
    if "error" in kinds:
        return told
    if told.get("success") is False or any(map(_is_failure, map(told.get, _STATUSES))):
        return words(told)
    code = told.get("code")
    if code and str(code).lower() not in _WELL and isinstance(told.get("message") or told.get("msg"), str):
        return told
    return next((told[name] for name in _ERROR_NAMES if told.get(name)), None)


def _is_failure(status: object) -> bool:
    """Judge a status: is it the number of one of HTTP's errors?"""
    return isinstance(status, int) and not isinstance(status, bool) and _FIRST_ERROR <= status <= _LAST_ERROR


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _choice(value: dict[str, Any]) -> Choice:
    index, delta, message = value.get("index"), value.get("delta"), value.get("message")
    read = _delta(delta)
    if read is None and message is None and isinstance(value.get("text"), str):  # as completions without a chat have it
        read = Delta(value["text"])
    reason = _reason(value) or (_reason(cast("dict[str, Any]", delta)) if isinstance(delta, dict) else None)
    error = value.get("error")
    if error is None and isinstance(delta, dict):
        error = cast("dict[str, Any]", delta).get("error")
    return Choice(
        read,
        _delta(message),
        reason,
        int(index) if isinstance(index, int | float) or (isinstance(index, str) and index.isdecimal()) else 0,
        error,
    )


def _reason(value: Mapping[str, Any]) -> str | None:
    """Find a reason to finish, under one of the names that servers have for it. Return None if there is none."""
    for name in _REASONS:
        reason = value.get(name)
        if isinstance(reason, list) and reason:
            reason = cast("list[object]", reason)[0]
        if isinstance(reason, dict):  # as SGLang and TGI write it among themselves
            reason = cast("dict[str, Any]", reason).get("type")
        if reason is True:
            return "stop"
        if isinstance(reason, str) and reason:
            return reason
    return None


def _delta(value: object) -> Delta | None:
    if not isinstance(value, dict):
        return None
    delta = cast("dict[str, Any]", value)
    content = delta.get("content")
    if content is None:
        content = delta.get("text")
    refusal = delta.get("refusal")
    return Delta(
        _text(content),
        delta.get("reasoning_content"),
        delta.get("reasoning") or delta.get("thinking") or _has_thought(content),
        refusal if isinstance(refusal, str) else None,
    )


def _is_thought(part: Mapping[str, Any]) -> bool:
    kind = str(part.get("type")).lower()
    return part.get("thought") is True or "thinking" in kind or "reasoning" in kind or "thought" in kind


def _has_thought(content: object) -> bool:
    """Tell if one of a content's parts is a thought."""
    return any(
        _is_thought(part) and any(value for name, value in part.items() if name not in {"type", "thought"})
        for part in _dicts(content)
    )


def _text(content: object) -> str | None:
    """Read a content: text, or parts of which the text counts."""
    if content is None or content is False:
        return None
    text = _text_within(content, 0)
    if text is None:
        raise ModelMisbehaved("the server sent a content that is not text")
    return text


def _text_within(content: object, depth: int) -> str | None:
    """Read the text of a content. Return None for a value that holds none."""
    if isinstance(content, str):
        return content
    if depth > _MOST_DEPTH:
        return None
    if isinstance(content, dict):
        return _part(cast("dict[str, Any]", content), depth)
    if isinstance(content, list):
        return "".join(_text_within(item, depth + 1) or "" for item in cast("list[object]", content))
    return None


def _part(part: Mapping[str, Any], depth: int) -> str:
    if _is_thought(part) or str(part.get("type", "text")).lower() not in _TEXTS:
        return ""
    for name in ("text", "refusal", "value", "content", "parts"):
        text = _text_within(part.get(name), depth + 1)
        if text is not None:
            return text
    return ""


def _dicts(value: object) -> Sequence[dict[str, Any]]:
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _says_something(error: object) -> bool:
    if isinstance(error, Mapping):
        told = cast("Mapping[str, object]", error)
        if str(told.get("code")).lower() in _WELL and str(told.get("message")).lower() in _WELL | _NOTHING:
            return False
        return any(map(_says_something, told.values()))
    if isinstance(error, list):
        return any(map(_says_something, cast("list[object]", error)))
    return error.strip().lower() not in _NOTHING if isinstance(error, str) else bool(error)
