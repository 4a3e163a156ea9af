"""The engine's side of models, voices, transcribers and embeddings: the protocols that providers follow."""

import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import msgspec

from tertulia.audio import pcm

Role = Literal["user", "assistant"]

DIRECTION = re.compile(r"\((?!Event at )[^()]*\)")
"""The text that a prompt has in the place of a message that nobody sent."""
BEGINNING = "(The conversation begins.)"
"""The direction in the place of a first message, when the agent opens the conversation."""

Cut = Literal["length", "content_filter"]
"""Why a reply ends before its model was done: no room was left for it, or a filter of the vendor stopped it."""

CUTS: frozenset[str] = frozenset(get_args(Cut))

Sign = Literal["alive", "taken-back"] | Cut
"""News of a reply beside its text. `alive`: the model thinks, or another one is asked. `taken-back`: all text that was
given out so far was a thought, and is no part of the reply. A cut: this is all of the reply, and it is not whole."""


def _ignore(_sign: Sign) -> None:
    """Take no notice of a sign."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of an answer as the model's server counted them: None if it does not say.

    `read` are those of the prompt, the `cached` ones among them; `written` are those of the answer.
    """

    read: int | None = None
    written: int | None = None
    cached: int | None = None


UNCOUNTED = Tokens()


@dataclass(frozen=True, slots=True)
class Report:
    """News of a request to a model's server, for the trace: it was asked, has answered, or has failed.

    `model` is named as in the settings. `answer` is the raw text of an answer that is not given out in pieces. `error`
    says in our own words how a model failed for which another one is asked.
    """

    event: Literal["asked", "answered", "failed"]
    model: str
    answer: str | None = None
    tokens: Tokens = UNCOUNTED
    error: str = ""


def unreported(_report: Report) -> None:
    """Take no notice of a report."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of the conversation as a model is shown it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a choice: a name that is the only one of its kind in the choice, and the text that describes it.

    `sayings` are what people say who mean it.
    """

    name: str
    text: str
    sayings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """A question with a few answers, by their keys, and the rules to choose by.

    `has_moved` is true if the message has already led into this state, so that it hardly answers what is asked in it.
    `otherwise` is the key of the option that is right if no other is meant, and `held` that of the option that was
    right before, and may still be.
    """

    options: Mapping[str, Option]
    rules: Sequence[str] = ()
    has_moved: bool = False
    otherwise: str = ""
    held: str = ""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a model may call: its name, its use in words, and the JSON schema of its parameters."""

    name: str
    use: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FunctionChoice:
    """Functions that a question is about, and the question without the form of its answer."""

    functions: Sequence[Function]
    question: str


class Prompt(msgspec.Struct, frozen=True, eq=False):
    """A question to a model: who it is (`system`), what was said (`turns`), and the question of this step.

    `interaction` is the contract's name of the step (`SelectNextAction`, `EngageUser`, ...); `params` are the model's
    own parameters from the version set (`temperature`, ...). `instructions` are the parts of the prompt that are rules
    for the model, and that a reply never tells; `choice` is the question's matter if it is a choice, for a model that
    asks it in a form of its own; `functions` likewise for calls, for a model that makes them in one. `facts` are what
    the agent knows, for a model that is shown those that fit the message once more, or, if the reply `keeps_to_last`,
    the one that was named last; `opening` are the words with which a reply is to begin, and `wording` the whole of it,
    as the question says too. The answer to a `tentative` question may not be wanted: a model that
    answers one question after the other raises NoRoom. `tell` is called with each sign of a reply, before the next
    piece is given out. The same comes first in every step: a model that remembers the beginning of a prompt has only
    its end to read. `report` is called with each request that the model's server gets, and with its end.

    Two prompts are equal if a model would be asked the same. (A turn changes its prompts in one field after the other,
    and a struct is copied in a twentieth of a dataclass's time.)
    """

    interaction: str
    system: str
    turns: Sequence[Turn]
    params: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    question: str = ""
    instructions: Sequence[str] = ()
    facts: Sequence[str] = ()
    opening: str = ""
    wording: str = ""
    keeps_to_last: bool = False
    choice: Choice | None = None
    functions: FunctionChoice | None = None
    tentative: bool = False
    tell: Callable[[Sign], None] = _ignore
    report: Callable[[Report], None] = unreported

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prompt) and self._words == other._words

    __hash__ = None  # type: ignore[assignment] - equal by value, and Python gives it none either

    @property
    def _words(self) -> tuple[object, ...]:
        return (
            self.question,
            self.system,
            self.turns,
            self.interaction,
            self.params,
            self.instructions,
            self.facts,
            self.opening,
            self.wording,
            self.keeps_to_last,
            self.choice,
            self.functions,
        )

    @property
    def asked(self) -> Sequence[Turn]:
        """The conversation with the question at its end, below the user's last message, for roles have to alternate."""
        if not self.question:
            return self.turns
        if not self.turns or self.turns[-1].role != "user":
            return [*self.turns, Turn("user", self.question)]
        return [*self.turns[:-1], Turn("user", f"{self.turns[-1].content}\n\n{self.question}")]


class LanguageModel(Protocol):
    """A language model. Both methods raise `tertulia.errors.ModelError` and its kinds, nothing else."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        """Ask for a reply. Return its pieces, each as soon as the model has it, and never an empty one.

        A caller that stops early closes the generator (`contextlib.aclosing`): only then does the model stop too.
        """
        ...

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        """Ask for a choice. Return a decoded JSON value that satisfies a JSON schema."""
        ...


class Embedder(Protocol):
    """A model of meaning. Raises `tertulia.errors.EmbeddingFailed` and its kinds, nothing else."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Place texts in a space in which near means alike. Returns a vector for each, all of one length."""
        ...


class KeepingEmbedder(Embedder, Protocol):
    """A model of meaning for texts of authors, which are the same again and again: it keeps their vectors."""

    async def known(self, texts: Sequence[str]) -> Mapping[str, Sequence[float]]:
        """Look up the vectors that are kept. Returns those of the texts that were read before."""
        ...


@dataclass(frozen=True, slots=True)
class Word:
    """A stretch of a spoken text, `text[start:end]`, and when it sounds: milliseconds since the sound began."""

    start: int
    end: int
    begins_ms: float
    ends_ms: float


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of speech: 16-bit little-endian mono PCM at its voice's rate, and words whose times are known by now.

    A piece may have words only, or PCM only.
    """

    pcm: bytes
    words: Sequence[Word] = ()


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A voice as it is listed. `languages` are ISO 639-3; none named: every one that its provider speaks."""

    id: str
    name: str
    languages: Sequence[str] = ()


class Voice(Protocol):
    """A provider's voices. All raise `tertulia.errors.VoiceFailed` and its kinds, nothing else."""

    rate: int
    """Samples a second of the PCM, in Hz."""

    def speaks(self, language: str) -> bool:
        """Tell if there is a voice for a language (ISO 639-3)."""
        ...

    async def voices(self) -> Sequence[VoiceInfo]:
        """List the voices that can be named; `DEFAULT_VOICE`, which every provider has, is none of them."""
        ...

    async def knows(self, voice_id: str) -> bool:
        """Tell if there is a voice of this id; there is always `DEFAULT_VOICE`."""
        ...

    def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
        """Speak a sentence. Return its sound, piece by piece as it is made.

        Each word is told once, in order, and none after the sound's end. A provider without times of words tells none.
        A caller that stops early closes the generator (`contextlib.aclosing`): only then does the voice stop too.
        """
        ...


HEARING_RATE = pcm.HEARING_RATE
"""Samples a second of what is given to a transcriber and to a detector, in Hz; 16-bit little-endian mono PCM."""


HEARING_PATIENCE = 2
"""Seconds more than others that a transcriber may take for each second of a recording."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of a recording, empty if it has no speech; `words` are stretches of `text` whose times are known."""

    text: str
    words: Sequence[Word] = ()


class Transcriber(Protocol):
    """A listener that writes speech down. Raises `tertulia.errors.TranscriptionFailed` and its kinds, nothing else."""

    def hears(self, language: str) -> bool:
        """Tell if a language (ISO 639-3) is understood."""
        ...

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        """Write a recording at HEARING_RATE down, in which `keyterms` are likely. Return its words."""
        ...


class Detector(Protocol):
    """A detector of speech in a stream of sound, with a state: one for each stream."""

    def feed(self, pcm: bytes) -> Sequence[float]:
        """Judge each next frame of `frame_ms`, 0 to 1: is it speech? The rest of the PCM waits for more."""
        ...

    frame_ms: int
    """The length of a frame, in milliseconds."""


class ProviderError(Exception):
    """The failure to open a model or a voice that the settings name. The text is one line for the operator."""
