"""A real server on loopback, in a thread of the test's process, and clients of it."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import httpx2
import uvicorn

from support.pages import ROOT
from tertulia.app import create_app
from tertulia.cli import installation
from tertulia.demo.organization import Demo
from tertulia.providers.models.registry import Models
from tertulia.providers.voices.fallback import Voices
from tertulia.serving.connections import Bounds, Connections
from tertulia.serving.websocket import BoundedWebSocket
from tertulia.settings import Settings

PATIENCE_S = 30
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Servers here speak without TLS, and reading the world's certificates takes a client a twentieth of a second."""
TOOLS = ROOT / "examples" / "tools"


class UserClient(httpx2.Client):
    """A client that speaks as one user."""

    user_id: str


@dataclass
class Server:
    """A running server. `as_user`, `as_admin` and `as_super` have the demo users' tokens; `anonymous` has none."""

    settings: Settings
    demo: Demo
    url: str
    _uvicorn: "_Announced"
    _thread: threading.Thread
    _clients: list[httpx2.Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.anonymous = self.client()
        self.as_user = self.client(self.sign_in(self.demo.user_id))
        self.as_admin = self.client(self.sign_in(self.demo.admin_user_id))

    @cached_property
    def as_super(self) -> httpx2.Client:
        """The super administrator, as whom no API key signs in."""
        issued = installation.issue_token(
            self.settings, self.demo.organization_id, self.demo.super_user_id, administrator=True
        )
        return self.client(issued.token)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, which runs in the server's thread."""
        return self._uvicorn.loop

    @property
    def base(self) -> str:
        """The address below which the demo organization's resources are."""
        return f"{self.url}/v1/{self.demo.organization_id}"

    def client(self, token: str | None = None, **headers: str) -> httpx2.Client:
        """A client of the demo organization: its paths begin below `base`, e.g. `/service/`."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        client = httpx2.Client(
            base_url=self.base, headers=headers, timeout=PATIENCE_S, trust_env=False, verify=NO_CERTIFICATES
        )
        self._clients.append(client)
        return client

    def client_of(self, user_id: str) -> UserClient:
        """Sign a user in. Returns a client that speaks as them."""
        headers = {"Authorization": f"Bearer {self.sign_in(user_id)}"}
        client = UserClient(
            base_url=self.base, headers=headers, timeout=PATIENCE_S, trust_env=False, verify=NO_CERTIFICATES
        )
        client.user_id = user_id
        self._clients.append(client)
        return client

    def sign_in(self, user_id: str) -> str:
        """A token of a user, by the demo's API key."""
        answer = self.anonymous.post(
            "/user/signin_with_api_key",
            headers={
                "x-api-key": self.demo.api_key,
                "x-api-key-id": self.demo.api_key_id,
                "x-user-id": user_id,
            },
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id_token"])

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self._uvicorn.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the server does not stop"


Serve = Callable[..., Server]
"""Makes a server: `serve(models=..., voices=..., **settings)`."""


class _Announced(uvicorn.Server):
    """Says when it is ready, or that it will never be."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.settled.set()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            super().run(sockets)
        finally:
            self.settled.set()


def start(settings: Settings, demo: Demo, models: Models | None, voices: Voices | None = None) -> Server:
    """A server of an installation whose demo organization has been made."""
    listener = socket.create_server(("127.0.0.1", 0))
    websocket: Any = partial(BoundedWebSocket, connections=Connections(Bounds()))
    config = uvicorn.Config(
        create_app(settings, models, voices),
        ws=websocket,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=5,
    )
    server = _Announced(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
    thread.start()
    assert server.settled.wait(PATIENCE_S), "the server does not start"
    assert server.started, "the server could not start"
    return Server(settings, demo, f"http://127.0.0.1:{listener.getsockname()[1]}", server, thread)


def settings_of(**changes: Any) -> Settings:
    """Settings for a test: no rate limits, hardly any logs, all of the trace, the tools of the examples."""
    quiet = {"rate_limits": "off", "log_level": "error", "trace": "prompts", "tools": {"source": str(TOOLS)}}
    return Settings.model_validate({**quiet, **changes})
