"""Canaille, an identity provider that companies run, on loopback: its discovery, keys, pages, codes and proofs.

It has one client, this server, and one person, who is signed in at its page and has consented.
"""

import base64
import hashlib
import os
import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import httpx2
import pytest

from support.identity_provider import CLIENT_ID, PAGE, settings_for

CLIENT_SECRET = "JqVsGk3w"
"""Letters and digits: Authlib, of which the provider is made, takes secrets as they are, not as RFC 6749 has them."""

SCOPES = ["openid", "email", "profile", "groups"]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        pass


class RealProvider:
    """A running provider with a person; `groups` are theirs."""

    def __init__(self, app: Any, url: str) -> None:
        from canaille.app import models  # noqa: PLC0415 - heavy, and of few tests
        from canaille.backends import Backend  # noqa: PLC0415 - heavy, and of few tests

        self.url = url
        self._app, self._backend = app, Backend.instance
        self._models = made = cast("Any", models)  # its classes are there as soon as there is an application
        with app.app_context():
            self._person = made.User(user_name="ada", given_name="Ada", family_name="Test", emails=["ada@acme.example"])
            self._backend.save(self._person)
            client = made.Client(
                client_id=CLIENT_ID,
                client_secret=CLIENT_SECRET,
                client_name="Tertulia",
                redirect_uris=[PAGE],
                grant_types=["authorization_code"],
                response_types=["code"],
                scope=SCOPES,
                token_endpoint_auth_method="client_secret_basic",
                id_token_signed_response_alg="RS256",
            )
            self._backend.save(client)
            client.audience = [client]
            self._backend.save(client)
            now = datetime.now(UTC)
            self._backend.save(
                made.Consent(consent_id="1", client=client, subject=self._person, scope=SCOPES, issue_date=now)
            )

    def join(self, *names: str) -> None:
        """Have the person be in these groups, and no others."""
        with self._app.app_context():
            for group in self._backend.query(self._models.Group):
                self._backend.delete(group)
            for name in names:
                self._backend.save(self._models.Group(display_name=name, members=[self._person]))

    def session(self) -> Any:
        """The person's session at the page."""
        from canaille.app.session import UserSession  # noqa: PLC0415 - heavy, and of few tests

        return UserSession(user=self._person, last_login_datetime=datetime.now(UTC))

    def verify_addresses(self, patch: pytest.MonkeyPatch) -> None:
        """Have it say that addresses are verified: as it is, it leaves the claim out, or has a text in it."""
        from canaille.oidc import provider  # noqa: PLC0415 - heavy, and of few tests

        claims_of: Any = provider.generate_user_claims

        def with_verified(*of: Any) -> dict[str, Any]:
            return {**claims_of(*of), "email_verified": True}

        patch.setattr(provider, "generate_user_claims", with_verified)

    def id_token(self) -> str:
        """Take an ID token as a program of the client does: by a code of its own."""
        verifier = secrets.token_urlsafe(32)
        digest = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "client_id": CLIENT_ID,
            "redirect_uri": PAGE,
            "response_type": "code",
            "scope": " ".join(SCOPES),
            "nonce": secrets.token_urlsafe(8),
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        led = httpx2.get(f"{self.url}/oauth/authorize", params=asked, trust_env=False)
        code = parse_qs(urlsplit(led.headers["location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": PAGE, "code_verifier": verifier}
        who = (CLIENT_ID, CLIENT_SECRET)
        answer = httpx2.post(f"{self.url}/oauth/token", data=form, auth=who, trust_env=False)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id_token"])

    def settings(self, **changes: Any) -> dict[str, Any]:
        return settings_for(self.url, client_secret=CLIENT_SECRET, scopes=SCOPES, **changes)


@contextmanager
def running(patch: pytest.MonkeyPatch) -> Generator[RealProvider]:
    """Run the provider while the block runs."""
    patch.setitem(os.environ, "AUTHLIB_INSECURE_TRANSPORT", "1")  # it is on loopback
    from canaille import create_app  # noqa: PLC0415 - heavy, and of few tests
    from flask import g  # noqa: PLC0415 - heavy, and of few tests
    from joserfc.jwk import JWKRegistry  # noqa: PLC0415 - heavy, and of few tests

    server = WSGIServer(("127.0.0.1", 0), _Quiet)
    key = JWKRegistry.generate_key("RSA", 2048)
    key.ensure_kid()
    app = create_app(
        config={
            "TESTING": True,
            "ENV_FILE": None,
            "SECRET_KEY": "of a test",
            "PREFERRED_URL_SCHEME": "http",
            "SERVER_NAME": f"127.0.0.1:{server.server_port}",
            "CANAILLE": {"DATABASE": "memory", "JAVASCRIPT": False, "LOGGING": {"version": 1}},
            "CANAILLE_OIDC": {"ACTIVE_JWKS": [key.as_dict(private=True)]},
        }
    )
    people: list[RealProvider] = []

    def sign_in() -> None:
        if people:
            g.session = people[0].session()

    app.before_request(sign_in)
    people.append(RealProvider(app, f"http://127.0.0.1:{server.server_port}"))
    server.set_app(app)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield people[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
