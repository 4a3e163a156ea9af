"""What the engine asks of a language model."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of the conversation as a model is shown it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question to a model: who it is and what to do (`system`), then what was said.

    `interaction` is the contract's name of the step (`SelectNextAction`, `EngageUser`, ...); `params` are the model's
    own parameters from the version set (`temperature`, ...).
    """

    interaction: str
    system: str
    turns: Sequence[Turn]
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])


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


class ProviderError(Exception):
    """A model that the settings name cannot be opened. The text is one line for whoever runs the server."""


Act = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Lifespan:
    """What an opened model wants done before it is first used, and after it was last."""

    starts: list[tuple[LanguageModel, Act]] = field(default_factory=list[tuple[LanguageModel, Act]])
    closes: list[Act] = field(default_factory=list[Act])
