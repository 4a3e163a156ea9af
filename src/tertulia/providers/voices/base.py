"""Vendors of voices and transcribers, as the registry lists them, and what opening one gives."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx2

from tertulia.providers.base import Detector, ProviderError, Transcriber, Voice
from tertulia.providers.remote import check_access, open_client
from tertulia.settings import Settings


async def _nothing() -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Provider:
    """An opened vendor; a part that it does not have is None, and Silero's detector stands in for one of its own.

    `start` loads what takes long. `hears_ahead` tells if the transcriber may be asked in vain now: it runs on this
    machine, and nobody waits for it.
    """

    voice: Voice | None = None
    transcriber: Transcriber | None = None
    detector: Callable[[], Detector] | None = None
    hears_ahead: Callable[[], bool] = _never
    start: Callable[[], Awaitable[None]] = _nothing
    aclose: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor by the name that the setting `voice` knows it by.

    `open` takes a model's name, empty for the vendor's usual one, and raises ProviderError, WeightsUnavailable, and
    ImportError if one of the extras that the vendor `needs` is not installed.
    """

    name: str
    open: Callable[[str, Settings], Provider]
    needs: tuple[str, ...] = ()
    help: str = ""
    """One line for a list of the vendors."""
    has_models: bool = False
    """True if `NAME:MODEL` is one of its names too."""


def open_vendor_client(
    group: str, url: str, vendor_host: str, key: str, headers: Mapping[str, str], stall_s: float
) -> httpx2.AsyncClient:
    """Open the connections to a vendor, whose settings are those of a `group`. Return their pool.

    Raises ProviderError if the address or the key cannot be one, or the vendor's own host needs a key.
    """
    check_access(group, url, key)
    client = open_client(url, {**headers, **({"Authorization": f"Bearer {key}"} if key else {})}, stall_s)
    if not key and client.base_url.host == vendor_host:
        raise ProviderError(f"TERTULIA_{group}_API_KEY is missing.")
    return client
