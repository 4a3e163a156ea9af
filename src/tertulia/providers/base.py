"""What the engine asks of a language model, of a voice, and of what hears speech."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tertulia.audio import pcm

Role = Literal["user", "assistant"]

Sign = Literal["alive", "taken-back"]
"""News of a reply beside its text. `alive`: the model thinks, or another one is asked. `taken-back`: all text that was
given out so far was a thought, and is no part of the reply."""


def _ignore(_sign: Sign) -> None:
    """Take no notice of a sign."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of the conversation as a model is shown it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question to a model: who it is (`system`), what was said (`turns`), and the question of this step.

    `interaction` is the contract's name of the step (`SelectNextAction`, `EngageUser`, ...); `params` are the model's
    own parameters from the version set (`temperature`, ...). `tell` is called with each sign of a reply, before the
    next piece is given out. The same comes first in every step: a model that remembers the beginning of a prompt has
    only its end to read.
    """

    interaction: str
    system: str
    turns: Sequence[Turn]
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    question: str = ""
    tell: Callable[[Sign], None] = field(default=_ignore, repr=False, compare=False)

    @property
    def asked(self) -> Sequence[Turn]:
        """What was said, with the question at its end: below the user's last message, for roles have to alternate."""
        if not self.question:
            return self.turns
        if not self.turns or self.turns[-1].role != "user":
            return [*self.turns, Turn("user", self.question)]
        return [*self.turns[:-1], Turn("user", f"{self.turns[-1].content}\n\n{self.question}")]


class LanguageModel(Protocol):
    """A language model. Both methods raise `tertulia.errors.ModelError` and its kinds, nothing else."""

    def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        """The pieces of a reply, each as soon as the model has it; never an empty piece.

        Whoever stops early closes it (`contextlib.aclosing`): only then does the model stop too.
        """
        ...

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        """A JSON value (already decoded) that satisfies a JSON schema."""
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
        """Whether there is a voice for a language (ISO 639-3)."""
        ...

    async def voices(self) -> Sequence[VoiceInfo]:
        """Those that can be named. `DEFAULT_VOICE` is none of them, and every provider has it."""
        ...

    async def knows(self, voice_id: str) -> bool:
        """Whether there is a voice of this id; true for `DEFAULT_VOICE`."""
        ...

    def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
        """Speak a sentence: its sound, piece by piece as it is made.

        Each word is told once, in order, and none after the sound's end. A provider without times of words tells none.
        Whoever stops early closes it (`contextlib.aclosing`): only then does the voice stop too.
        """
        ...


DEFAULT_VOICE = "default"
"""The voice id that stands for each provider's own voice of a language."""

HEARING_RATE = pcm.HEARING_RATE
"""Samples a second of what is given to a transcriber and to a detector, in Hz; 16-bit little-endian mono PCM."""


HEARING_PATIENCE = 2
"""Seconds more than others that a transcriber may take for each second of a recording."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard, empty where that was no speech; `words` are stretches of `text`, where their times are known."""

    text: str
    words: Sequence[Word] = ()


class Transcriber(Protocol):
    """What hears speech. Raises `tertulia.errors.TranscriptionFailed` and its kinds, nothing else."""

    def hears(self, language: str) -> bool:
        """Whether it understands a language (ISO 639-3)."""
        ...

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        """The words of a recording at HEARING_RATE; `keyterms` are words that are likely in it."""
        ...


class Detector(Protocol):
    """What finds speech in a stream of sound. It keeps state: one for each stream."""

    def feed(self, pcm: bytes) -> Sequence[float]:
        """How likely each next frame of `frame_ms` is speech, 0 to 1; the rest of the PCM waits for more."""
        ...

    frame_ms: int
    """The length of a frame, in milliseconds."""


class ProviderError(Exception):
    """A model or a voice that the settings name cannot be opened. The text is one line for whoever runs the server."""
