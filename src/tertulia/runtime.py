"""The runtime: everything that a process owns, opened and closed in one place."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tertulia.auth.actor import Actors
from tertulia.auth.limits import Limiter
from tertulia.auth.secrets import SecretBox
from tertulia.auth.tokens import Tokens
from tertulia.background.maintenance import Maintenance
from tertulia.background.sweeper import sweep_forever
from tertulia.engine.turns.conversations import Conversations
from tertulia.providers.models.registry import Models
from tertulia.providers.voices.fallback import Voices
from tertulia.settings import Settings
from tertulia.storage.clusters import Clusters


@dataclass(frozen=True, slots=True)
class Runtime:
    """The belongings of a process; `app.state.runtime`. Without a limiter, there are no limits of a caller."""

    settings: Settings
    clusters: Clusters
    secret_box: SecretBox
    tokens: Tokens
    actors: Actors
    limiter: Limiter | None
    conversations: Conversations
    maintenance: Maintenance


@asynccontextmanager
async def open_runtime(settings: Settings, models: Models, voices: Voices) -> AsyncGenerator[Runtime]:
    """Open the belongings of a process, and yield them; the last that was opened is closed first."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(models.aclose)
        await models.start()
        stack.push_async_callback(voices.aclose)
        await voices.start()
        clusters = Clusters(settings)
        stack.callback(clusters.close)
        secret_box = SecretBox.open(settings)
        databases = [clusters.open(name) for name in settings.cluster_urls]
        await stack.enter_async_context(_task(sweep_forever(databases, settings.turn.lease_s)))
        maintenance = Maintenance(clusters.default)
        await stack.enter_async_context(_task(maintenance.watch()))
        conversations = Conversations(settings, models, voices, clusters.default, secret_box.derive("relay"))
        await stack.enter_async_context(conversations.open())
        limiter = Limiter() if settings.rate_limits == "contract" else None
        tokens = Tokens(clusters.default, secret_box)
        yield Runtime(settings, clusters, secret_box, tokens, Actors(), limiter, conversations, maintenance)


@asynccontextmanager
async def _task(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Do some work beside the block; it ends with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
