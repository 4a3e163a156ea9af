"""ID tokens: which are accepted, and every classic attack on them."""

import base64
import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from support.identity_provider import CLIENT_ID, Provider, SigningKey
from tertulia import clock
from tertulia.auth.id_tokens import LONGEST_LIFE, Expected, Identity, SignInRefused, UnknownKey, read_keys, verify

ISSUER = "https://id.example"
ADA = {"sub": "ada", "email": "Ada@Example.com", "email_verified": True, "groups": ["staff"], "name": "Ada King Test"}
EXPECTED = Expected(ISSUER, CLIENT_ID, "groups")
PROVIDERS = {algorithm: Provider(ISSUER, SigningKey.make(algorithm), ADA) for algorithm in ("RS256", "ES256", "EdDSA")}
PROVIDER = PROVIDERS["RS256"]
STRANGER = SigningKey.make("RS256")


def read(token: str, expected: Expected = EXPECTED, *keys: dict[str, Any], now: datetime | None = None) -> Identity:
    known = read_keys(json.dumps({"keys": keys or [each.key.jwk for each in PROVIDERS.values()]}).encode())
    return verify(token, known, expected, now or clock.now())


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", PROVIDERS)
def test_a_token_of_each_algorithm_describes_a_person(algorithm: str) -> None:
    identity = read(PROVIDERS[algorithm].id_token())

    assert (identity.subject, identity.email, identity.is_email_verified) == ("ada", "ada@example.com", True)
    assert (identity.first_name, identity.last_name, identity.groups) == ("Ada", "King Test", frozenset({"staff"}))


NOW = int(clock.now().timestamp())
"""The time at which the tokens below are read, however late it has become."""
THEN = datetime.fromtimestamp(NOW, UTC)
TIMES = {"iat": NOW, "exp": NOW + 300}

GOOD: dict[str, dict[str, Any]] = {
    "of a clock ahead": {"iat": NOW + 30},
    "of a clock behind": {"exp": NOW - 20},
    "times with fractions": {"iat": NOW - 0.5, "exp": NOW + 60.5},
    "for several clients, given to this one": {"aud": ["other", CLIENT_ID], "azp": CLIENT_ID},
    "for a list of this client": {"aud": [CLIENT_ID]},
    "claims of odd types": {"email": 5, "name": None, "groups": {"a": 1}, "email_verified": "true"},
    "one group": {"groups": "staff"},
}


@pytest.mark.parametrize("changes", GOOD.values(), ids=list(GOOD))
def test_a_good_token_is_accepted(changes: dict[str, Any]) -> None:
    identity = read(PROVIDER.id_token(**{**TIMES, **changes}), now=THEN)

    assert identity.subject == "ada"
    assert identity.is_email_verified is (changes.get("email_verified", True) is True)


BAD: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": ISSUER + "/"},
    "another audience": {"aud": "other"},
    "no audience": {"aud": []},
    "several clients, given to none": {"aud": [CLIENT_ID, "other"]},
    "given to another client": {"azp": "other"},
    "expired": {"exp": NOW - 120},
    "issued in the future": {"iat": NOW + 120},
    "not good yet": {"nbf": NOW + 120},
    "good for too long": {"exp": NOW + LONGEST_LIFE.total_seconds() + 60},
    "good for ever": {"exp": 1e300},
    "no end": {"exp": None},
    "no time of issue": {"iat": None},
    "an end that is a text": {"exp": "never"},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a long subject": {"sub": "x" * 256},
    "a subject with NUL": {"sub": "a\0"},
}


@pytest.mark.parametrize("changes", BAD.values(), ids=list(BAD))
def test_a_token_with_a_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SignInRefused):
        read(PROVIDER.id_token(**{**TIMES, **changes}), now=THEN)


@pytest.mark.parametrize("given", [None, "", "other"])
def test_the_nonce_has_to_be_that_of_the_sign_in(given: str | None) -> None:
    expected = replace(EXPECTED, nonce="mine")

    assert read(PROVIDER.id_token(nonce="mine"), expected).subject == "ada"
    with pytest.raises(SignInRefused, match="nonce"):
        read(PROVIDER.id_token(nonce=given), expected)


def forgeries() -> dict[str, str]:
    claims, key = PROVIDER.claims(), PROVIDER.key
    good = PROVIDER.id_token()
    head, body, signature = good.split(".")
    public = key.private.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    hmac_head = f"{part({'alg': 'HS256', 'kid': key.kid})}.{part(claims)}"
    digest = jwt.get_algorithm_by_name("HS256").sign(hmac_head.encode(), pem)
    return {
        "alg none": f"{part({'alg': 'none', 'kid': key.kid})}.{part(claims)}.",
        "HS256 with the public key": f"{hmac_head}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}",
        "another algorithm of the same key": jwt.encode(claims, key.private, "RS512", headers={"kid": key.kid}),
        "the algorithm of another key": PROVIDERS["ES256"].key.sign(claims, kid=key.kid),
        "a key of my own under its name": STRANGER.sign(claims, kid=key.kid),
        "a key of my own in the header": STRANGER.sign(claims, kid=key.kid, jwk=STRANGER.jwk),
        "a changed body": f"{head}.{part({**claims, 'sub': 'eve'})}.{signature}",
        "no signature": f"{head}.{body}.",
        "a part more": good + ".x",
        "no token": "x",
        "nothing": "",
        "a surrogate": "\ud800.\ud800.\ud800",
        "a long one": "x" * 60_000,
        "an unknown extension that must be understood": key.sign(claims, crit=["new"], new=1),
    }


@pytest.mark.parametrize("attack", forgeries())
def test_a_forged_token_is_refused(attack: str) -> None:
    with pytest.raises(SignInRefused):
        read(forgeries()[attack])


def test_an_unknown_key_is_told_apart_and_without_a_name_one_key_alone_is_taken() -> None:
    jwk = PROVIDER.key.jwk
    nameless = jwt.encode(PROVIDER.claims(), PROVIDER.key.private, "RS256")

    with pytest.raises(UnknownKey):
        read(STRANGER.sign(PROVIDER.claims()))
    assert read(nameless, EXPECTED, jwk, PROVIDERS["ES256"].key.jwk).subject == "ada"
    with pytest.raises(SignInRefused):
        read(nameless, EXPECTED, jwk, STRANGER.jwk)


def test_keys_that_are_no_good_are_ignored() -> None:
    weak = SigningKey("weak", "RS256", rsa.generate_private_key(65537, 1024))  # noqa: S505 - weak on purpose
    jwk = PROVIDER.key.jwk
    listed = [
        weak.jwk,
        {**jwk, "use": "enc"},
        {**jwk, "alg": "RS512"},
        {**jwk, "n": 5},
        {**jwk, "n": "AQAB"},
        {**jwk, "kty": ["RSA"]},
        {"kty": "oct", "k": "AAAA", "kid": "x"},
        {**PROVIDERS["ES256"].key.jwk, "crv": "P-384"},
        {**PROVIDERS["ES256"].key.jwk, "x": "AAAA"},
        {},
    ]
    assert read_keys(json.dumps({"keys": listed}).encode()) == ()
    for document in (b"", b"[]", b'{"keys": {}}', b'{"keys": [1]}', b"\xff"):
        with pytest.raises(ValueError):  # noqa: PT011 - any of them
            read_keys(document)


def test_a_fingerprint_is_the_same_however_a_token_is_written() -> None:
    token = PROVIDERS["ES256"].id_token()
    head, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other_s = (order - int.from_bytes(raw[32:])).to_bytes(32)
    twin = f"{head}.{base64.urlsafe_b64encode(raw[:32] + other_s).rstrip(b'=').decode()}"

    assert twin != token
    assert read(twin).fingerprint == read(token).fingerprint != read(PROVIDERS["ES256"].id_token()).fingerprint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("iss", "sub", "aud", "exp", "iat", "nbf", "azp", "nonce", "email", "email_verified", "groups", "name")
SIGNER = PROVIDERS["EdDSA"].key


@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3), JSON)
@settings(max_examples=40)
def test_a_token_of_any_claims_is_a_person_or_a_refusal(changes: dict[str, Any], kid: Any) -> None:
    claims = {**PROVIDERS["EdDSA"].claims(), **changes}
    payload = json.dumps(claims).encode()
    token = jwt.PyJWS().encode(payload, SIGNER.private, "EdDSA", {"kid": SIGNER.kid})
    head = part({"alg": "EdDSA", "kid": kid})

    with suppress(SignInRefused):
        identity = read(token)
        assert (identity.subject, identity.email == identity.email.lower()) == (claims["sub"], True)
    with pytest.raises(SignInRefused):
        read(f"{head}.{token.partition('.')[2]}")


@given(st.dictionaries(st.sampled_from(("kty", "crv", "alg", "use", "kid", "n", "e", "x", "y")), JSON))
@settings(max_examples=40)
def test_a_key_of_any_form_is_read_or_ignored(changes: dict[str, Any]) -> None:
    for provider in PROVIDERS.values():
        described = {**provider.key.jwk, **changes}
        assert len(read_keys(json.dumps({"keys": [described]}).encode())) <= 1


def test_what_a_person_is_called_is_made_of_what_there_is() -> None:
    def called(**claims: Any) -> tuple[str, str]:
        identity = read(PROVIDER.id_token(**{"name": None, **claims}))
        return identity.first_name, identity.last_name

    assert called(given_name="Ada", family_name="Test") == ("Ada", "Test")
    assert called(name="Ada") == ("Ada", "-")
    assert called() == ("Ada", "-")
    assert called(email=None) == ("-", "-")
    assert called(given_name="x" * 999, family_name="a\0b") == ("x" * 256, "ab")
    assert read(PROVIDER.id_token()).expires_at > clock.now() + timedelta(minutes=5)
