"""Embeddings by words: deterministic, without weights, for demos and tests. Texts are alike that share words."""

import re
from collections.abc import Sequence
from zlib import crc32

SIZE = 256

_WORD = re.compile(r"\w{3,}")


class ScriptedEmbedder:
    """Embeddings in which each word has a place, which it may share with others."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Count the words of texts. Return a vector for each."""
        return [_counted(text) for text in texts]


def _counted(text: str) -> list[float]:
    vector = [0.0] * SIZE
    for word in _WORD.findall(text.casefold()):
        vector[crc32(word.encode()) % SIZE] += 1.0
    return vector
