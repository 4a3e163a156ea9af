"""The HTTP API as the commands use it."""

import asyncio
import ipaddress
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import httpx2
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import InvalidStatus, WebSocketException

from tertulia.cli.arguments import DEFAULT_URL
from tertulia.cli.failure import MISUSED, CommandFailed
from tertulia.cli.installation import IssuedToken, issue_token
from tertulia.cli.options import load_settings

Event = dict[str, Any]

TIMEOUT = httpx2.Timeout(10, read=300)
RENEW_S = 300
"""So many seconds before a token expires, another one is fetched."""
CLOSING_S = 1
"""How long a call waits for the server's goodbye, which stands behind all that nobody listens to any more."""


class ApiError(CommandFailed):
    """The server's refusal, in its own words."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"HTTP {status}: {detail}")


class Api:
    """One user's view of one organization. Every method raises CommandFailed: no connection, or a refusal."""

    def __init__(self, url: str, organization: str, token: Callable[[], str]) -> None:
        self.url = url
        self._base_url = f"{url}/v1/{organization}"
        self._token = token
        # A proxy of the environment is for other hosts than this one.
        self._http = httpx2.Client(base_url=self._base_url, timeout=TIMEOUT, trust_env=not _is_loopback(url))

    def get(self, path: str, **query: Any) -> Any:
        with self._request("GET", path, params=query) as response:
            return json.loads(response.read())

    def post(self, path: str) -> None:
        with self._request("POST", path):
            pass

    def stream(self, path: str, **request: Any) -> Iterator[Event]:
        """Events of a POST, each as it comes."""
        with self._request("POST", path, **request) as response:
            for line in response.iter_lines():
                yield json.loads(line)

    def create(self, service_id: str) -> Iterator[Event]:
        """Begin a conversation; the agent speaks first."""
        return self.stream("/conversation/", params={"response_format": "text"}, json={"service_id": service_id})

    def interact(self, conversation_id: str, text: str) -> Iterator[Event]:
        """Say something in a conversation."""
        formats = {"request_format": "text", "response_format": "text"}
        parts = {"initial_message_type": (None, "user-message"), "recorded_message": (None, text)}
        return self.stream(f"/conversation/{conversation_id}/interact", params=formats, files=parts)

    def finish(self, conversation_id: str) -> None:
        self.post(f"/conversation/{conversation_id}/finish/")

    def list_unfinished(self, user_id: str, **narrow: Any) -> list[dict[str, Any]]:
        """A user's unfinished conversations."""
        return self.get("/conversation/", user_id=user_id, is_finished=False, **narrow)["conversations"]

    @asynccontextmanager
    async def talk(self) -> AsyncGenerator[ClientConnection]:
        """A live conversation in which the agent speaks."""
        address = f"{self._base_url.replace('http', 'ws', 1)}/conversation/converse_realtime?response_format=voice"
        headers = {"Authorization": f"Bearer {await asyncio.to_thread(self._token)}"}
        try:
            connection = await connect_websocket(
                address,
                additional_headers=headers,
                proxy=None if _is_loopback(self.url) else True,
                close_timeout=CLOSING_S,
            )
        except InvalidStatus as error:
            body = (error.response.body or b"").decode(errors="replace")
            raise ApiError(error.response.status_code, _detail(body) or error.response.reason_phrase) from error
        except (WebSocketException, OSError) as error:
            raise CommandFailed(f"Cannot talk with {self.url}: {error}.") from error
        async with connection:
            yield connection

    @contextmanager
    def _request(self, method: str, path: str, **request: Any) -> Generator[httpx2.Response]:
        headers = {"Authorization": f"Bearer {self._token()}"}
        try:
            with self._http.stream(method, path, headers=headers, **request) as response:
                _raise_for_status(response)
                yield response
        except httpx2.ConnectError as error:
            raise CommandFailed(f"There is no server at {self.url}: start one with `tertulia run`.") from error
        except httpx2.HTTPError as error:
            raise CommandFailed(f"The connection to {self.url} broke: {type(error).__name__}.") from error
        except json.JSONDecodeError as error:
            raise CommandFailed(f"{self.url} does not answer as Tertulia does.") from error


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user."""

    api: Api
    user_id: str


class KeySignIn:
    """Tokens of a user for an API key, asked of the server, each used until it is about to expire."""

    def __init__(self, url: str, organization: str, headers: dict[str, str]) -> None:
        self._url = f"{url}/v1/{organization}/user/signin_with_api_key"
        self._headers = headers
        self._trust_env = not _is_loopback(url)
        self._token = ""
        self._renew_at = 0.0

    def __call__(self) -> str:
        if time.time() > self._renew_at:
            response = self._post()
            _raise_for_status(response)
            answer = response.json()
            self._token = answer["id_token"]
            self._renew_at = datetime.fromisoformat(answer["expires_at"]).timestamp() - RENEW_S
        return self._token

    def _post(self) -> httpx2.Response:
        try:
            return httpx2.post(self._url, headers=self._headers, timeout=TIMEOUT, trust_env=self._trust_env)
        except httpx2.HTTPError as error:
            raise CommandFailed(f"Cannot sign in at {self._url}: {type(error).__name__}.") from error


def sign_in(url: str, organization: str, user_id: str, key_id: str, key: str) -> Session:
    """A session of a user by an API key."""
    headers = {"x-api-key": key, "x-api-key-id": key_id, "x-user-id": user_id}
    return Session(Api(url, organization, KeySignIn(url, organization, headers)), user_id)


def connect(url: str | None, data: Path | None, organization: str, user_id: str | None, *, admin: bool) -> Session:
    """A session by the data folder; by the official client's five settings where all are set and nobody is named."""
    key = {name: os.environ.get(f"AMIGO_{name}", "") for name in _KEY_SETTINGS}
    if data is None and user_id is None and not admin and all(key.values()):
        return sign_in(
            _origin(url or key["BASE_URL"]), key["ORGANIZATION_ID"], key["USER_ID"], key["API_KEY_ID"], key["API_KEY"]
        )
    settings = load_settings(data)

    def issue() -> IssuedToken:
        return issue_token(settings, organization, user_id, administrator=admin)

    user_id = issue().user_id
    return Session(Api(_origin(url or DEFAULT_URL), organization, lambda: issue().token), user_id)


_KEY_SETTINGS = ("API_KEY", "API_KEY_ID", "BASE_URL", "ORGANIZATION_ID", "USER_ID")


def _origin(url: str) -> str:
    parsed = httpx2.URL(url)
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise CommandFailed(f"{url!r} is no address: write it as http://127.0.0.1:8000.", MISUSED)
    return url.rstrip("/")


def _is_loopback(url: str) -> bool:
    host = httpx2.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _raise_for_status(response: httpx2.Response) -> None:
    if response.is_success:
        return
    text = response.read().decode(errors="replace")
    raise ApiError(response.status_code, _detail(text) or response.reason_phrase)


def _detail(text: str) -> str:
    """Read the body of a refusal. Return its reason."""
    try:
        detail = json.loads(text)["detail"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return text[:200]
    if isinstance(detail, list):
        problems = cast("list[dict[str, Any]]", detail)
        return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in problems)
    return str(detail)
