"""The application, put together: `uvicorn --factory tertulia.app:create_app`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from tertulia import __version__, logs
from tertulia.api import FAMILIES, FORMS, ROUTERS
from tertulia.api.conversation import realtime
from tertulia.api.http import errors, openapi
from tertulia.api.http.client_address import TrustedProxies
from tertulia.api.http.cors import Cors
from tertulia.api.http.families import Families
from tertulia.api.http.middleware import BodyLimits, LastResort, Watch
from tertulia.engine.turns.conversations import Conversations
from tertulia.providers.models.registry import Models, open_models
from tertulia.providers.voices.fallback import Voices
from tertulia.providers.voices.registry import open_voices
from tertulia.runtime import Runners, Runtime, open_runtime
from tertulia.settings import Settings
from tertulia.web import news, pages

_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""The framework's own telemetry would tell what was sent; a turn has its trace."""

_log = structlog.get_logger(__name__)


class Application(FastAPI):
    """FastAPI, watched from outside, which knows clients behind trusted proxies by their own addresses.

    The routes of most operations come when they are asked for, or when there is time.
    """

    def __init__(self, proxies: TrustedProxies, **options: Any) -> None:
        super().__init__(telemetry=_NO_TELEMETRY, **options)
        self._proxies = proxies
        self._watched = Watch(super().__call__)
        openapi.install(self, FORMS, self.load_all)
        self._families = Families(FAMILIES, self.router)

    @property
    def conversations(self) -> Conversations:
        """The conversations of this process, while its lifespan lasts."""
        runtime: Runtime = self.state.runtime
        return runtime.conversations

    def load_all(self) -> None:
        """Load the operations that a start does without, now."""
        self._families.add_all()

    async def load(self) -> None:
        """Load the operations that a start does without, soon, and so that no request waits for long."""
        await self._families.add_beside_requests()

    def build_middleware_stack(self) -> ASGIApp:
        """Put the layers around the router. Return the outermost.

        Those of the framework that do again what ours have done are left out: its last resort, and its bound on bodies.
        """
        app: ASGIApp = ExceptionMiddleware(AsyncExitStackMiddleware(self.router), self.exception_handlers)
        for layer, args, options in reversed(self.user_middleware):
            app = layer(app, *args, **options)
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self._proxies.tell(scope)
        await self._watched(scope, receive, send)


def create_app(
    settings: Settings | None = None,
    models: Models | None = None,
    voices: Voices | None = None,
    runners: Runners | None = None,
) -> FastAPI:
    """Make the application of an installation that `tertulia init` has made. Return it.

    It has the settings' models, voices and runners of tools, or those given.
    """
    settings = settings or Settings()
    logs.configure(settings.log_level)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        opened = open_runtime(settings, models or open_models(settings), voices or open_voices(settings), runners)
        async with opened as runtime:
            app.state.runtime = runtime
            yield

    cors = [Middleware(Cors, settings.cors_origins)] if settings.cors_origins else []
    app = Application(
        TrustedProxies(settings.trusted_proxies, settings.proxy_header),
        title="Tertulia",
        version=__version__,
        description="A conversation server for agents.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        routes=[route for router in (*ROUTERS, news.router, pages.router) for route in router.routes],
        middleware=[*cors, Middleware(LastResort), Middleware(BodyLimits, settings.limit)],
    )
    errors.install(app)
    if settings.limit.operations:
        _warn_of_unknown_operations(app, settings)
    return app


def _warn_of_unknown_operations(app: Application, settings: Settings) -> None:
    app.load_all()
    known = {getattr(route, "operation_id", None) for route in app.routes} | {realtime.OPERATION}
    for name in sorted(settings.limit.operations.keys() - known):
        _log.warning("there is no such operation; its limit is ignored", operation=name)
