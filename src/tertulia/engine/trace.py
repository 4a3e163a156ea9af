"""The trace of a turn: spans that say what was asked and answered, by which model, and how long each took.

A turn collects its spans while it runs; they are encoded once, when it settles or is void. The names of attributes are
those of OpenTelemetry's conventions for generative AI (https://github.com/open-telemetry/semantic-conventions-genai);
those that it has no name for begin with `tertulia.`.
"""

import asyncio
import json
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from tertulia import clock, events
from tertulia.errors import ModelMisbehaved, TertuliaError
from tertulia.events import Action
from tertulia.providers.base import (
    UNCOUNTED,
    Prompt,
    Report,
    Role,
    Tokens,
    Turn,
)

Detail = Literal["spans", "prompts"]
"""The part of a model's call that a trace keeps: its times and counts, or the prompt and the answer too."""

QUOTING = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (
        events.ActiveMemoryChecked,
        events.ActiveMemoriesExtracted,
        events.DynamicQueriesGenerated,
        events.MemoriesRecalled,
        events.ReflectionGenerated,
        events.ToolCallStarted,
        events.ToolCallEnded,
        events.DesignatedToolCallParamsGenerated,
        events.ToolOutputAvailable,
    )
)
"""Steps that quote what was said, is remembered, or passed to and from a tool: kept, and shown, as prompts are."""

MOST_CALLS = 200
MOST_STEPS = 400
"""Spans that a trace keeps, calls of models and others; of later ones it has the number."""

MOST_TEXT_CHARS = 32_000
"""Characters of one text that a trace keeps: its beginning and its end."""

MOST_CHARS = 256_000
"""Characters of all texts of a trace; each is kept once, however often it was sent."""

POOLED = 512
"""Texts that a process keeps for the turns that have most of one in common."""

PACKERS = 64
"""Beginnings of traces that a process keeps compressed, for the next ones that begin so."""

_PACKED_ABOVE_BYTES = 8192
"""The size above which a trace without shared texts is compressed: below it, that costs more than it saves."""
_PACKING = (3, zlib.DEFLATED, 13, 4)
"""Level, window and memory of zlib: what follows a beginning has no more in common with it, and small tables are quick
to copy."""

now = time.perf_counter_ns


class _Step(msgspec.Struct, array_like=True, gc=False):
    """A span that is no model's call, as it is stored, in microseconds since the turn began."""

    start: int
    length: int
    name: str
    attributes: dict[str, Any]


class _Call(msgspec.Struct, array_like=True, gc=False):
    """A model's call as it is stored: microseconds, and indexes of texts. Reading makes attributes of its fields."""

    start: int
    length: int
    first: int | None
    interaction: str
    requested: str | None
    model: str | None
    output: str
    read: int | None
    written: int | None
    cached: int | None
    tries: int
    fallbacks: list[dict[str, str]] | None = None
    error: dict[str, Any] | None = None
    system: int | None = None
    turns: list[tuple[Role, int]] | None = None
    question: int | None = None
    answer: int | None = None


class _Stored(msgspec.Struct, array_like=True, gc=False):
    """A trace as it is stored. The turn is the parent of all other spans."""

    began: datetime
    detail: Detail
    turn: _Step
    steps: list[_Step]
    calls: list[_Call]
    texts: list[str | tuple[int, str, int]]
    """The texts, or the own part of each between the indexes of two texts that turns share."""


_read_stored = msgspec.json.Decoder(_Stored).decode
_read_beside = msgspec.json.Decoder(tuple[list[str], _Stored]).decode


@dataclass(frozen=True, slots=True)
class PromptLog:
    """The prompt of a model's call as it was kept."""

    interaction: str
    system: str
    history: Sequence[Turn]


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it is read back: `parent` is another span's number, None for the turn."""

    id: int
    parent: int | None
    name: str
    start: datetime
    ms: float
    attributes: Mapping[str, Any]
    prompt: PromptLog | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class HeldText:
    """A text as a running turn holds it: its own part, between a beginning and an end that it shares with others."""

    begins: str
    own: str
    ends: str

    @property
    def text(self) -> str:
        """The whole text; that of the pool itself, whose hash is known, if it is the same."""
        return f"{self.begins}{self.own}{self.ends}" if self.own or self.ends else self.begins


class TextPool:
    """Texts that turns of a process have in common: prompts of an agent differ in a name and a time.

    Thousands of turns that wait for a slow model would hold as many copies. Of each key the pool keeps the beginning
    and the end that its texts were found to share, so most texts are only compared with these.
    """

    def __init__(self) -> None:
        self._shared: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._packers: dict[bytes, tuple[Any, bytes]] = {}
        """Compressors that have read the beginning of a trace, with what they have written of it."""

    def hold(self, key: str, text: str) -> HeldText:
        """Hold a text, which resembles those of the same key. Return it."""
        begins, ends = self._shared.get(key, ("", ""))
        if not _is_framed(text, begins, ends):
            begins, ends = _frame(begins + ends, text)
            if not _is_framed(text, begins, ends):
                begins, ends = text, ""
            self._shared[key] = begins, ends
            if len(self._shared) > POOLED:
                self._shared.popitem(last=False)
        return HeldText(begins, text[len(begins) : len(text) - len(ends)], ends)

    def pack(self, begins: bytes, rest: bytes) -> bytes:
        """Compress a trace whose beginning others share, which is compressed once for all. Return it."""
        packer, written = self._packers.get(begins) or self._begin(begins)
        own = packer.copy()
        return written + own.compress(rest) + own.flush()

    def _begin(self, begins: bytes) -> tuple[Any, bytes]:
        packer = zlib.compressobj(*_PACKING)
        written = packer.compress(begins)
        if len(self._packers) >= PACKERS:
            self._packers.clear()  # threads read it too
        self._packers[begins] = packer, written
        return packer, written


def _is_framed(text: str, begins: str, ends: str) -> bool:
    """Return True if a text begins and ends so, and has more in common with that than of its own."""
    shared = len(begins) + len(ends)
    return shared <= len(text) < 2 * shared and text.startswith(begins) and text.endswith(ends)


def _frame(base: str, text: str) -> tuple[str, str]:
    """Find the beginning and the end that two texts share. Return them."""
    most = min(len(base), len(text))
    begins = _common(lambda count: base[:count] == text[:count], most)
    ends = _common(lambda count: base[len(base) - count :] == text[len(text) - count :], most - begins)
    return text[:begins], text[len(text) - ends :]


def _common(is_same: Callable[[int], bool], most: int) -> int:
    """Find the largest number of characters, up to `most`, for which two texts are the same. Return it."""
    low = 0
    while low < most:
        middle = (low + most + 1) // 2
        if is_same(middle):
            low = middle
        else:
            most = middle - 1
    return low


class Trace:
    """The recorder of one turn. Written on one event loop."""

    __slots__ = ("_agent_id", "_began", "_calls", "_detail", "_dropped", "_pool", "_start", "_steps")

    def __init__(self, detail: Detail, agent_id: str, pool: TextPool) -> None:
        """Begin the trace of a turn of an agent, whose prompts share texts of a pool."""
        self._detail: Detail = detail
        self._agent_id = agent_id
        self._pool = pool
        self._began = clock.now()
        self._start = now()
        self._steps: list[_Step] = []
        self._calls: list[ModelCall] = []
        self._dropped = 0

    def step(self, action: Action) -> None:
        """Note a step of the agent's thinking, as its event tells it."""
        name = events.action_type(action)
        told = {} if self._detail == "spans" and name in QUOTING else {"tertulia.action": action}
        self._add(_Step((now() - self._start) // 1000, 0, name, told))

    @property
    def keeps_texts(self) -> bool:
        """True if texts are kept, and not times and counts alone."""
        return self._detail == "prompts"

    @property
    def spans(self) -> int:
        """The number of spans that are kept so far."""
        return len(self._calls) + len(self._steps)

    def work(self, name: str, begun_ns: int, attributes: dict[str, Any]) -> None:
        """Note work of a voice or a tool that began at `begun_ns` of the performance counter and ends now."""
        self._add(_Step((begun_ns - self._start) // 1000, (now() - begun_ns) // 1000, name, attributes))

    def call(self, prompt: Prompt, requested: str | None, output: str) -> "ModelCall":
        """Note that a model is called. Return the call, to be told how it goes."""
        call = ModelCall(prompt, requested, output, self._hold(prompt) if self._detail == "prompts" else None)
        if len(self._calls) < MOST_CALLS:
            self._calls.append(call)
        else:
            self._dropped += 1
        return call

    def encode(
        self, root: dict[str, Any], error: BaseException | None = None, name: str = "invoke_agent"
    ) -> tuple[bytes, int]:
        """End the trace of a turn, whose own attributes are `root`. Return it as it is stored, and how many prompts."""
        if self._dropped:
            root["tertulia.dropped_spans"] = self._dropped
        if error is not None:
            root |= describe_error(error)
        texts = _Texts()
        turn = _Step(0, (now() - self._start) // 1000, name, root)
        calls = [call.stored(self._start, texts) for call in self._calls]
        body = msgspec.json.encode(_Stored(self._began, self._detail, turn, self._steps, calls, texts.kept))
        prompts = len(calls) if self._detail == "prompts" else 0
        if texts.shared:
            return self._pool.pack(b"[%b," % msgspec.json.encode([*texts.shared]), body + b"]"), prompts
        return (zlib.compress(body, 1) if len(body) > _PACKED_ABOVE_BYTES else body), prompts

    def _hold(self, prompt: Prompt) -> "HeldPrompt":
        return (
            self._pool.hold(self._agent_id, prompt.system),
            prompt.turns,
            self._pool.hold(f"{self._agent_id} {prompt.interaction}", prompt.question),
        )

    def _add(self, step: _Step) -> None:
        if len(self._steps) < MOST_STEPS:
            self._steps.append(step)
        else:
            self._dropped += 1


HeldPrompt = tuple[HeldText, Sequence[Turn], HeldText]
"""A prompt's system text, its turns and its question."""


class ModelCall:
    """A call of a model while it goes on."""

    __slots__ = (
        "_answer",
        "_began",
        "_ended",
        "_error",
        "_fallbacks",
        "_interaction",
        "_model",
        "_output",
        "_prompt",
        "_requested",
        "_tokens",
        "_tries",
        "first",
        "pieces",
    )

    def __init__(self, prompt: Prompt, requested: str | None, output: str, held: HeldPrompt | None) -> None:
        self._began = now()
        self._ended = 0
        self.first = 0
        """The time of the first piece, by the performance counter; 0 without one."""
        self.pieces: list[str] | None = None if held is None else []
        """The pieces of the answer, if they are kept."""
        self._interaction = prompt.interaction
        self._prompt = held
        self._requested = requested
        self._output = output
        self._answer: str | None = None
        self._model: str | None = None
        self._tokens: Tokens = UNCOUNTED
        self._tries = 0
        self._fallbacks: list[dict[str, str]] | None = None
        self._error: BaseException | None = None

    def hear(self, piece: str) -> None:
        """Note a piece of the answer."""
        if not self.first:
            self.first = now()
        if self.pieces is not None:
            self.pieces.append(piece)

    def report(self, report: Report) -> None:
        """Take the news of a request to a model's server."""
        if report.event == "asked":
            self._tries += 1
            self._model = report.model
        elif report.event == "failed":
            self._fallbacks = [*(self._fallbacks or ()), {"model": report.model, "error.type": report.error}]
            self._answer = None  # the next model's counts, if that succeeds
        else:
            self._tokens = report.tokens if report.tokens != UNCOUNTED else self._tokens
            self._answer = report.answer if report.answer is not None else self._answer

    def end(self, error: BaseException | None = None) -> None:
        """Note that the call has ended, and by which error; GeneratorExit: nobody wanted the rest."""
        self._ended = now()
        self._error = error

    def answered(self, value: Any) -> None:
        """Note that the call has ended with a decoded answer, whose own text counts unless the raw one is known."""
        self.end()
        if self._prompt is not None and self._answer is None:
            self._answer = json.dumps(value, ensure_ascii=False, default=str)

    def stored(self, start_ns: int, texts: "_Texts") -> _Call:
        """Describe the call in a turn that began at `start_ns`. Return it as it is stored."""
        tokens, prompt, began = self._tokens, self._prompt, self._began
        stored = _Call(
            (began - start_ns) // 1000,
            ((self._ended or now()) - began) // 1000,
            (self.first - began) // 1000 if self.first else None,
            self._interaction,
            self._requested,
            self._model,
            self._output,
            tokens.read,
            tokens.written,
            tokens.cached,
            self._tries,
            self._fallbacks,
            self._outcome(),
        )
        if prompt is not None:
            system, turns, question = prompt
            stored.system = texts.index_held(system)
            stored.turns = [(turn.role, texts.index(turn.content)) for turn in turns]
            stored.question = texts.index_held(question)
            answer = self._answer if self._answer is not None else "".join(self.pieces or ())
            stored.answer = texts.index(answer) if answer or self._error is None else None
        return stored

    def _outcome(self) -> dict[str, Any] | None:
        if not self._ended or isinstance(self._error, GeneratorExit | asyncio.CancelledError):
            return {"tertulia.dropped": True}
        return None if self._error is None else describe_error(self._error)


class _Texts:
    """The texts of a trace, each once, and cut if they are long."""

    def __init__(self) -> None:
        self.kept: list[str | tuple[int, str, int]] = []
        self.shared: dict[str, int] = {}
        """Texts that other turns have too, with their indexes."""
        self._known: dict[str | tuple[str, str, str], int] = {}
        self._room = MOST_CHARS

    def index(self, text: str) -> int:
        """Keep a text. Return its index."""
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = len(self.kept)
            shown = cut(text, min(MOST_TEXT_CHARS, self._room))
            self._room = max(0, self._room - len(shown))
            self.kept.append(_writable(shown))
        return known

    def index_held(self, held: HeldText) -> int:
        """Keep a text that has a beginning and an end in common with others. Return its index."""
        key = held.begins, held.own, held.ends
        known = self._known.get(key)
        if known is None:
            length = len(held.begins) + len(held.own) + len(held.ends)
            if length > min(MOST_TEXT_CHARS, self._room):
                return self.index(held.text)
            self._room -= length
            known = self._known[key] = len(self.kept)
            self.kept.append((self._share(held.begins), _writable(held.own), self._share(held.ends)))
        return known

    def _share(self, text: str) -> int:
        return self.shared.setdefault(_writable(text), len(self.shared))


def _writable(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()


def cut(text: str, most: int) -> str:
    """Keep the beginning and the end of a text. Return it whole if it has at most so many characters."""
    if len(text) <= most:
        return text
    half = max(0, most // 2)
    note = f"[... {len(text) - 2 * half} characters are not kept in the trace ...]"
    return f"{text[:half]}\n{note}\n{text[len(text) - half :]}" if half else note


def describe_error(error: BaseException) -> dict[str, Any]:
    """Describe an error. Return attributes; of a model's misbehaviour alone the reason is told, the log has others."""
    found: dict[str, Any] = {"error.type": type(error).__name__}
    if isinstance(error, TertuliaError):
        found |= {"tertulia.error.status": error.status, "tertulia.error.message": error.detail}
    if isinstance(error, ModelMisbehaved):
        found["tertulia.error.reason"] = error.reason
    return found


# --- Reading ---------------------------------------------------------------------------------------------------------


def read(body: bytes) -> tuple[Detail, list[Span]]:
    """Decode a stored trace. Return its detail and its spans: the turn, then the others as they began."""
    stored, texts = _parted(body if body.startswith(b"[") else zlib.decompress(body))
    others = sorted([*stored.steps, *stored.calls], key=lambda span: span.start)
    spans = [_read(number, span, stored.began, texts) for number, span in enumerate([stored.turn, *others])]
    return stored.detail, spans


def _parted(body: bytes) -> tuple[_Stored, list[str]]:
    """Decode a trace, before which the texts may stand that it shares with others. Return it and its whole texts."""
    shared, stored = _read_beside(body) if body.startswith(b"[[") else ([], _read_stored(body))
    return stored, [_whole(text, shared) for text in stored.texts]


def _whole(text: str | tuple[int, str, int], shared: Sequence[str]) -> str:
    return text if isinstance(text, str) else f"{shared[text[0]]}{text[1]}{shared[text[2]]}"


def _read(number: int, span: _Step | _Call, began: datetime, texts: Sequence[str]) -> Span:
    is_call = isinstance(span, _Call)
    return Span(
        id=number,
        parent=0 if number else None,
        name=_name(span) if is_call else span.name,
        start=began + timedelta(microseconds=span.start),
        ms=span.length / 1000,
        attributes=_attributes(span) if is_call else span.attributes,
        prompt=_prompt_log(span, texts) if is_call else None,
        answer=texts[span.answer] if is_call and span.answer is not None else None,
    )


def _name(call: _Call) -> str:
    model = call.model or call.requested
    return f"chat {model}" if model else "chat"


def _attributes(call: _Call) -> dict[str, Any]:
    model = call.model or call.requested
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.model.partition(":")[0] if call.model else None,
        "gen_ai.request.model": call.requested or model,
        "gen_ai.response.model": call.model,
        "gen_ai.output.type": call.output,
        "gen_ai.usage.input_tokens": call.read,
        "gen_ai.usage.output_tokens": call.written,
        "gen_ai.usage.cache_read.input_tokens": call.cached,
        "tertulia.interaction": call.interaction,
        "tertulia.first_piece_ms": None if call.first is None else call.first / 1000,
        "tertulia.tries": call.tries or 1,
        "tertulia.fallbacks": call.fallbacks or [],
        **(call.error or {}),
    }


def _prompt_log(call: _Call, texts: Sequence[str]) -> PromptLog | None:
    if call.system is None or call.question is None:
        return None
    turns = [Turn(role, texts[index]) for role, index in call.turns or ()]
    asked = Prompt(call.interaction, "", turns, question=texts[call.question]).asked
    return PromptLog(call.interaction, texts[call.system], asked)
