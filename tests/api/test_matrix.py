"""Every operation, for a caller whose grants leave its target out, then let it in for a time; and for one gone."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

from operations import ASKED, CLOSED, Operation, Targets
from support.server import Server
from support.targets import invite, make_role, make_targets, nowhere, write
from tertulia import clock
from tertulia.auth.permissions import Permission
from tertulia.ids import new_id
from tertulia.storage.tables import temporary_grants, users
from tertulia.storage.temporary_grant import TemporaryGrant, insert_temporary_grant

ELSEWHERE = {"org_id": {"type": "NotEquals", "value": "{self_org_id}"}}
BY_RANK = {
    "create-invited-user",
    "modify-role",
    "create-api-key",
    "create-temporary-permission-grant",
    "modify-user-variables",
    "update-user-info",
}
"""Operations that want a rank besides, which no temporary grant gives."""
MINUTE = timedelta(minutes=1)

OF_THEIR_OWN = {
    "get-running-interactions": "conversation/test_running.py",
    "search-conversations": "conversation/test_search.py",
    "get-prompt-logs": "test_admin.py",
    "get-tools": "tool/test_tool.py",
    "get-tool-versions": "tool/test_version.py",
    "get-tool-scaffold-release": "tool/test_call.py",
    "assign-role": "test_role.py",
}
"""Operations whose answer says of each item if the caller may see it, or that ask for no permission by name."""


def each_of(operations: Iterable[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", list(operations), ids=lambda operation: operation.id)


@pytest.fixture(scope="module")
def own(tertulia: Server, as_admin: httpx2.Client) -> Targets:
    return make_targets(tertulia, as_admin, tertulia.demo.admin_user_id)


@pytest.fixture(scope="module")
def excluded(tertulia: Server) -> tuple[str, httpx2.Client]:
    """A user with every permission, on what other organizations have."""
    grants = [{"permission_name": permission.value, "conditions": ELSEWHERE} for permission in Permission]
    name = make_role(tertulia.as_admin, *grants)
    user_id = invite(tertulia.as_admin)
    client = tertulia.client(tertulia.sign_in(user_id))
    tertulia.as_super.post(f"/role/{name}/assign", json={"user_id": user_id}).raise_for_status()
    return user_id, client


def give(server: Server, user_id: str, permissions: Iterable[str]) -> None:
    """Give a user permissions for a minute, on everything."""
    now = clock.now()
    for permission in permissions:
        grant = TemporaryGrant(
            id=new_id(),
            org_id=server.demo.organization_id,
            user_id=user_id,
            permission_name=permission,
            conditions={},
            justification="To see the matrix.",
            tags={},
            creator_org_id=server.demo.organization_id,
            creator_user_id=user_id,
            created_at=now,
            updated_at=now,
            expires_at=now + MINUTE,
        )
        write(server, insert_temporary_grant, grant)


def end(connection: sa.Connection, user_id: str) -> None:
    """End the grants of a user, as time does."""
    theirs = temporary_grants.c.user_id == user_id
    past = clock.now() - timedelta(microseconds=1)
    connection.execute(sa.update(temporary_grants).where(theirs).values(expires_at=past))
    connection.execute(sa.update(users).where(users.c.id == user_id).values(granted_until=past))


@each_of(operation for operation in ASKED if not (operation.lists or operation.item_by_item))
def test_what_conditions_leave_out_is_refused_but_while_a_temporary_grant_lasts(
    tertulia: Server, excluded: tuple[str, httpx2.Client], own: Targets, operation: Operation
) -> None:
    user_id, client = excluded
    refused = (403, {"detail": f"You need the permission {operation.permissions[0]}."})
    before = operation.ask(client, own)
    assert (before.status_code, before.json()) == refused

    give(tertulia, user_id, operation.permissions)
    # What deletes is asked about what is not there: others still want it.
    targets = {**own, **nowhere(operation)} if operation.method == "DELETE" else own
    meanwhile = operation.ask(client, targets)
    write(tertulia, end, user_id)
    after = operation.ask(client, own)

    assert meanwhile.status_code not in {401, 422, 500}, meanwhile.text
    assert meanwhile.status_code != 403 or operation.id in BY_RANK, meanwhile.text
    assert "You need the permission" not in meanwhile.text
    assert (after.status_code, after.json()) == refused


@each_of(operation for operation in CLOSED if operation.lists)
def test_a_list_leaves_out_what_conditions_do_but_while_a_temporary_grant_lasts(
    tertulia: Server, excluded: tuple[str, httpx2.Client], own: Targets, operation: Operation
) -> None:
    user_id, client = excluded
    assert operation.ask(client, own).json()[operation.lists] == []

    give(tertulia, user_id, operation.permissions)
    meanwhile = operation.ask(client, own).json()[operation.lists]
    write(tertulia, end, user_id)

    assert meanwhile != []
    assert operation.ask(client, own).json()[operation.lists] == []


def test_every_operation_that_is_not_in_the_matrix_has_a_test_of_its_own() -> None:
    outside = [each for each in CLOSED if not each.lists and (each.item_by_item or each not in ASKED)]

    assert {each.id for each in outside} == OF_THEIR_OWN.keys()
    for operation in outside:
        said = (Path(__file__).parent / OF_THEIR_OWN[operation.id]).read_text("utf-8")
        assert operation.path.partition("{")[0].rstrip("/") in said or operation.id in said, operation.id


def test_a_deleted_user_may_do_nothing(tertulia: Server, own: Targets) -> None:
    user_id = invite(tertulia.as_admin)
    client = tertulia.client(tertulia.sign_in(user_id))
    tertulia.as_admin.delete(f"/user/{user_id}").raise_for_status()

    assert {operation.id: operation.ask(client, own).status_code for operation in CLOSED} == {
        operation.id: 401 for operation in CLOSED
    }


def test_an_error_names_no_id_that_the_caller_did_not(
    excluded: tuple[str, httpx2.Client], own: Targets, tertulia: Server
) -> None:
    """Of what is refused, nothing more is told than the permission: neither names nor owners."""
    told = {operation.id: operation.ask(excluded[1], own).text for operation in ASKED if not operation.lists}
    secrets = [tertulia.demo.super_user_id, tertulia.demo.user_id, tertulia.demo.service_id]

    assert [(name, text) for name, text in told.items() if any(secret in text for secret in secrets)] == []
