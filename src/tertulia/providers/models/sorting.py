"""Choices by meaning: what was said is sorted to the option whose sayings it is like, by an embedding model.

A model with a billion parameters picks an exit that nobody's words met, and takes seconds for it; multilingual-e5-small
takes some 30 ms. A ridge regression over all sayings sorts better than the nearest one. It knows each text by its
meaning and, for less, by its letters, and a message also as its words may be meant that no saying has: so words that
are spelled wrongly are understood too. Needs numpy, as embedding models in this process do.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tertulia.providers.base import DIRECTION, Choice, Embedder
from tertulia.providers.models import letters, spelling

_RIDGE = 1.0
"""The regression's trust in all sayings together, as a multiple of that in each."""
_LETTERS = 0.4
"""The weight of letters, if that of meaning is one."""
_LEAD = 0.05
"""An exit has to be so much likelier than every action: to stay by mistake is mended more easily than to leave."""
_MOST_SAYINGS = 2000
"""Sayings that are learned at once: the work grows with their third power."""
_REMEMBERED = 100
"""Choices whose sayings are known."""
_MOST_VECTORS = 5000
"""Sayings whose vectors are kept: choices of one graph share many."""
_EXIT = "exit-"
"""The beginning of the keys of a state's exits."""
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026])\s+")

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
    """The choices that were learned from sayings so far."""

    def __init__(self) -> None:
        self._learned: OrderedDict[tuple[tuple[str, tuple[str, ...]], ...], _Learned] = OrderedDict()
        self._vectors: OrderedDict[str, Sequence[float]] = OrderedDict()

    async def sort(self, embedder: Embedder, choice: Choice, text: str) -> str | None:
        """Sort what was said. Return the key of an option, or None if it takes more than sayings.

        That is so if an option has none, if there are rules, or if there are too many sayings to learn. Of several
        sentences the last one counts as much as all together, and what may be meant as much as what was written.

        Raises:
            EmbeddingFailed: the embedding model has failed.
        """
        sayings = {key: tuple(option.sayings) for key, option in choice.options.items()}
        if choice.rules or not all(sayings.values()) or not text.strip() or DIRECTION.fullmatch(text):
            return None
        if sum(map(len, sayings.values())) > _MOST_SAYINGS:
            return None
        key = tuple(sayings.items())
        if key not in self._learned:
            self._learned[key] = await self._learn(embedder, sayings)
        self._learned.move_to_end(key)
        while len(self._learned) > _REMEMBERED:
            self._learned.popitem(last=False)
        learned = self._learned[key]
        texts = await asyncio.to_thread(_readings, text.strip(), learned.words)
        scores = learned.scores(texts, _units(await embedder.embed(texts))).mean(axis=0)
        return max(sayings, key=lambda key: scores[learned.keys.index(key)] - _LEAD * key.startswith(_EXIT))

    async def read(self, embedder: Embedder, choice: Choice) -> None:
        """Have the sayings of a choice read before they are needed, which takes seconds if there are hundreds.

        Raises:
            EmbeddingFailed: the embedding model has failed.
        """
        sayings = [saying for option in choice.options.values() for saying in option.sayings]
        if len(sayings) <= _MOST_SAYINGS:
            await self._read(embedder, sayings)

    async def _read(self, embedder: Embedder, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Read sayings, each once. Return their vectors."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors |= zip(new, await embedder.embed(new), strict=True)
        vectors = [self._vectors[text] for text in texts]
        while len(self._vectors) > _MOST_VECTORS:
            self._vectors.popitem(last=False)
        return vectors

    async def _learn(self, embedder: Embedder, sayings: Mapping[str, Sequence[str]]) -> _Learned:
        """Learn what tells the options apart. Return that."""
        texts = [saying for said in sayings.values() for saying in said]
        vectors = await self._read(embedder, texts)
        return await asyncio.to_thread(_lesson, sayings, texts, vectors)  # it takes a while


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
