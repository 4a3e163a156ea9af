"""Embeddings of any server that speaks OpenAI's API.

https://platform.openai.com/docs/api-reference/embeddings; also vLLM, Ollama, llama.cpp's server and others.
"""

from collections.abc import Sequence

import msgspec

from tertulia.errors import EmbeddingFailed
from tertulia.providers.remote import Answer, Remote

MOST_TEXTS = 256
"""Texts of one request; the vendor takes 2048, others less."""


class _Embedding(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Embedding]


_decoder = msgspec.json.Decoder(_Answer)


class OpenAIEmbedder:
    """A model of a server that speaks `/embeddings`. Raises EmbeddingFailed, nothing else."""

    def __init__(self, remote: Remote, model: str) -> None:
        self._remote = remote
        self._model = model

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Ask for the vectors of texts. Return one for each, in their order."""
        vectors: list[list[float]] = []
        for first in range(0, len(texts), MOST_TEXTS):
            part = [text or " " for text in texts[first : first + MOST_TEXTS]]
            body = {"model": self._model, "input": part, "encoding_format": "float"}
            vectors += self._vectors(await self._remote.read("POST", "embeddings", json=body), len(part))
        if len({len(vector) for vector in vectors}) > 1:
            raise self._remote.failure("the vectors are not of one length")
        return vectors

    def _vectors(self, answer: Answer, count: int) -> list[list[float]]:
        if answer.status != 200:
            raise self._remote.refusal(answer)
        try:
            found = _decoder.decode(answer.body).data
        except msgspec.DecodeError as error:
            raise EmbeddingFailed(f"the answer cannot be read: {error}") from None
        if [item.index for item in found] != list(range(count)) or not all(item.embedding for item in found):
            raise self._remote.failure(f"{count} texts were asked for, and {len(found)} vectors came")
        return [item.embedding for item in found]
