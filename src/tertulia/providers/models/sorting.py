"""Choices by meaning: what was said is sorted to the option whose sayings it is like, by an embedding model.

A model with a billion parameters picks an exit that nobody's words met, and takes seconds for it; multilingual-e5-small
takes some 30 ms. A ridge regression over all sayings sorts better than the nearest one. It knows each text by its
meaning and, for less, by its letters, and a message also as its words may be meant that no saying has: so words that
are spelled wrongly are understood too. Needs numpy, as embedding models in this process do.
"""

import asyncio
import re
from array import array
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tertulia.errors import EmbeddingFailed
from tertulia.providers.base import DIRECTION, Choice, Embedder, KeepingEmbedder
from tertulia.providers.models import letters, spelling

_RIDGE = 1.0
"""The regression's trust in all sayings together, as a multiple of that in each."""
_LETTERS = 0.4
"""The weight of letters, if that of meaning is one."""
_LEAD = 0.05
"""An exit has to be so much likelier than every action: to stay by mistake is mended more easily than to leave."""
_SURE = 0.55
"""An exit has to be so certain if the message has led to its state: people seldom answer what they were not asked."""
_SURELY_MEANT = 0.45
"""A matter that is so certain needs no model: no ordinary message of a set of 48 came to it."""
_HARDLY_MEANT = 0.2
"""A matter that is less certain is not put to the model: no message that meant one of twelve had less."""
_ENOUGH = 3
"""Sayings of a matter by which it can be missed for sure."""
_MOST_SAYINGS = 2000
"""Sayings that are learned at once: the work grows with their third power."""
_REMEMBERED = 100
"""Choices whose sayings are known."""
_MOST_VECTORS = 5000
"""Sayings whose vectors are kept: choices of one graph share many."""
_AT_ONCE = 100
"""Sayings that a message may wait for."""
_OF_EACH = 2
"""Sayings of each option that are read in any case, if there are too many to wait for."""
_NEAREST = 40
"""Sayings that are read besides: the nearest ones."""
_PORTION = 32
"""Sayings that are read in one go."""
_EXIT = "exit-"
"""The beginning of the keys of a state's exits."""
ORDINARY = (
    "Hello, how are you?",
    "Yes, please.",
    "No, thank you.",
    "That is all, goodbye.",
    "I don't know.",
    "My name is Anna.",
    "Tell me more about it.",
    "What is the difference?",
    "I have a question.",
    "When do you open?",
    "How much does it cost?",
    "Where do I find it?",
    "I would like to book a table for two.",
    "I want an appointment next week.",
    "On Monday at nine.",
    "I'd like to pay by card.",
    "My order has not arrived.",
    "I want to change my address.",
    "It does not work.",
    "Can you help me with my account?",
    "The room is cold.",
    "I have had a cold for two days.",
    "It hurts when I walk.",
    "We are four people.",
    "Guten Tag, ich habe eine Frage.",
    "Wie komme ich zum Bahnhof?",
    "Das Wetter ist heute schlecht.",
    "Ich möchte etwas bestellen.",
    "Ja, danke.",
    "Quel est votre nom ?",
    "Je voudrais un rendez-vous.",
    "Non, merci.",
    "Me gusta cocinar con mis hijos.",
    "Quisiera cambiar mi pedido.",
    "No puedo dormir por la noche.",
)
"""Messages that mean no matter in particular: a matter is told from these, too."""
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026])\s+")

Sayings = tuple[tuple[str, tuple[str, ...]], ...]
"""The keys of a choice's options, each with its sayings."""
Matrix = Any
"""An array of numpy."""
_solve: Any = np.linalg.solve


@dataclass(frozen=True, slots=True)
class _Learned:
    """The lesson of a choice's sayings: the options' keys, and what meanings and letters speak for each."""

    keys: Sequence[str]
    meanings: Matrix
    rarity: Matrix
    pieces: Matrix
    words: Mapping[str, int]
    """The words of the sayings, with their counts."""

    def scores(self, texts: Sequence[str], vectors: Matrix) -> Matrix:
        """Weigh messages. Return a row for each, with a number for each option, about 1 if it is certain."""
        return vectors @ self.meanings + _LETTERS * _units(letters.counted(texts) * self.rarity) @ self.pieces


class Sorting:
    """The choices that were learned from sayings so far.

    With `beside`, which starts what nobody waits for, a choice among many sayings that nobody has read waits for those
    alone that are nearest by their letters; the others are read beside it, for the next one.
    """

    def __init__(self, beside: Callable[[Coroutine[Any, Any, None]], None] | None = None) -> None:
        self._beside = beside
        self._learned: OrderedDict[Sayings, _Learned] = OrderedDict()
        self._vectors: OrderedDict[str, Sequence[float]] = OrderedDict()
        self._begun: set[Sayings] = set()
        """Choices whose sayings are being read."""

    async def sort(
        self, embedder: Embedder, choice: Choice, text: str, keeping: KeepingEmbedder | None = None
    ) -> str | None:
        """Sort what was said. Return the key of an option, or None if it takes more than sayings.

        That is so if an option has none, if there are rules, or if there are too many sayings to learn. Of several
        sentences the last one counts as much as all together, and what may be meant as much as what was written. A
        message that has moved the conversation already moves it again only if that is sure.

        Raises:
            EmbeddingFailed: the embedding model has failed.
        """
        sayings = _sayings(choice)
        if choice.rules or not all(said for _, said in sayings) or not text.strip() or DIRECTION.fullmatch(text):
            return None
        if _count(sayings) > _MOST_SAYINGS:
            return None
        weights = await self._weigh(_Reader(embedder, keeping), sayings, text.strip())
        stays = [key for key in choice.options if not key.startswith(_EXIT)]
        sure = [key for key in choice.options if weights[key] >= _SURE]
        keys = {*stays, *sure} if choice.has_moved and stays else choice.options
        return max(keys, key=lambda key: weights[key] - _LEAD * key.startswith(_EXIT))

    async def sift(
        self, embedder: Embedder, choice: Choice, text: str, keeping: KeepingEmbedder | None = None
    ) -> Choice:
        """Leave out of a choice with an option `otherwise` what was hardly meant. Return what is left to choose from.

        If a matter is surely meant, that is left alone. A matter with few sayings, or the one that holds, is never left
        out: the model decides.

        Raises:
            EmbeddingFailed: the embedding model has failed.
        """
        ordinary = tuple(dict.fromkeys((*choice.options[choice.otherwise].sayings, *ORDINARY)))
        matters = {key: option for key, option in choice.options.items() if key != choice.otherwise}
        sayings = (*_sayings(Choice(matters)), (choice.otherwise, ordinary))
        if not all(said for _, said in sayings) or not text.strip() or DIRECTION.fullmatch(text):
            return choice
        if _count(sayings) > _MOST_SAYINGS:
            return choice
        weights = await self._weigh(_Reader(embedder, keeping), sayings, text.strip())
        best = max(matters, key=weights.__getitem__)
        if weights[best] >= _SURELY_MEANT:
            return replace(choice, options={best: matters[best]})
        few = {key for key, option in matters.items() if len(option.sayings) < _ENOUGH}
        left = {key for key in matters if weights[key] >= _HARDLY_MEANT} | few | {choice.held, choice.otherwise}
        return replace(choice, options={key: option for key, option in choice.options.items() if key in left})

    async def _weigh(self, reader: "_Reader", sayings: Sayings, text: str) -> Mapping[str, float]:
        """Weigh what was said. Return a number for each option."""
        learned = await self._learn(reader, sayings, text)
        texts = await asyncio.to_thread(_readings, text, learned.words)
        scores = learned.scores(texts, _units(await reader.embedder.embed(texts))).mean(axis=0)
        return dict(zip(learned.keys, scores.tolist(), strict=True))

    async def read(self, embedder: Embedder, choice: Choice, keeping: KeepingEmbedder | None = None) -> None:
        """Have the sayings of a choice learned before they are needed, which takes seconds if there are hundreds.

        Raises:
            EmbeddingFailed: the embedding model has failed.
        """
        sayings = _sayings(choice)
        if _count(sayings) <= _MOST_SAYINGS and sayings not in self._begun:
            await self._learn_all(_Reader(embedder, keeping), sayings)

    async def _learn(self, reader: "_Reader", sayings: Sayings, text: str) -> _Learned:
        """Learn what tells the options apart, or so much of it as a message needs. Return that."""
        if sayings in self._learned:
            self._learned.move_to_end(sayings)
            return self._learned[sayings]
        missing = await self._missing(reader, sayings)
        if self._beside is None or len(missing) <= _AT_ONCE:
            return await self._learn_all(reader, sayings)
        if sayings not in self._begun:
            self._beside(self._learn_beside(reader, sayings))
        near = await asyncio.to_thread(_nearest, sayings, missing, text)
        await self._read(reader, [saying for saying in near if saying in missing])
        known = tuple((key, tuple(one for one in said if one in self._vectors)) for key, said in sayings)
        return await self._lesson(known)

    async def _learn_beside(self, reader: "_Reader", sayings: Sayings) -> None:
        with suppress(EmbeddingFailed):  # the next choice will tell
            await self._learn_all(reader, sayings)

    async def _learn_all(self, reader: "_Reader", sayings: Sayings) -> _Learned:
        """Learn from every saying, and keep the lesson. Return it."""
        self._begun.add(sayings)
        try:
            while missing := await self._missing(reader, sayings):  # others may have let go of some meanwhile
                await self._read(reader, missing)
            self._learned[sayings] = learned = await self._lesson(sayings)
        finally:
            self._begun.discard(sayings)
        while len(self._learned) > _REMEMBERED:
            self._learned.popitem(last=False)
        while len(self._vectors) > _MOST_VECTORS:
            self._vectors.popitem(last=False)
        return learned

    async def _missing(self, reader: "_Reader", sayings: Sayings) -> Sequence[str]:
        """Look up what was read before. Return the sayings that were not, each once."""
        new = dict.fromkeys(one for _, said in sayings for one in said if one not in self._vectors)
        if new and reader.keeping is not None:
            self._vectors |= await reader.keeping.known([*new])
        return [saying for saying in new if saying not in self._vectors]

    async def _read(self, reader: "_Reader", sayings: Sequence[str]) -> None:
        """Read sayings in portions, so that what is read counts at once."""
        model = reader.embedder if reader.keeping is None else reader.keeping
        for first in range(0, len(sayings), _PORTION):
            portion = [saying for saying in sayings[first : first + _PORTION] if saying not in self._vectors]
            vectors = await model.embed(portion) if portion else ()
            self._vectors |= ((saying, array("f", vector)) for saying, vector in zip(portion, vectors, strict=True))

    async def _lesson(self, sayings: Sayings) -> _Learned:
        texts = [saying for _, said in sayings for saying in said]
        vectors = [self._vectors[text] for text in texts]
        return await asyncio.to_thread(_lesson, dict(sayings), texts, vectors)  # it takes a while


@dataclass(frozen=True, slots=True)
class _Reader:
    """The embedding model, and the same one for sayings if it keeps them."""

    embedder: Embedder
    keeping: KeepingEmbedder | None


def _sayings(choice: Choice) -> Sayings:
    return tuple((key, tuple(option.sayings)) for key, option in choice.options.items())


def _count(sayings: Sayings) -> int:
    return sum(len(said) for _, said in sayings)


def _nearest(sayings: Sayings, missing: Sequence[str], text: str) -> Sequence[str]:
    """Look for the sayings whose letters a message shares. Return some of each option, and the nearest of all."""
    counts = letters.counted([text, *missing])
    pieces = _units(counts * letters.rarity(counts))
    near = dict(zip(missing, (pieces[1:] @ pieces[0]).tolist(), strict=True))
    chosen: dict[str, None] = {}
    for _, said in sayings:
        chosen |= dict.fromkeys(sorted(said, key=lambda one: -near.get(one, 1.0))[:_OF_EACH])
    return [*(chosen | dict.fromkeys(sorted(near, key=lambda one: -near[one])[:_NEAREST]))]


def _readings(text: str, words: Mapping[str, int]) -> Sequence[str]:
    """Read a message as it was written and as it may be meant. Return both, and the last sentence of each."""
    read = [text, spelling.read(text, words)]
    last = [_SENTENCE_END.split(reading)[-1] for reading in read]
    return list(dict.fromkeys([*read, *last]))


def _lesson(sayings: Mapping[str, Sequence[str]], texts: Sequence[str], read: Sequence[Sequence[float]]) -> _Learned:
    """Learn from sayings that were read. Return the lesson; an option with many is a little more certain."""
    owners = np.repeat(np.arange(len(sayings)), [len(said) for said in sayings.values()])
    vectors, counts = _units(read), letters.counted(texts)
    rarity = letters.rarity(counts)
    pieces = _units(counts * rarity)
    shares = np.sqrt(np.bincount(owners)[owners] * len(sayings) / len(texts))
    wanted = (owners[:, None] == np.arange(len(sayings))[None]).astype(float)
    likeness = vectors @ vectors.T + _LETTERS * pieces @ pieces.T
    weights = _solve(likeness + _RIDGE * np.diag(shares), wanted)
    return _Learned([*sayings], vectors.T @ weights, rarity, pieces.T @ weights, spelling.words(texts))


def _units(vectors: Sequence[Sequence[float]] | Matrix) -> Matrix:
    found = np.asarray(vectors, dtype=float)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
