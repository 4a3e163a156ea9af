"""Nearness of texts in meaning, by an embedding model, or in words if there is none."""

import asyncio
import math
import re
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from operator import mul

from tertulia.providers.base import Embedder

REMEMBERED = 5000
"""Texts whose vectors a process keeps."""

_WORD = re.compile(r"\w{3,}")

Vector = Sequence[float]


class Nearness:
    """The nearness of texts by an embedding model; without one, nothing is known of it.

    Messages are read by `embedder`, the texts that they are compared with by `keeping`, which may know them.
    """

    def __init__(
        self,
        embedder: Embedder | None = None,
        keeping: Embedder | None = None,
        vectors: "OrderedDict[str, Vector] | None" = None,
    ) -> None:
        self._embedder = embedder
        self._keeping = keeping
        self._vectors: OrderedDict[str, Vector] = OrderedDict() if vectors is None else vectors

    def asking(self, embedder: Embedder | None) -> "Nearness":
        """Return the same nearness, with the same vectors, that asks through an embedder around its own."""
        return self if embedder is None else Nearness(embedder, self._keeping, self._vectors)

    async def nearest(self, recent: Sequence[str], texts: Sequence[str], most: int) -> list[int] | None:
        """Compare texts with recent messages, of which a later one counts twice as much as the one before.

        Return the indexes of the nearest texts, or None without an embedding model.

        Raises:
            ModelError: the embedding model has failed.
        """
        if self._embedder is None:
            return None
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        beside = [] if self._keeping is not None else missing
        embedded = await self._embedder.embed([*recent, *beside])
        if self._keeping is not None and missing:
            embedded = [*embedded, *await self._keeping.embed(missing)]
        vectors = [_unit(vector) for vector in embedded]
        said = vectors[: len(recent)]
        known = {text: self._vectors[text] for text in texts if text in self._vectors}
        known |= dict(zip(missing, vectors[len(recent) :], strict=True))
        self._remember(known)
        return await asyncio.to_thread(_rank, said, [known[text] for text in texts], most)

    def _remember(self, vectors: dict[str, Vector]) -> None:
        for text, vector in vectors.items():
            self._vectors[text] = vector
            self._vectors.move_to_end(text)
        while len(self._vectors) > REMEMBERED:
            self._vectors.popitem(last=False)


def by_words(recent: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Sort texts by the words that they share with recent messages. Return their indexes, the most shared first."""
    said = set(_WORD.findall(" ".join(recent).casefold()))
    shared = [len(said & set(_WORD.findall(text.casefold()))) for text in texts]
    return sorted(range(len(texts)), key=lambda index: -shared[index])


def _rank(recent: Sequence[Vector], texts: Sequence[Vector], most: int) -> list[int]:
    weighted = [[value * 2.0**-age for value in vector] for age, vector in enumerate(reversed(recent))]
    wanted = [sum(values) for values in zip(*weighted, strict=True)]
    scores = [sum(map(mul, wanted, vector)) for vector in texts]
    return sorted(range(len(texts)), key=lambda index: -scores[index])[:most]


def _unit(vector: Sequence[float]) -> Vector:
    length = math.sqrt(sum(map(mul, vector, vector))) or 1.0
    return array("f", [value / length for value in vector])
