"""The choice of a model for a step: the version set's preference, else the server's own; never another one.

All that a model writes enters the engine here, and is made fit for a database.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, cast

from msgspec import structs

from tertulia.errors import ModelMisbehaved, ModelMissing
from tertulia.providers.base import LanguageModel, Prompt, Sign

PIECES_AT_ONCE = 256
"""Pieces of a reply, which a model may give without waiting, until other work has its turn."""
MOST_DEPTH = 50
"""Lists and objects within each other that an answer may have; no question asks for nearly as many."""
DECISIONS = frozenset(
    {
        "CheckIfActiveMemoryNeeded",
        "GenerateRecallQueries",
        "SelectDynamicBehavior",
        "SelectNextAction",
        "SelectNextActionForDecisionState",
    }
)
"""The questions of a turn that the fast model answers: the user waits for them, and reads none of their answers."""

_UNSTORED = re.compile("[\0\ud800-\udfff]")


class Models(Protocol):
    """The models that an organization can reach."""

    @property
    def default(self) -> LanguageModel:
        """The model that answers if nothing else is asked for."""
        ...

    @property
    def fast(self) -> LanguageModel:
        """The model that decides if nothing else is asked for."""
        ...

    def named(self, llm_name: str) -> LanguageModel | None:
        """Get the model of a name in a version set. Return None if this server cannot reach it."""
        ...


class AllModels(Protocol):
    """The models of a server."""

    def of(self, org_id: str) -> Models:
        """Get the models that an organization can reach."""
        ...


def model_for(models: Models, preferences: Mapping[str, Any], prompt: Prompt) -> tuple[LanguageModel, Prompt]:
    """Choose the model for a prompt's step. Return it, and the prompt with that model's parameters.

    Its text can be stored: without NUL and halves of surrogate pairs, which no database takes.

    Raises:
        ModelMissing: the version set names a model that this server cannot reach.
    """
    preference = preferences.get(prompt.interaction)
    if preference is None:
        return storable_model(models.fast if prompt.interaction in DECISIONS else models.default), prompt
    name = preference["llm_name"]
    named = models.named(name)
    if named is None:
        raise ModelMissing(name)
    return storable_model(named), structs.replace(prompt, params=preference.get("params", {}))


class PieceListener(Protocol):
    """A listener to a call of a model, who hears what it writes before that is made fit for a database."""

    def hear(self, piece: str) -> None:
        """Hear a piece of a text."""
        ...

    def end(self, error: BaseException | None = None) -> None:
        """Hear that a text has ended, or the call with an error; GeneratorExit: nobody wanted the rest."""
        ...

    def answered(self, value: Any) -> None:
        """Hear a decoded answer."""
        ...


Listen = Callable[[Prompt, str], tuple[Prompt, PieceListener]]
"""Begins to listen to a call, of `text` or `json`. Returns the prompt as it is to be asked, and the listener."""


class _Nobody:
    def hear(self, piece: str) -> None:
        pass

    def end(self, error: BaseException | None = None) -> None:
        pass

    def answered(self, value: Any) -> None:
        pass


_NOBODY = _Nobody()


def _unheard(prompt: Prompt, _output: str) -> tuple[Prompt, PieceListener]:
    return prompt, _NOBODY


@dataclass(frozen=True, slots=True)
class StorableModel:
    """A model whose text can be stored; a call may have a listener.

    Both are done to a piece in one place: each generator that a piece passes through costs as much as the rest.
    """

    model: LanguageModel
    listen: Listen = _unheard

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        prompt, listener = self.listen(prompt, "text")
        stream, hear = self.model.stream(prompt), listener.hear
        del prompt  # it is large, and an answer may take long
        half, left = "", PIECES_AT_ONCE
        try:
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    hear(piece)
                    left -= 1
                    if not left:
                        left = PIECES_AT_ONCE
                        await asyncio.sleep(0)
                    if not half and piece.isprintable():  # as nearly all are
                        yield piece
                        continue
                    whole, half = _storable(half + piece)
                    if whole:
                        yield whole
        except BaseException as error:
            listener.end(error)
            raise
        listener.end()
        if half:
            yield "\ufffd"

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        prompt, listener = self.listen(prompt, "json")
        try:
            value = await self.model.choose(prompt, schema)
            storable = _storable_value(value)
        except BaseException as error:
            listener.end(error)
            raise
        listener.answered(value)
        return storable


def storable_model(model: LanguageModel) -> LanguageModel:
    """Have the text of a model made fit for a database. Return the model, or itself if it is already."""
    inner = model.model if isinstance(model, _Attended) else model
    return model if isinstance(inner, StorableModel) else StorableModel(model)


def _storable(text: str) -> tuple[str, str]:
    """Drop NUL and replace halves of surrogate pairs. Return the text, and a first half at its end, for the next."""
    if _UNSTORED.search(text) is None:
        return text, ""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    whole = text[: len(text) - len(half)].replace("\0", "")
    return whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"), half


def _storable_value(value: Any, room: int = MOST_DEPTH) -> Any:
    if isinstance(value, str):
        text, half = _storable(value)
        return text + "\ufffd" * len(half)
    if isinstance(value, list | dict) and not room:
        raise ModelMisbehaved(f"the answer is more than {MOST_DEPTH} deep")
    if isinstance(value, list):
        return [_storable_value(item, room - 1) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {_storable_value(key): _storable_value(item, room - 1) for key, item in items.items()}
    return value


@dataclass(frozen=True, slots=True)
class AttendedModels:
    """Models whose signs of life reach the turn: one that thinks, or falls back to another, has not stalled."""

    models: Models
    alive: Callable[[], None]

    @property
    def default(self) -> LanguageModel:
        """The model that answers if nothing else is asked for."""
        return _Attended(self.models.default, self.alive)

    @property
    def fast(self) -> LanguageModel:
        """The model that decides if nothing else is asked for."""
        return _Attended(self.models.fast, self.alive)

    def named(self, llm_name: str) -> LanguageModel | None:
        """Get the model of a name in a version set. Return None if this server cannot reach it."""
        model = self.models.named(llm_name)
        return None if model is None else _Attended(model, self.alive)


@dataclass(frozen=True, slots=True)
class _Attended:
    model: LanguageModel
    alive: Callable[[], None]

    def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        return self.model.stream(self._attended(prompt))

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        return await self.model.choose(self._attended(prompt), schema)

    def _attended(self, prompt: Prompt) -> Prompt:
        def tell(sign: Sign) -> None:
            self.alive()
            prompt.tell(sign)

        return structs.replace(prompt, tell=tell)
