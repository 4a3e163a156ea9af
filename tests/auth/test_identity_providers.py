"""Clients of identity providers: what is asked for, how often, and answers that are no good."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from support.identity_provider import Provider, RunningProvider, SigningKey, settings_for
from tertulia.auth import identity_providers
from tertulia.auth.id_tokens import SignInRefused
from tertulia.auth.identity_providers import BETWEEN_KEYS_S, FRESH_S, MOST_BYTES, Client
from tertulia.errors import Unavailable
from tertulia.settings import IdentityProvider

CONFIGURATION = "/.well-known/openid-configuration"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningProvider]:
    provider = RunningProvider()
    yield provider
    provider.stop()


@pytest.fixture
def provider(running: RunningProvider) -> RunningProvider:
    running.person = {"sub": "ada"}
    running.faults.clear()
    running.asked.clear()
    return running


class Timer:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        self.s += 0.001
        return self.s


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
async def client(provider: RunningProvider, timer: Timer) -> AsyncIterator[Client]:
    client = Client(IdentityProvider(**provider.settings()), (), timer)
    yield client
    await client.aclose()


async def test_configuration_and_keys_are_asked_for_once_an_hour(
    client: Client, provider: Provider, timer: Timer
) -> None:
    for _ in range(3):
        assert (await client.read(provider.id_token())).subject == "ada"
    assert provider.asked == {CONFIGURATION: 1, "/keys": 1}

    timer.s += FRESH_S
    await client.read(provider.id_token())
    assert provider.asked == {CONFIGURATION: 2, "/keys": 2}


async def test_a_new_key_is_found_at_once_and_unknown_ones_are_looked_for_once_a_minute(
    client: Client, provider: Provider, timer: Timer
) -> None:
    await client.read(provider.id_token())
    provider.rotate()
    assert (await client.read(provider.id_token())).subject == "ada"

    for _ in range(3):
        with pytest.raises(SignInRefused):
            await client.read(SigningKey.make().sign(provider.claims()))
    assert provider.asked["/keys"] == 2

    provider.rotate()
    timer.s += BETWEEN_KEYS_S
    assert (await client.read(provider.id_token())).subject == "ada"
    assert provider.asked == {CONFIGURATION: 1, "/keys": 3}


OVERSIZED = "[" + " " * MOST_BYTES + "]"
FAULTS: dict[str, tuple[str, int, Any]] = {
    "an error": (CONFIGURATION, 500, {}),
    "no configuration": (CONFIGURATION, 404, {}),
    "no JSON": (CONFIGURATION, 200, "<html>"),
    "another form": (CONFIGURATION, 200, []),
    "an oversized configuration": (CONFIGURATION, 200, OVERSIZED),
    "a redirect": (CONFIGURATION, 302, "http://127.0.0.1:1/"),
    "another issuer": (CONFIGURATION, 200, Provider("https://other.example").configuration()),
    "keys without TLS": (CONFIGURATION, 200, {"jwks_uri": "http://id.example/keys"}),
    "a token endpoint without TLS": (CONFIGURATION, 200, {"token_endpoint": "http://id.example/token"}),
    "a script for a page": (CONFIGURATION, 200, {"authorization_endpoint": "javascript:alert(1)"}),
    "keys in a private network": (CONFIGURATION, 200, {"jwks_uri": "https://10.0.0.1/keys"}),
    "keys at another port of this machine": (CONFIGURATION, 200, {"jwks_uri": "http://127.0.0.1:1/keys"}),
    "oversized keys": ("/keys", 200, OVERSIZED),
    "keys of another form": ("/keys", 200, {"keys": 1}),
    "no keys": ("/keys", 500, {}),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_provider_that_does_not_answer_as_it_should_is_not_available(
    fault: str, client: Client, provider: Provider
) -> None:
    path, status, body = FAULTS[fault]
    if isinstance(body, dict) and path == CONFIGURATION and status == 200:
        body = {**provider.configuration(), **body}
    provider.faults[path] = status, body

    with pytest.raises(Unavailable):
        await client.read(provider.id_token())
    with pytest.raises(Unavailable):
        await client.authorization_url({})

    provider.faults.clear()
    assert (await client.read(provider.id_token())).subject == "ada"


async def test_a_provider_that_is_down_is_not_available(provider: Provider) -> None:
    client = Client(IdentityProvider(**provider.settings(issuer="http://127.0.0.1:1")))

    with pytest.raises(Unavailable):
        await client.read(provider.id_token())
    await client.aclose()


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"])
async def test_a_provider_that_hangs_is_waited_for_no_longer_than_the_bound(
    begins: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_providers, "PATIENCE_S", 0.2)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begins)
        with suppress(OSError):
            await reader.read(-1)  # until the client gives up
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = Client(IdentityProvider(**settings_for(f"http://127.0.0.1:{port}")))
        with pytest.raises(Unavailable):
            await client.authorization_url({})
        await client.aclose()


async def test_a_code_that_is_not_taken_is_refused_and_a_failure_is_not(client: Client, provider: Provider) -> None:
    with pytest.raises(SignInRefused, match="invalid_grant"):
        await client.trade("unknown", "verifier")
    for status, body in ((500, {}), (429, {}), (200, {}), (200, OVERSIZED), (302, "http://127.0.0.1:1/")):
        provider.faults["/token"] = status, body
        with pytest.raises(Unavailable):
            await client.trade("code", "verifier")
    provider.faults["/token"] = 400, {"error": "\n a token: eyJ"}
    with pytest.raises(SignInRefused, match="unknown"):
        await client.trade("code", "verifier")


WRONG: dict[str, dict[str, Any]] = {
    "an issuer without TLS": {"issuer": "http://id.example"},
    "an issuer with a query": {"issuer": "https://id.example/?a=b"},
    "an issuer with a user": {"issuer": "https://me@id.example/"},
    "an issuer that is no URL": {"issuer": "https://"},
    "a page without TLS": {"redirect_uri": "http://tertulia.example/ui/sign-in"},
    "another page": {"redirect_uri": "https://tertulia.example/elsewhere"},
    "a page with a fragment": {"redirect_uri": "https://tertulia.example/#/ui/sign-in"},
    "scopes without openid": {"scopes": ["email"]},
    "a scope of two": {"scopes": ["openid", "a b"]},
    "new users without a role": {"make_users": True},
    "an unknown name": {"colour": "red"},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_setting_is_refused(wrong: str) -> None:
    good = Provider("https://id.example").settings()

    assert IdentityProvider(**good).issuer == "https://id.example"
    with pytest.raises(ValueError, match=next(iter(WRONG[wrong]))):
        IdentityProvider(**{**good, **WRONG[wrong]})
