"""The HTTP API as the commands use it."""

import asyncio
import ipaddress
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx2
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import InvalidStatus, WebSocketException

from tertulia.cli.arguments import DEFAULT_URL
from tertulia.cli.failure import MISUSED, CommandFailed
from tertulia.cli.installation import IssuedToken, find_agent_name, issue_token
from tertulia.cli.options import load_settings

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a conversation, as its stream's headers name it."""

    conversation_id: str
    interaction_id: str


TellBegun = Callable[[Turn], None]
"""Takes a turn that has begun, as soon as the server has named it."""

TIMEOUT = httpx2.Timeout(10, read=300)
RENEW_S = 300
"""So many seconds before a token expires, another one is fetched."""
CLOSING_S = 1
"""The longest wait of a call for the server's goodbye, which stands behind all that nobody listens to any more."""
SERVICES_AT_ONCE = 20
CONFLICT = 409


def _ignore(_turn: Turn) -> None:
    pass


Problems = Sequence[tuple[tuple[str | int, ...], str]]
"""Places in what was sent, and what is wrong there."""


class ApiError(CommandFailed):
    """The server's refusal, in its own words."""

    def __init__(
        self,
        status: int,
        detail: str,
        turn: Turn | None = None,
        problems: Problems = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"HTTP {status}: {detail}")
        self.http_status = status
        self.detail = detail
        self.turn = turn
        """The turn that is in the way, if one is."""
        self.problems = problems
        self.retry_after = retry_after
        """Seconds after which the server may say something else; None if it named none."""


def pages(url: str, get: Callable[..., Any], path: str, key: str, **query: Any) -> Iterator[Any]:
    """Read a list page by page. Yield its items.

    Raises:
        CommandFailed: the pages have another form than the API's, or come to no end.
    """
    at = 0
    while True:
        page = get(path, **query)
        try:
            items, goes_on, following = [*page[key]], page.get("has_more"), page.get("continuation_token")
            if goes_on and not int(following) > at:
                raise ValueError("the list does not go on")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CommandFailed(f"{url} does not answer as this command expects: is it older?") from error
        yield from items
        if not goes_on:
            return
        at = query["continuation_token"] = int(following)


class Api:
    """One user's view of one organization. Every method raises CommandFailed: no connection, or a refusal."""

    def __init__(self, url: str, organization: str, token: Callable[[], str]) -> None:
        self.url = url
        self.base_url = f"{url}/v1/{organization}"
        self._token = token
        # A proxy of the environment is for other hosts than this one.
        self._http = httpx2.Client(base_url=self.base_url, timeout=TIMEOUT, trust_env=not _is_loopback(url))

    def get(self, path: str, **query: Any) -> Any:
        with self._request("GET", path, params=query) as response:
            return json.loads(response.read())

    def post(self, path: str) -> None:
        with self._request("POST", path):
            pass

    def send(self, method: str, path: str, body: Any, **query: Any) -> Any:
        """Send a body as JSON. Return the answer's, or None if it has none."""
        with self._request(method, path, params=query, json=body) as response:
            answer = response.read()
            return json.loads(answer) if answer else None

    def create(self, service_id: str, begun: TellBegun = _ignore, **fields: Any) -> Iterator[Event]:
        """Begin a conversation; the agent speaks first, unless `fields` give a message.

        `begun` is told the turn once the server has taken it.
        """
        query = {"response_format": "text"}
        return self._stream("POST", "/conversation/", begun, params=query, json={"service_id": service_id, **fields})

    def interact(
        self, conversation_id: str, text: str, begun: TellBegun = _ignore, kind: str = "user-message"
    ) -> Iterator[Event]:
        """Say something in a conversation. `begun` is told the turn once the server has taken it."""
        formats = {"request_format": "text", "response_format": "text"}
        parts = {"initial_message_type": (None, kind), "recorded_message": (None, text)}
        return self._stream("POST", f"/conversation/{conversation_id}/interact", begun, params=formats, files=parts)

    def follow(self, turn: Turn) -> Iterator[Event]:
        """Read the events of a turn from its beginning, also those still to come."""
        path = f"/conversation/{turn.conversation_id}/interaction/{turn.interaction_id}/stream"
        return self._stream("GET", path, _ignore)

    def _stream(self, method: str, path: str, begun: TellBegun, **request: Any) -> Iterator[Event]:
        with self._request(method, path, **request) as response:
            if (turn := _turn_of(response)) is not None:
                begun(turn)
            for line in response.iter_lines():
                yield json.loads(line)

    def list_services(self) -> list[dict[str, Any]]:
        """List every service that the user sees. Return them."""
        return list(pages(self.url, self.get, "/service/", "services", limit=SERVICES_AT_ONCE))

    def finish(self, conversation_id: str) -> None:
        self.post(f"/conversation/{conversation_id}/finish/")

    def list_unfinished(self, user_id: str, **narrow: Any) -> list[dict[str, Any]]:
        """List a user's unfinished conversations. Return them."""
        return self.get("/conversation/", user_id=user_id, is_finished=False, **narrow)["conversations"]

    def find_agent_name(self, agent_id: str, version: int | None) -> str | None:
        """Ask for the name of an agent, in a version or else its latest one. Returns None if it is refused."""
        wanted = "latest" if version is None else str(version)
        try:
            versions = self.get(f"/organization/agent/{agent_id}/version", version=wanted)["agent_versions"]
        except ApiError:
            return None
        return str(versions[0]["identity"]["name"]) if versions else None

    def is_finished(self, conversation_id: str) -> bool:
        """Ask if a conversation is over. Returns False also while its first turn runs."""
        return any(each["is_finished"] for each in self.get("/conversation/", id=conversation_id)["conversations"])

    def post_archive(self, path: str, body: bytes, **query: Any) -> Any:
        """Send an archive. Return the JSON of the answer."""
        kind = {"content-type": "application/gzip"}
        with self._request("POST", path, params=query, content=body, extra=kind) as response:
            return json.loads(response.read())

    @asynccontextmanager
    async def talk(self) -> AsyncGenerator[ClientConnection]:
        """Open a live conversation in which the agent speaks. Yield its connection."""
        address = f"{self.base_url.replace('http', 'ws', 1)}/conversation/converse_realtime?response_format=voice"
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
            raise CommandFailed(f"Cannot talk with {self.url}: {_reason(error)}.") from error
        async with connection:
            yield connection

    @contextmanager
    def _request(
        self, method: str, path: str, extra: dict[str, str] | None = None, **request: Any
    ) -> Generator[httpx2.Response]:
        headers = {"Authorization": f"Bearer {self._token()}", **(extra or {})}
        try:
            with self._http.stream(method, path, headers=headers, **request) as response:
                _raise_for_status(response)
                yield response
        except httpx2.HTTPError as error:
            raise _no_answer(self.url, error) from error
        except json.JSONDecodeError as error:
            raise CommandFailed(f"{self.url} does not answer as Tertulia does.") from error


def _unknown(_agent_id: str, _version: int | None) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user."""

    api: Api
    user_id: str
    find_agent_name: Callable[[str, int | None], str | None] = _unknown
    """Looks for the name of an agent, in a version or else its latest one; None if the caller may not know it."""


class KeySignIn:
    """Tokens of a user for an API key, asked of the server, each used until it is about to expire."""

    def __init__(self, url: str, organization: str, headers: dict[str, str]) -> None:
        self._server = url
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
            raise _no_answer(self._server, error) from error


def sign_in(url: str, organization: str, user_id: str, key_id: str, key: str) -> Session:
    """Sign a user in with an API key. Return the session."""
    headers = {"x-api-key": key, "x-api-key-id": key_id, "x-user-id": user_id}
    api = Api(url, organization, KeySignIn(url, organization, headers))
    return Session(api, user_id, api.find_agent_name)


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
    api = Api(_origin(url or DEFAULT_URL), organization, lambda: issue().token)
    return Session(api, user_id, partial(find_agent_name, settings, organization))


def connect_as_author(url: str | None, data: Path | None, organization: str, user_id: str | None) -> Session:
    """Sign in somebody who makes agents, the demo administrator if nobody is named. Return the session."""
    named = (
        data is not None or user_id is not None or not all(os.environ.get(f"AMIGO_{name}") for name in _KEY_SETTINGS)
    )
    return connect(url, data, organization, user_id, admin=named and user_id is None)


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


def _no_answer(url: str, error: httpx2.HTTPError) -> CommandFailed:
    """Say why a server gave no answer, and what to do about it. Returns the failure of the command."""
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return CommandFailed(f"There is no server at {url}: start one with `tertulia run`.")
    if isinstance(error, httpx2.TimeoutException):
        return CommandFailed(f"{url} has not answered in time: look at its log, then run the same command again.")
    return CommandFailed(f"The connection to {url} broke: run the same command again, it goes on where it was.")


def _reason(error: Exception) -> str:
    """Read what went wrong with a connection. Returns it in words."""
    return error.strerror or "there is no server" if isinstance(error, OSError) else str(error)


def _raise_for_status(response: httpx2.Response) -> None:
    if response.is_success:
        return
    text = response.read().decode(errors="replace")
    turn = _turn_of(response) if response.status_code == CONFLICT else None
    after = response.headers.get("retry-after", "")
    raise ApiError(
        response.status_code,
        _detail(text) or response.reason_phrase,
        turn,
        _problems(text),
        int(after) if after.isdecimal() else None,
    )


def _turn_of(response: httpx2.Response) -> Turn | None:
    """Read which turn a response is about. Returns None if it is about none."""
    ids = [response.headers.get(f"x-tertulia-{name}-id") for name in ("conversation", "interaction")]
    return Turn(ids[0], ids[1]) if ids[0] and ids[1] else None


def _problems(text: str) -> Problems:
    """Read the body of a refusal. Return the places in the body that was sent, with what is wrong there."""
    try:
        found = [(tuple(item["loc"]), str(item["msg"])) for item in json.loads(text)["detail"]]
    except (json.JSONDecodeError, KeyError, TypeError):
        return ()
    return [(place[1:], text) for place, text in found if place[:1] == ("body",)]


def _detail(text: str) -> str:
    """Read the body of a refusal. Return its reason on one line, or nothing if it is a page for browsers."""
    try:
        detail = json.loads(text)["detail"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return "" if text.lstrip().startswith("<") else " ".join(text.split())[:200]
    if isinstance(detail, list):
        problems = cast("list[dict[str, Any]]", detail)
        return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in problems)
    return str(detail)
