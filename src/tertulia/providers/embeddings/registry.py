"""The embedding model that the settings name."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx2

from tertulia.errors import EmbeddingFailed
from tertulia.providers.base import Embedder, KeepingEmbedder, ProviderError
from tertulia.providers.embeddings.openai import OpenAIEmbedder
from tertulia.providers.embeddings.scripted import ScriptedEmbedder
from tertulia.providers.remote import Remote, check_access, open_client
from tertulia.settings import Settings

SCRIPTED = "scripted"
_OPENAI = "api.openai.com"


async def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Embeddings:
    """An opened embedding model, or none; `aclose` gives back its connections. Its vectors are known by `label`."""

    embedder: Embedder | None = None
    label: str = ""
    aclose: Callable[[], Awaitable[None]] = _nothing

    def keeping(self, settings: Settings) -> KeepingEmbedder | None:
        """Return the model for texts of authors, whose vectors are kept in the data folder; None if that is no use."""
        if self.embedder is None or self.label == SCRIPTED:  # that one is faster than a disk
            return None
        from tertulia.providers.embeddings.kept import KeptEmbeddings, VectorFile  # noqa: PLC0415 - many need no vectors

        return KeptEmbeddings(self.embedder, self.label, VectorFile(settings.data))


def open_embeddings(settings: Settings) -> Embeddings:
    """Open the embedding model that the settings name. Return it.

    Raises:
        ProviderError: the model cannot be opened.
    """
    name, _, model = settings.embeddings.partition(":")
    if name == "off" or (name == "auto" and settings.model == ("scripted",)):
        return Embeddings()
    match name:
        case "scripted":
            return Embeddings(ScriptedEmbedder(), SCRIPTED)
        case "auto" | "local":
            return _open_local() or _refuse(name)
        case _:
            return _open_openai(model, settings)


def _open_local() -> Embeddings | None:
    """Open the model in this process. Return None if it cannot run here."""
    from tertulia.providers.embeddings import local  # noqa: PLC0415 - an extra

    if not local.is_available():
        return None
    embedder = local.LocalEmbedder()
    return Embeddings(embedder, local.LABEL, embedder.aclose)


def _refuse(name: str) -> Embeddings:
    if name == "auto":
        return Embeddings()
    raise ProviderError(
        "The embedding model local needs the extra `embeddings`, and on x86-64 a processor with AVX2 and libgomp."
    )


def _open_openai(model: str, settings: Settings) -> Embeddings:
    key, url = settings.openai.api_key.get_secret_value(), settings.openai.base_url
    check_access("OPENAI", url, key)
    if not key and httpx2.URL(url).host == _OPENAI:
        raise ProviderError(
            f"The embedding model openai:{model} needs a key: set OPENAI_API_KEY, or TERTULIA_OPENAI_BASE_URL."
        )
    client = open_client(url, {"Authorization": f"Bearer {key}"} if key else {}, settings.turn.stall_s)
    embedder = OpenAIEmbedder(Remote(client, EmbeddingFailed, settings.turn.stall_s, key), model)
    return Embeddings(embedder, settings.embeddings, client.aclose)
