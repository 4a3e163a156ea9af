"""Roles: made, changed and given by those who outrank them; and grants that end."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from operations import ROLE, TEMPORARY_GRANT
from support import samples
from support.server import Server
from support.targets import invite, make_role, write
from tertulia import clock
from tertulia.auth import roles
from tertulia.storage import role
from tertulia.storage.tables import roles as roles_table
from tertulia.storage.tables import temporary_grants, users

GET_AGENT = {"permission_name": "Organization:GetAgent", "conditions": {}}
INVOKE = {"permission_name": "Tool:InvokeTool", "conditions": {"org_id": {"type": "Equals", "value": "{self_org_id}"}}}
DELETE_ORGANIZATION = {"permission_name": "Organization:DeleteOrganization", "conditions": {}}


def listed(client: httpx2.Client, **query: Any) -> dict[str, dict[str, Any]]:
    found = client.get("/role/", params={"return_permission_grants": True, **query}).raise_for_status()
    return {role["name"]: role for role in found.json()["roles"]}


def assign(client: httpx2.Client, name: str, user_id: str) -> httpx2.Response:
    return client.post(f"/role/{name}/assign", json={"user_id": user_id})


def agents_of(client: httpx2.Client) -> list[Any]:
    return client.get("/organization/agent").raise_for_status().json()["agents"]


@pytest.fixture
def person(tertulia: Server, as_admin: httpx2.Client) -> tuple[str, httpx2.Client]:
    """A new user with the lowest role, and a client of theirs."""
    user_id = invite(as_admin)
    return user_id, tertulia.client(tertulia.sign_in(user_id))


# --- Roles -----------------------------------------------------------------------------------------------------------


def test_an_organization_begins_with_four_roles_lowest_first(as_super: httpx2.Client) -> None:
    found = listed(as_super, name=[role.name for role in roles.BUILTIN])

    assert list(found) == [role.name for role in roles.BUILTIN]
    assert all(role["permission_grants"] for role in found.values())
    assert as_super.get("/role/").json()["roles"][0]["permission_grants"] == []


def test_a_role_comes_back_as_it_was_made(as_admin: httpx2.Client) -> None:
    conditions = {
        "org_id": {"type": "Equals", "value": "demo"},
        "conversation_user_id": {"type": "In", "values": ["{self_user_id}", "x"]},
        "message_type": {"type": "NotEquals", "value": "external-event"},
        "conversations_visible_to_admins": {"type": "Equals", "value": True},
    }
    grant = {"permission_name": "Conversation:GetMessage", "conditions": conditions}
    name = make_role(as_admin, grant)

    assert listed(as_admin, name=name)[name]["permission_grants"] == [grant]


@pytest.mark.parametrize(
    ("grant", "place"),
    [
        ({"permission_name": "Tool:Fly", "conditions": {}}, ["permission_name"]),
        ({**INVOKE, "conditions": {"agent_id": {"type": "Equals", "value": "x"}}}, ["conditions", "agent_id"]),
        ({**INVOKE, "conditions": {"tool_id": {"type": "Equals", "value": 1}}}, ["conditions", "tool_id"]),
        ({**INVOKE, "conditions": {"tool_id": {"type": "In", "values": ["x", None]}}}, ["conditions", "tool_id"]),
        ({**INVOKE, "conditions": {"tool_id": {"type": "Like", "value": "x"}}}, ["conditions", "tool_id"]),
    ],
)
def test_a_grant_that_would_never_hold_is_refused(as_admin: httpx2.Client, grant: Any, place: list[str]) -> None:
    answer = as_admin.post("/role/", json={**ROLE, "role_name": samples.a_name(), "permission_grants": [INVOKE, grant]})

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:5] == ["body", "permission_grants", 1, *place]


@pytest.mark.parametrize("name", ["", "   ", "a/b", "..", "temporary_permission_grant", "a\u0007b", "x" * 257])
def test_a_name_that_no_path_can_have_is_refused(as_admin: httpx2.Client, name: str) -> None:
    assert as_admin.post("/role/", json={**ROLE, "role_name": name}).status_code == 422


def test_of_several_who_make_a_role_of_one_name_at_once_one_does(as_admin: httpx2.Client) -> None:
    body = {**ROLE, "role_name": samples.a_name()}

    with ThreadPoolExecutor(6) as pool:
        answers = [one.status_code for one in pool.map(lambda _: as_admin.post("/role/", json=body), range(6))]

    assert sorted(answers) == [201, *[409] * 5]


def test_another_description_keeps_a_role_and_other_grants_replace_it_for_all_who_have_it(
    as_admin: httpx2.Client, person: tuple[str, httpx2.Client]
) -> None:
    user_id, client = person
    name = make_role(as_admin, INVOKE)
    first = assign(as_admin, name, user_id).json()["role_id"]
    assert agents_of(client) == []

    described = as_admin.post(f"/role/{name}", json={"description": "Another."}).json()["role_id"]
    same = as_admin.post(f"/role/{name}", json={"permission_grants": [INVOKE]}).json()["role_id"]
    replaced = as_admin.post(f"/role/{name}", json={"permission_grants": [GET_AGENT]}).json()["role_id"]

    assert (described, same) == (first, first) != (replaced, replaced)
    assert [(role["id"], role["description"]) for role in listed(as_admin, name=name).values()] == [
        (replaced, "Another.")
    ]
    assert listed(as_admin, id=first) == {}
    assert as_admin.get("/user/", params={"user_id": user_id}).json()["users"][0]["role"] == replaced
    assert agents_of(client) != []


def test_a_replaced_role_is_gone_after_a_day(tertulia: Server, as_admin: httpx2.Client) -> None:
    name = make_role(as_admin, INVOKE)
    former = listed(as_admin, name=name)[name]["id"]
    as_admin.post(f"/role/{name}", json={"permission_grants": []}).raise_for_status()
    past = clock.now() - timedelta(seconds=1)
    found: list[str] = []

    def purge(connection: sa.Connection) -> None:
        connection.execute(sa.update(roles_table).where(roles_table.c.id == former).values(expires_at=past))
        role.purge_roles(connection)
        found.extend(connection.execute(sa.select(roles_table.c.id)).scalars())

    write(tertulia, purge)

    assert former not in found
    assert listed(as_admin, name=name)[name]["id"] in found


def test_what_an_installation_brings_along_leaves_a_changed_role_as_it_is(
    tertulia: Server, as_admin: httpx2.Client
) -> None:
    before = listed(as_admin, name=roles.USER)[roles.USER]
    changed = as_admin.post(f"/role/{roles.USER}", json={"description": "Ours."}).json()["role_id"]

    def bring_up_to_date(connection: sa.Connection) -> None:
        roles.insert_builtin(connection, "demo")

    write(tertulia, bring_up_to_date)

    assert listed(as_admin, name=roles.USER)[roles.USER] == {**before, "id": changed, "description": "Ours."}


@pytest.mark.both_databases
def test_the_largest_role_that_can_be_is_asked_by_in_lists(
    tertulia: Server, as_super: httpx2.Client, person: tuple[str, httpx2.Client]
) -> None:
    """Every database takes the statement; one more grant, or value, is refused."""
    grants = [{**GET_AGENT, "conditions": {"agent_id": {"type": "In", "values": ["x"] * 50}}} for _ in range(100)]
    name = make_role(as_super, *grants)
    body = {**ROLE, "role_name": samples.a_name(), "permission_grants": grants}
    for more in ({"permission_name": "Tool:InvokeTool", "conditions": grants[0]["conditions"]}, GET_AGENT):
        assert as_super.post("/role/", json={**body, "permission_grants": [*grants, more]}).status_code == 422

    assert assign(as_super, name, person[0]).status_code == 200
    temporary: Any = {**GET_AGENT, "conditions": {"agent_id": {"type": "In", "values": ["y"] * 100}}}
    assert give(as_super, person[0], permission_grant=temporary).status_code == 201
    temporary["conditions"]["agent_id"]["values"].append("z")
    assert give(as_super, person[0], permission_grant=temporary).status_code == 422
    assert agents_of(person[1]) == []


# --- Rank ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [roles.ADMINISTRATOR, roles.AMIGO_ADMINISTRATOR, roles.SUPER_ADMINISTRATOR])
def test_a_role_that_one_does_not_outrank_is_neither_given_nor_changed(
    as_admin: httpx2.Client, person: tuple[str, httpx2.Client], name: str
) -> None:
    assert assign(as_admin, name, person[0]).status_code == 403
    assert as_admin.post(f"/role/{name}", json={"permission_grants": []}).status_code == 403
    assert as_admin.post(f"/role/{name}", json={"description": "X"}).status_code == 403


def test_nobody_gives_themselves_more(tertulia: Server, as_admin: httpx2.Client) -> None:
    """Neither by a role that has more, nor by adding to a role, nor by their equals."""
    name = make_role(as_admin, DELETE_ORGANIZATION)
    plain = make_role(as_admin, INVOKE)

    assert assign(as_admin, name, tertulia.demo.admin_user_id).status_code == 403
    added = as_admin.post(f"/role/{plain}", json={"permission_grants": [INVOKE, DELETE_ORGANIZATION]})
    assert (added.status_code, listed(as_admin, name=plain)[plain]["permission_grants"]) == (403, [INVOKE])
    assert assign(as_admin, roles.USER, tertulia.demo.super_user_id).status_code == 403


def test_a_grant_for_other_organizations_counts_when_roles_are_compared(
    as_admin: httpx2.Client, person: tuple[str, httpx2.Client]
) -> None:
    """Else an administrator would make organizations by a role of their own making."""
    for condition in ({"type": "NotEquals", "value": "{self_org_id}"}, {"type": "In", "values": ["elsewhere"]}):
        grant = {"permission_name": "Organization:CreateOrganization", "conditions": {"org_id": condition}}
        assert assign(as_admin, make_role(as_admin, grant), person[0]).status_code == 403


def test_a_super_administrator_makes_administrators(as_super: httpx2.Client, person: tuple[str, httpx2.Client]) -> None:
    assert assign(as_super, roles.ADMINISTRATOR, person[0]).status_code == 200
    assert agents_of(person[1]) != []
    assert assign(as_super, roles.USER, person[0]).status_code == 200
    assert agents_of(person[1]) == []


def test_a_grant_without_a_condition_on_the_organization_is_one_of_the_organization(
    as_admin: httpx2.Client, person: tuple[str, httpx2.Client]
) -> None:
    """Written with the organization's name, the template or nothing, it is the same power."""
    grants = [{**GET_AGENT, "conditions": {"org_id": condition}} for condition in [{"type": "Equals", "value": "demo"}]]
    for name in (make_role(as_admin, GET_AGENT), make_role(as_admin, *grants)):
        assert assign(as_admin, name, person[0]).status_code == 200
        assert agents_of(person[1]) != []


@pytest.mark.parametrize("user_id", ["", "nobody", "0" * 24, "x" * 5000])
def test_a_role_is_given_to_nobody_who_is_not_there(as_admin: httpx2.Client, user_id: str) -> None:
    assert assign(as_admin, roles.USER, user_id).status_code == 404


def test_whoever_gets_a_role_while_it_is_replaced_has_the_new_one(as_admin: httpx2.Client) -> None:
    name = make_role(as_admin, INVOKE)
    people = [invite(as_admin) for _ in range(6)]

    with ThreadPoolExecutor(7) as pool:
        given = [pool.submit(assign, as_admin, name, user_id) for user_id in people]
        changed = pool.submit(as_admin.post, f"/role/{name}", json={"permission_grants": [GET_AGENT]})

    assert [one.result().status_code for one in (*given, changed)] == [200] * 7
    found = as_admin.get("/user/", params={"user_id": people}).json()["users"]
    assert {user["role"] for user in found} == {changed.result().json()["role_id"]}


@pytest.mark.both_databases
def test_a_user_is_changed_also_while_their_role_is_replaced(tertulia: Server, as_admin: httpx2.Client) -> None:
    name, user_id = make_role(as_admin, INVOKE), invite(as_admin)
    assign(as_admin, name, user_id).raise_for_status()

    with ThreadPoolExecutor(1) as pool:
        changed: list[Future[httpx2.Response]] = []

        def replace_meanwhile(connection: sa.Connection) -> None:
            held = role.lock_role(connection, "demo", name)
            role.replace_role(connection, held, replace(held.document, permission_grants=[]))
            changed.append(pool.submit(as_admin.post, f"/user/{user_id}", json={"first_name": "Zoe"}))
            wait_for_another(connection)

        write(tertulia, replace_meanwhile)

    assert changed[0].result().status_code == 204


@pytest.mark.both_databases
def test_who_has_lost_their_rank_meanwhile_gives_no_role(
    tertulia: Server, as_admin: httpx2.Client, as_super: httpx2.Client
) -> None:
    """Also if they had it when their request began, and it waited."""
    name, former, other = make_role(as_admin, GET_AGENT), invite(as_admin), invite(as_admin)
    assign(as_super, roles.ADMINISTRATOR, former).raise_for_status()
    client = tertulia.client(tertulia.sign_in(former))
    lowest = listed(as_admin, name=roles.USER)[roles.USER]["id"]

    with ThreadPoolExecutor(1) as pool:
        given: list[Future[httpx2.Response]] = []

        def take_rank(connection: sa.Connection) -> None:
            role.lock_role(connection, "demo", name)
            given.append(pool.submit(assign, client, name, other))
            wait_for_another(connection)
            connection.execute(sa.update(users).where(users.c.id == former).values(role_id=lowest))

        write(tertulia, take_rank)

    assert given[0].result().status_code == 403


def wait_for_another(connection: sa.Connection) -> None:
    """Wait until another transaction waits for this one; SQLite's do not begin before."""
    until = time.monotonic() + 20
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while connection.dialect.name == "postgresql" and not connection.execute(waiting).scalar_one():
        assert time.monotonic() < until
        time.sleep(0.01)


# --- Temporary grants ------------------------------------------------------------------------------------------------


def give(client: httpx2.Client, user_id: str, **changes: Any) -> httpx2.Response:
    body = {**TEMPORARY_GRANT, "user_id": user_id, "permission_grant": GET_AGENT, **changes}
    return client.post("/role/temporary_permission_grant/", json=body)


def test_a_temporary_grant_adds_to_a_role_at_once_and_until_it_ends(
    tertulia: Server, as_super: httpx2.Client, person: tuple[str, httpx2.Client]
) -> None:
    user_id, client = person
    assert agents_of(client) == []

    given = give(as_super, user_id, duration="PT1M", tags={"why": "a look"})
    assert given.status_code == 201
    assert agents_of(client) != []

    past = {"expires_at": clock.now() - timedelta(microseconds=1)}
    write(tertulia, _set, temporary_grants, temporary_grants.c.user_id == user_id, past)
    assert agents_of(client) == []
    write(tertulia, _set, users, users.c.id == user_id, {"granted_until": clock.now()})
    assert agents_of(client) == []


def _set(connection: sa.Connection, table: sa.Table, which: Any, values: Any) -> None:
    connection.execute(sa.update(table).where(which).values(**values))


@pytest.mark.parametrize("duration", ["PT1M", "P3D", "PT72H"])
def test_a_temporary_grant_lasts_from_a_minute_to_three_days(
    as_super: httpx2.Client, person: tuple[str, httpx2.Client], duration: str
) -> None:
    ends = datetime.fromisoformat(give(as_super, person[0], duration=duration).json()["expires_at"])

    wanted = timedelta(minutes=1) if duration == "PT1M" else timedelta(days=3)
    assert timedelta() <= clock.now() + wanted - ends < timedelta(seconds=30)


@pytest.mark.parametrize(
    "changes",
    [
        {"duration": "PT59.999S"},
        {"duration": "P3DT0.001S"},
        {"duration": "-P1D"},
        {"duration": "P99999999999D"},
        {"duration": "soon"},
        {"justification": "  too short  "},
        {"permission_grant": {"permission_name": "Tool:Fly", "conditions": {}}},
    ],
)
def test_a_temporary_grant_out_of_bounds_is_refused(
    as_super: httpx2.Client, person: tuple[str, httpx2.Client], changes: dict[str, Any]
) -> None:
    assert give(as_super, person[0], **changes).status_code == 422


def test_nobody_gives_for_a_time_what_their_own_role_lacks(
    tertulia: Server, as_super: httpx2.Client, as_admin: httpx2.Client, person: tuple[str, httpx2.Client]
) -> None:
    """The permission to give grants, itself given for a time, is no way to more either."""
    user_id, client = person
    permission = {"permission_name": "Role:CreateTemporaryPermissionGrant", "conditions": {}}
    assert give(as_admin, user_id).status_code == 403
    assert give(as_super, user_id, permission_grant=permission).status_code == 201

    refused = give(client, user_id)

    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "You can give only a permission that your own role has.",
    )


def test_a_permission_elsewhere_is_none_to_give_here(
    tertulia: Server, as_super: httpx2.Client, person: tuple[str, httpx2.Client]
) -> None:
    """A role that names another organization is below an administrator's, and deletes nothing in this one."""
    permission = {"permission_name": "Role:CreateTemporaryPermissionGrant", "conditions": {}}
    elsewhere = {"org_id": {"type": "NotEquals", "value": "{self_org_id}"}}
    name = make_role(as_super, permission, {**DELETE_ORGANIZATION, "conditions": elsewhere})
    user_id, client = person
    assert assign(as_super, name, user_id).status_code == 200

    refused = give(client, user_id, permission_grant=DELETE_ORGANIZATION)

    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "You can give only a permission that your own role has.",
    )


def test_temporary_grants_count_for_no_comparison(
    as_super: httpx2.Client, as_admin: httpx2.Client, person: tuple[str, httpx2.Client]
) -> None:
    """Neither do they lift whom they are given to above others, nor out of others' reach."""
    user_id, client = person
    invite_user = {"permission_name": "User:InviteUser", "conditions": {}}
    for grant in (GET_AGENT, invite_user, DELETE_ORGANIZATION):
        assert give(as_super, user_id, permission_grant=grant).status_code == 201

    body = {"first_name": "A", "last_name": "B", "email": "above@example.com", "role_name": roles.USER}
    assert client.post("/user/", json=body).status_code == 403
    assert as_admin.post(f"/user/{user_id}", json={"first_name": "Y"}).status_code == 204


def test_temporary_grants_are_listed_by_every_filter(
    tertulia: Server, as_super: httpx2.Client, person: tuple[str, httpx2.Client]
) -> None:
    user_id = person[0]
    made = [
        give(as_super, user_id, permission_grant=grant, duration=duration, tags=tags).json()
        for grant, duration, tags in ((GET_AGENT, "PT2M", {"a": "1"}), (INVOKE, "PT1M", {"a": None}))
    ]
    ids = [one["temporary_permission_grant_id"] for one in made]
    creator = f"demo,{tertulia.demo.super_user_id}"

    def ids_of(**query: Any) -> list[str]:
        found = as_super.get("/role/temporary_permission_grants/", params={"user_id": user_id, **query})
        return [grant["_id"] for grant in found.raise_for_status().json()["temporary_permission_grants"]]

    assert ids_of() == ids_of(creator=creator) == ids_of(is_expired=False) == ids[::-1]
    assert ids_of(tag="a:1") == ids_of(id=ids[0]) == ids_of(permission_grant_name="Organization:GetAgent") == ids[:1]
    assert ids_of(tag="a:") == ids[1:]
    assert ids_of(is_expired=True) == ids_of(creator="demo,x") == []
    assert ids_of(sort_by="-expires_at") == ids_of(sort_by="+permission_grant.permission_name") == ids


def test_the_temporary_grants_of_a_deleted_user_are_gone(
    as_super: httpx2.Client, as_admin: httpx2.Client, person: tuple[str, httpx2.Client]
) -> None:
    give(as_super, person[0]).raise_for_status()
    as_admin.delete(f"/user/{person[0]}").raise_for_status()

    found = as_super.get("/role/temporary_permission_grants/", params={"user_id": person[0]})

    assert found.json()["temporary_permission_grants"] == []
    assert give(as_super, person[0]).status_code == 404
