"""The vendor `local`: its modules need extras, and are imported when it is opened."""

from tertulia.providers.voices.base import Provider, Vendor
from tertulia.settings import Settings


def _open(_model: str, settings: Settings) -> Provider:
    from tertulia.providers.voices.local.speech import open_local  # noqa: PLC0415 - it needs the extras

    return open_local(settings)


VENDOR = Vendor("local", _open, ("local", "voice"), "Speaks and hears on this machine.")
