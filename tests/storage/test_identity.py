"""People as identity providers know them: each subject one user, each user one subject, each use once."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth import roles
from tertulia.errors import Conflict
from tertulia.ids import new_id
from tertulia.storage import identity as identities
from tertulia.storage import user as users
from tertulia.storage.database.units import Database
from tertulia.storage.organization import DEFAULT_PREFERENCES
from tertulia.storage.user import NewUser

pytestmark = pytest.mark.both_databases


async def test_of_many_uses_at_once_one_counts_until_it_has_ended(database: Database) -> None:
    now = clock.now()
    used, ended = new_id(), new_id()

    async def use(what: str, life: timedelta) -> bool:
        return await database.write(identities.use_once, "org", what, now + life)

    assert sorted(await asyncio.gather(*(use(used, timedelta(minutes=1)) for _ in range(6)))) == [False] * 5 + [True]
    assert await use(ended, -timedelta(seconds=1))
    await database.write(identities.purge_used_sign_ins)
    assert [await use(what, timedelta(minutes=1)) for what in (used, ended)] == [False, True]


def make_user(connection: Connection, role_id: str, org_id: str) -> str:
    new = NewUser(role_id, "A", "B", f"{new_id()}@example.com", DEFAULT_PREFERENCES)
    return users.insert_user(connection, org_id, new)


async def test_a_subject_is_one_user_and_a_user_one_subject(database: Database) -> None:
    org_id, other_org = new_id(), new_id()
    role_ids = [(await database.write(roles.insert_builtin, org))[roles.USER] for org in (org_id, other_org)]
    ada, eve = [await database.write(make_user, role_ids[0], org_id) for _ in range(2)]
    elsewhere = await database.write(make_user, role_ids[1], other_org)
    bind, find = (partial(database.write, identities.insert_identity), partial(database.read, _find))
    await bind(org_id, ada, "https://id.example", "1")
    await bind(other_org, elsewhere, "https://id.example", "1")
    await bind(org_id, ada, "https://other.example", "1")

    for user_id, subject in ((eve, "1"), (ada, "2")):
        with pytest.raises(Conflict):
            await bind(org_id, user_id, "https://id.example", subject)

    assert await find(org_id, "https://id.example", "1") == ada
    assert await find(other_org, "https://id.example", "1") == elsewhere
    assert await find(org_id, "https://id.example", "2") is None
    user = await database.read(users.get_user, org_id, ada)
    await database.write(users.delete_user, user)
    assert await find(org_id, "https://id.example", "1") is None
    await bind(org_id, eve, "https://id.example", "1")
    assert await find(org_id, "https://id.example", "1") == eve


def _find(connection: Connection, org_id: str, issuer: str, subject: str) -> str | None:
    return identities.find_identified_user(connection, org_id, issuer, subject)
