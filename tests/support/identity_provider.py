"""An identity provider on loopback: it speaks OpenID Connect, with keys that rotate, and can be made to fail."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from support.answering import Quiet

CLIENT_ID = "tertulia"
CLIENT_SECRET = "a secret: with 100%"
PAGE = "https://tertulia.example/ui/sign-in"


def settings_for(url: str, /, **changes: Any) -> dict[str, Any]:
    """The settings of a server whose people a provider signs in."""
    return {
        "name": "Acme",
        "issuer": url,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uri": PAGE,
        **changes,
    }


_MAKERS: dict[str, Any] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@dataclass
class SigningKey:
    """A key of the provider."""

    kid: str
    algorithm: str
    private: Any

    @classmethod
    def make(cls, algorithm: str = "ES256") -> "SigningKey":
        return cls(secrets.token_hex(4), algorithm, _MAKERS[algorithm]())

    @property
    def jwk(self) -> dict[str, Any]:
        """The public part, as providers show it."""
        made: dict[str, Any] = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        made.pop("key_ops", None)
        return {**made, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def sign(self, claims: dict[str, Any], **headers: Any) -> str:
        return jwt.encode(claims, self.private, self.algorithm, headers={"kid": self.kid, **headers})


@dataclass
class Provider:
    """A running provider. `person` is who signs in at its page; `faults` are other answers, by path.

    `page` is where it leads back to, if a server knows that address under another name.
    """

    url: str = ""
    key: SigningKey = field(default_factory=SigningKey.make)
    person: dict[str, Any] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    page: str = ""
    faults: dict[str, tuple[int, Any]] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    id_token_changes: dict[str, Any] = field(default_factory=dict)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of an ID token for the person; a change to None leaves one out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "jti": secrets.token_hex(8)}
        return {name: value for name, value in {**claims, **self.person, **changes}.items() if value is not None}

    def id_token(self, **changes: Any) -> str:
        return self.key.sign(self.claims(**changes))

    def rotate(self) -> None:
        self.key = SigningKey.make(self.key.algorithm)

    def settings(self, **changes: Any) -> dict[str, Any]:
        return settings_for(self.url, **changes)

    # --- Its answers -------------------------------------------------------------------------------------------------

    def answer(self, path: str, query: dict[str, str], form: dict[str, str], basic: str) -> tuple[int, Any]:
        self.asked[path] += 1
        if path in self.faults:
            return self.faults[path]
        match path:
            case "/.well-known/openid-configuration":
                return 200, self.configuration()
            case "/keys":
                return 200, {"keys": [self.key.jwk, {"kty": "oct", "k": "AAAA"}, {"kty": "new"}]}
            case "/authorize":
                return self._authorize(query)
            case "/token":
                return self._trade(form, basic)
            case _:
                return 404, {}

    def configuration(self, **changes: Any) -> dict[str, Any]:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in places.items()}, **changes}

    def _authorize(self, query: dict[str, str]) -> tuple[int, Any]:
        wanted = {"client_id": CLIENT_ID, "response_type": "code", "code_challenge_method": "S256"}
        if {name: query.get(name) for name in wanted} != wanted or "openid" not in query["scope"].split():
            return 400, {"error": "invalid_request"}
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return 302, f"{self.page or query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def _trade(self, form: dict[str, str], basic: str) -> tuple[int, Any]:
        who = tuple(map(unquote_plus, base64.b64decode(basic.removeprefix("Basic ")).decode().split(":")))
        if who != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        begun = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if begun is None or begun["code_challenge"] != proof or begun["redirect_uri"] != form.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        token = self.id_token(**{"nonce": begun["nonce"], **self.id_token_changes})
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token}


class RunningProvider(Provider):
    """A provider on a port of its own, until `stop`."""

    def __init__(self) -> None:
        super().__init__()
        provider = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("content-length", 0))
                query, form = (
                    {name: values[0] for name, values in parse_qs(text).items()}
                    for text in (parts.query, self.rfile.read(length).decode())
                )
                status, body = provider.answer(parts.path, query, form, self.headers.get("authorization", ""))
                content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", body)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_POST(self) -> None:
                self.do_GET()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
