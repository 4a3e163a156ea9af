"""What the engine asks of a language model."""

from collections.abc import AsyncIterator, Mapping, Sequence
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

    def stream(self, prompt: Prompt) -> AsyncIterator[str]:
        """The pieces of a reply, each as soon as the model has it; never an empty piece."""
        ...

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        """A JSON value (already decoded) that satisfies a JSON schema."""
        ...
