"""API keys, as they are stored and checked."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth import api_keys, roles
from tertulia.auth.actor import Actors
from tertulia.auth.api_keys import IssuedKey, check_sign_in
from tertulia.auth.ranks import Ranks
from tertulia.auth.tokens import Claims
from tertulia.errors import Unauthorized
from tertulia.ids import new_id
from tertulia.storage import organization, tables, user
from tertulia.storage.database.units import Database
from tertulia.storage.user import NewUser
from tertulia.storage.versioned import Author

pytestmark = pytest.mark.both_databases

Demo = tuple[str, dict[str, str], dict[str, IssuedKey]]


def make(connection: Connection) -> Demo:
    """An organization, its users and its keys, by the name of their role."""
    org_id = new_id()
    organization.insert_organization(connection, org_id, "Demo")
    role_ids = roles.insert_builtin(connection, org_id)
    users = {
        name: user.insert_user(
            connection,
            org_id,
            NewUser(role_id, "Demo", name, f"{name}@example.com", organization.DEFAULT_PREFERENCES),
        )
        for name, role_id in role_ids.items()
    }
    creator = Author(org_id, users[roles.SUPER_ADMINISTRATOR])
    keys = {name: api_keys.issue(connection, org_id, role_id, creator) for name, role_id in role_ids.items()}
    keys["expired"] = api_keys.issue(
        connection, org_id, role_ids[roles.SUPER_ADMINISTRATOR], creator, life=timedelta(seconds=-1)
    )
    return org_id, users, keys


@pytest.fixture
async def demo(database: Database) -> Demo:
    return await database.write(make)


async def test_a_key_signs_in_as_users_of_lower_rank(database: Database, demo: Demo) -> None:
    org_id, users, keys = demo
    key = keys[roles.ADMINISTRATOR]

    await database.read(check_sign_in, Ranks(), org_id, key.api_key_id, key.api_key, users[roles.USER])


async def test_a_key_does_not_sign_in_as_users_of_its_own_rank_or_above(database: Database, demo: Demo) -> None:
    org_id, users, keys = demo
    key = keys[roles.ADMINISTRATOR]

    for name in (roles.ADMINISTRATOR, roles.SUPER_ADMINISTRATOR):
        with pytest.raises(Unauthorized):
            await database.read(check_sign_in, Ranks(), org_id, key.api_key_id, key.api_key, users[name])


async def test_whatever_is_wrong_is_refused_with_the_same_words(database: Database, demo: Demo) -> None:
    org_id, users, keys = demo
    key, expired, person = keys[roles.SUPER_ADMINISTRATOR], keys["expired"], users[roles.USER]
    attempts = [
        (org_id, key.api_key_id, key.api_key[:-1], person),
        (org_id, key.api_key_id, "", person),
        (org_id, key.api_key_id, "schlüssel", person),
        (org_id, "unknown", key.api_key, person),
        (org_id, "unknown", "", person),
        (org_id, expired.api_key_id, expired.api_key, person),
        (org_id, key.api_key_id, key.api_key, "nobody"),
        ("elsewhere", key.api_key_id, key.api_key, person),
    ]

    texts: set[str] = set()
    for attempt in attempts:
        with pytest.raises(Unauthorized) as refused:
            await database.read(check_sign_in, Ranks(), *attempt)
        texts.add(refused.value.detail)

    assert len(texts) == 1


async def test_the_key_itself_is_not_stored(database: Database, demo: Demo) -> None:
    _, _, keys = demo
    key = keys[roles.USER]

    stored = await database.read(lambda connection: connection.execute(sa.select(tables.api_keys)).all())

    assert key.api_key_id in str(stored)
    assert key.api_key not in str(stored)
    assert len(key.api_key) >= 43  # 256 bits in base 64


@pytest.mark.parametrize("changed", ["above", "below"])
async def test_a_key_whose_role_outranks_its_user_no_more_is_refused_although_it_was_known(
    database: Database, demo: Demo, changed: str
) -> None:
    org_id, users, keys = demo
    key, actors = keys[roles.ADMINISTRATOR], Actors()
    attempt = (actors.ranks, org_id, key.api_key_id, key.api_key, users[roles.USER])
    claims = Claims(org_id, users[roles.USER], clock.now() + timedelta(hours=1), key.api_key_id)
    for _ in range(2):
        await database.read(check_sign_in, *attempt)
        await database.read(actors.load, claims)

    taken, given = (roles.ADMINISTRATOR, roles.USER) if changed == "above" else (roles.USER, roles.SUPER_ADMINISTRATOR)
    await database.write(_grant_as, org_id, taken, given)

    with pytest.raises(Unauthorized):
        await database.read(check_sign_in, *attempt)
    with pytest.raises(Unauthorized):
        await database.read(actors.load, claims)


def _grant_as(connection: Connection, org_id: str, name: str, other: str) -> None:
    """Have a role grant what another one does."""
    of = tables.roles.c.org_id == org_id
    found = connection.execute(sa.select(tables.roles.c.permission_grants).where(of, tables.roles.c.name == other))
    changed = sa.update(tables.roles).where(of, tables.roles.c.name == name)
    connection.execute(changed.values(permission_grants=found.scalar_one()))
