"""The places in which a request may show its token."""

import base64

import pytest

from tertulia.auth.credentials import Credentials, read


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"authorization": "Bearer abc"}, Credentials("abc")),
        ({"authorization": "bearer  abc "}, Credentials("abc")),
        ({"authorization": "Bearer abc", "x-org-id": "demo"}, Credentials("abc", issuer="demo")),
        ({"authorization": basic("demo_u1:abc")}, Credentials("abc", "demo_u1")),
        ({"authorization": basic("demo_u1")}, Credentials("", "demo_u1")),
        ({"authorization": "Basic ???"}, Credentials("", "")),
        ({"authorization": "Digest abc"}, Credentials("")),
        ({"sec-websocket-protocol": "json, bearer.authorization.amigo.ai.abc"}, Credentials("abc")),
        ({"sec-websocket-protocol": "json"}, None),
        ({"authorization": "Bearer a", "sec-websocket-protocol": "bearer.authorization.amigo.ai.b"}, Credentials("a")),
    ],
)
def test_credentials_are_read_from_the_headers(headers: dict[str, str], expected: Credentials | None) -> None:
    assert read(headers) == expected
