"""Meanings of texts: their vectors by the embedding model that the settings name, if there is one."""

import math
from collections.abc import Sequence
from operator import mul

import structlog

from tertulia.errors import ModelError
from tertulia.providers.base import Embedder
from tertulia.storage.memory import Meaning

log = structlog.get_logger()


class Meanings:
    """The embedding model of a server, and the name by which its vectors are known; or none.

    `keeping` is the same model for texts of authors, which may be kept.
    """

    def __init__(self, embedder: Embedder | None = None, name: str = "", keeping: Embedder | None = None) -> None:
        self.embedder = embedder
        self.label = name
        self.keeping = keeping

    async def of(self, texts: Sequence[str]) -> Sequence[Meaning | None]:
        """Ask for the meanings of texts. Return one for each, None if no embedding model can be had."""
        if self.embedder is None or not texts:
            return [None] * len(texts)
        try:
            vectors = await self.embedder.embed(texts)
        except ModelError as error:
            log.warning("texts not embedded", error=type(error).__name__, reason=error.reason)
            return [None] * len(texts)
        return [Meaning(self.label, unit(vector)) for vector in vectors]


def unit(vector: Sequence[float]) -> list[float]:
    """Scale a vector. Return it with the length of 1."""
    length = math.sqrt(sum(map(mul, vector, vector))) or 1.0
    return [value / length for value in vector]
