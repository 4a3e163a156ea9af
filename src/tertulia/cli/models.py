"""The models that the settings name: can they be opened, and are their weights here?"""

import asyncio

from tertulia.cli.failure import MISUSED, CommandFailed
from tertulia.providers.base import ProviderError
from tertulia.providers.registry import open_models
from tertulia.settings import Settings


def check(settings: Settings) -> None:
    """See that every model can be opened.

    Raises:
        CommandFailed: one cannot; says which.
    """
    try:
        models = open_models(settings)
    except ProviderError as error:
        raise CommandFailed(f"TERTULIA_MODEL: {error}", MISUSED) from error
    asyncio.run(models.aclose())
