"""Bearer tokens and the keys that sign them."""

import base64
from datetime import timedelta
from typing import Any

import jwt
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth import tokens as module
from tertulia.auth.secrets import SecretBox
from tertulia.auth.tokens import LIFETIME, KeyInUse, Tokens, add_signing_key, ensure_signing_key
from tertulia.errors import Unauthorized
from tertulia.storage.database.units import Database
from tertulia.storage.tables import signing_keys

pytestmark = pytest.mark.both_databases

BOX = SecretBox("k" * 32)


def start_over(connection: Connection) -> None:
    connection.execute(sa.delete(signing_keys))
    ensure_signing_key(connection, BOX)


def age_keys(connection: Connection, by: timedelta) -> None:
    for kid, created_at in connection.execute(sa.select(signing_keys.c.kid, signing_keys.c.created_at)).all():
        connection.execute(sa.update(signing_keys).where(signing_keys.c.kid == kid).values(created_at=created_at - by))


def count_keys(connection: Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(signing_keys)).scalar_one()


@pytest.fixture(autouse=True)
async def _one_key(database: Database) -> None:
    await database.write(start_over)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BETWEEN_RELOADS_S", 0)
    monkeypatch.setattr(module, "FRESH_S", 0)


async def test_a_token_says_who_it_is_for_and_ends_in_an_hour(database: Database) -> None:
    tokens = Tokens(database, BOX)

    token, expires_at = await tokens.issue("demo", "u1")

    claims = await tokens.verify(token)
    assert (claims.org_id, claims.user_id, claims.expires_at) == ("demo", "u1", expires_at)
    assert timedelta(minutes=59) < expires_at - clock.now() <= timedelta(hours=1)
    assert await tokens.verify(token) is claims  # remembered


async def test_a_token_is_one_that_any_reader_of_json_web_tokens_verifies(database: Database) -> None:
    tokens = Tokens(database, BOX)
    ends_at = clock.now() + timedelta(minutes=5)

    token, expires_at = await tokens.issue("demo", "u1", KeyInUse("k1", ends_at))

    key = next(iter(tokens._keys.values()))
    claims = jwt.decode(token, key.secret, ["HS256"])
    assert claims == {"sub": "u1", "org": "demo", "iat": claims["iat"], "key": "k1", "exp": int(ends_at.timestamp())}
    assert int(expires_at.timestamp()) == claims["exp"]
    assert token == jwt.encode(claims, key.secret, "HS256", headers={"kid": key.kid})


async def test_the_first_key_is_made_once(database: Database) -> None:
    await database.write(ensure_signing_key, BOX)

    assert await database.read(count_keys) == 1


async def test_another_process_accepts_the_token(database: Database) -> None:
    token, _ = await Tokens(database, BOX).issue("demo", "u1")

    assert (await Tokens(database, BOX).verify(token)).user_id == "u1"


async def test_after_a_rotation_the_new_key_signs_and_the_old_tokens_hold(database: Database, no_waiting: None) -> None:
    tokens = Tokens(database, BOX)
    old, _ = await tokens.issue("demo", "u1")
    await database.write(add_signing_key, BOX)

    new, _ = await tokens.issue("demo", "u1")

    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    assert (await tokens.verify(old)).user_id == "u1"
    assert (await tokens.verify(new)).user_id == "u1"


async def test_a_key_that_was_added_a_moment_ago_is_found(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(database, BOX)
    await tokens.issue("demo", "u1")
    await database.write(add_signing_key, BOX)
    token, _ = await Tokens(database, BOX).issue("demo", "u1")
    monkeypatch.setattr(module, "BETWEEN_RELOADS_S", 0)

    assert (await tokens.verify(token)).user_id == "u1"


async def test_tokens_with_made_up_keys_do_not_make_the_database_work(database: Database) -> None:
    class Counting:
        reads = 0

        async def read(self, *args: Any) -> Any:
            self.reads += 1
            return await database.read(*args)

    counting: Any = Counting()
    tokens = Tokens(counting, BOX)

    for number in range(20):
        forged = jwt.encode({"sub": "u1", "org": "demo"}, "x" * 32, "HS256", headers={"kid": str(number)})
        with pytest.raises(Unauthorized):
            await tokens.verify(forged)

    assert counting.reads <= 2


async def test_an_old_key_is_of_no_use_once_its_last_token_has_expired(database: Database, no_waiting: None) -> None:
    tokens = Tokens(database, BOX)
    token, _ = await tokens.issue("demo", "u1")
    await database.write(add_signing_key, BOX)
    await database.write(age_keys, LIFETIME + timedelta(minutes=2))

    with pytest.raises(Unauthorized, match="expired"):
        await tokens.verify(token)


async def test_a_key_that_was_removed_verifies_nothing(database: Database, no_waiting: None) -> None:
    tokens = Tokens(database, BOX)
    token, _ = await tokens.issue("demo", "u1")
    await tokens.verify(token)
    await database.write(start_over)

    with pytest.raises(Unauthorized):
        await tokens.verify(token)


async def test_an_expired_token_is_refused_even_if_it_is_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(database, BOX)
    token, expires_at = await tokens.issue("demo", "u1")
    await tokens.verify(token)
    monkeypatch.setattr(clock, "now", lambda: expires_at)

    with pytest.raises(Unauthorized, match="expired"):
        await tokens.verify(token)


async def test_an_expired_token_that_is_seen_first_now_is_told_so_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, now = Tokens(database, BOX), clock.now()
    with monkeypatch.context() as then:
        then.setattr(clock, "now", lambda: now - 2 * LIFETIME)
        token, _ = await tokens.issue("demo", "u1")

    with pytest.raises(Unauthorized, match="expired"):
        await tokens.verify(token)


async def test_a_token_whose_head_is_nested_without_end_is_refused(database: Database) -> None:
    head = base64.urlsafe_b64encode(b'{"x":' + b"[" * 5000).decode().rstrip("=")

    with pytest.raises(Unauthorized):
        await Tokens(database, BOX).verify(f"{head}.a.b")


@pytest.mark.parametrize("jump", [timedelta(minutes=59), timedelta(days=1)])
async def test_a_token_holds_when_the_clock_is_set_back(
    database: Database, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    now = clock.now
    with monkeypatch.context() as ahead:
        ahead.setattr(clock, "now", lambda: now() + jump)
        await database.write(start_over)
        token, _ = await Tokens(database, BOX).issue("demo", "me")

    claims = await Tokens(database, BOX).verify(token)

    assert (claims.org_id, claims.user_id) == ("demo", "me")


async def test_forged_tokens_are_refused(database: Database) -> None:
    tokens = Tokens(database, BOX)
    token, _ = await tokens.issue("demo", "u1")
    kid = jwt.get_unverified_header(token)["kid"]
    claims = jwt.decode(token, options={"verify_signature": False})
    head, body, signature = token.split(".")
    forgeries = [
        "",
        "nonsense",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[::-1]}",
        jwt.encode(claims, "x" * 32, "HS256", headers={"kid": kid}),
        jwt.encode(claims, "x" * 32, "HS256"),
        jwt.encode(claims, "", "none", headers={"kid": kid}),
    ]

    for forgery in forgeries:
        with pytest.raises(Unauthorized):
            await tokens.verify(forgery)


async def test_no_more_than_so_many_tokens_are_remembered(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    tokens = Tokens(database, BOX)
    first, *others = [(await tokens.issue("demo", f"u{number}"))[0] for number in range(3)]
    claims = await tokens.verify(first)

    for token in others:
        await tokens.verify(token)

    assert await tokens.verify(first) == claims
    assert await tokens.verify(first) is not claims
