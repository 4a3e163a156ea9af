"""The application, put together: `uvicorn --factory tertulia.app:create_app`."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from tertulia import __version__, logs
from tertulia.api import ROUTERS
from tertulia.api.http import errors, openapi
from tertulia.api.http.deps import Runtime
from tertulia.api.http.limiter import Limiter
from tertulia.api.http.middleware import BodyLimits, LastResort, Watch
from tertulia.auth.actor import Actors
from tertulia.auth.secrets import SecretBox
from tertulia.auth.tokens import Tokens
from tertulia.background.maintenance import Maintenance
from tertulia.background.sweeper import sweep_forever
from tertulia.engine.turns.conversations import Conversations
from tertulia.providers.models.registry import Models, open_models
from tertulia.providers.voices.fallback import Voices
from tertulia.providers.voices.registry import open_voices
from tertulia.settings import Settings
from tertulia.storage.clusters import Clusters


class Application(FastAPI):
    """FastAPI, watched from outside."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._watched = Watch(super().__call__)

    @property
    def conversations(self) -> Conversations:
        """The conversations of this process, while its lifespan lasts."""
        runtime: Runtime = self.state.runtime
        return runtime.conversations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._watched(scope, receive, send)


def create_app(settings: Settings | None = None, models: Models | None = None, voices: Voices | None = None) -> FastAPI:
    """The application of an installation that `tertulia init` has made.

    With the settings' models and voices, or those given.
    """
    settings = settings or Settings()
    logs.configure(settings.log_level)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with _runtime(settings, models or open_models(settings), voices or open_voices(settings)) as runtime:
            app.state.runtime = runtime
            yield

    app = Application(
        title="Tertulia",
        version=__version__,
        description="A conversation server for agents.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        routes=[route for router in ROUTERS for route in router.routes],
        middleware=[Middleware(LastResort), Middleware(BodyLimits, settings.limit)],
    )
    errors.install(app)
    openapi.install(app)
    return app


@asynccontextmanager
async def _runtime(settings: Settings, models: Models, voices: Voices) -> AsyncGenerator[Runtime]:
    """Everything that a process has open; what was opened last is closed first."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(models.aclose)
        await models.start()
        stack.push_async_callback(voices.aclose)
        await voices.start()
        clusters = Clusters(settings)
        stack.callback(clusters.close)
        box = SecretBox.open(settings)
        databases = [clusters.open(name) for name in settings.cluster_urls]
        await stack.enter_async_context(_task(sweep_forever(databases, settings.turn.lease_s)))
        maintenance = Maintenance(clusters.default)
        await stack.enter_async_context(_task(maintenance.watch()))
        conversations = Conversations(settings, models, voices, clusters.default, box.derive("relay"))
        await stack.enter_async_context(conversations.open())
        limiter = Limiter() if settings.rate_limits == "contract" else None
        tokens = Tokens(clusters.default, box)
        yield Runtime(settings, clusters, box, tokens, Actors(), limiter, conversations, maintenance)


@asynccontextmanager
async def _task(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    """Work that goes on beside the block, and ends with it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
