"""Every operation asks for its permission, of whoever calls it, about whatever it is about."""

import asyncio
import base64
from collections.abc import Iterable, Iterator

import httpx2
import jwt
import pytest
from sqlalchemy.engine import Connection

from operations import ASKED, BY_ID, CLOSED, VERSION_SET, Operation, Targets
from support.contract import contract, requires_contract
from support.server import Server
from support.targets import make_targets, nowhere
from tertulia.auth import roles
from tertulia.cli import installation
from tertulia.storage import organization, role, user
from tertulia.storage.database.units import open_database
from tertulia.storage.role import RoleDocument
from tertulia.storage.user import NewUser


def each_of(operations: Iterable[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", list(operations), ids=lambda operation: operation.id)


def refusal(operation: Operation) -> dict[str, str]:
    """Name what an answer of 403 says."""
    return {"detail": f"You need the permission {operation.permissions[0]}."}


@pytest.fixture(scope="module")
def own(tertulia: Server, as_user: httpx2.Client) -> Targets:
    """One of everything, the demo user's."""
    return make_targets(tertulia, as_user, tertulia.demo.user_id)


@pytest.fixture(scope="module")
def theirs(tertulia: Server, as_admin: httpx2.Client) -> Targets:
    """One of everything, an administrator's."""
    return make_targets(tertulia, as_admin, tertulia.demo.admin_user_id)


# --- Credentials -----------------------------------------------------------------------------------------------------


def statuses(client: httpx2.Client, **headers: str) -> dict[int, set[str]]:
    """Ask for each closed operation, with nothing but a path: credentials come before all else that may be wrong."""
    found: dict[int, set[str]] = {}
    for operation in CLOSED:
        answer = client.request(operation.method, operation.at(nowhere(operation)), headers=headers)
        assert isinstance(answer.json()["detail"], str), answer.text
        found.setdefault(answer.status_code, set()).add(operation.id)
    return found


def all_of(status: int) -> dict[int, set[str]]:
    return {status: {operation.id for operation in CLOSED}}


@pytest.fixture(scope="module")
def foreign_token(tertulia: Server) -> str:
    """A token of another organization's administrator."""
    other = installation.make_demo(tertulia.settings, "other", None)
    headers = {"x-api-key": other.api_key, "x-api-key-id": other.api_key_id, "x-user-id": other.admin_user_id}
    answer = tertulia.anonymous.post(f"{tertulia.url}/v1/other/user/signin_with_api_key", headers=headers)
    return str(answer.json()["id_token"])


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_without_credentials_every_operation_is_refused(anonymous: httpx2.Client) -> None:
    assert statuses(anonymous) == all_of(401)


def test_false_credentials_are_refused_by_every_operation(tertulia: Server) -> None:
    token = tertulia.sign_in(tertulia.demo.admin_user_id)
    claims = jwt.decode(token, options={"verify_signature": False})
    person = f"{tertulia.demo.organization_id}_{tertulia.demo.admin_user_id}"
    forged = jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": jwt.get_unverified_header(token)["kid"]})
    false = [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": token},
        {"Authorization": f"Bearer {token}x"},
        {"Authorization": f"Bearer {forged}"},
        {"Authorization": f"Bearer {jwt.encode(claims, '', algorithm='none')}"},
        {"Authorization": f"Bearer {tertulia.demo.api_key}"},
        {"Authorization": f"Digest {token}"},
        {"Authorization": f"Bearer {token}", "X-ORG-ID": "other"},
        {"Authorization": "Basic nonsense"},
        {"Authorization": basic(f"{person}:nonsense")},
        {"Authorization": basic(f"{tertulia.demo.organization_id}_{tertulia.demo.user_id}:{token}")},
        {"Authorization": basic(token)},
        {"Sec-WebSocket-Protocol": "bearer.authorization.amigo.ai.nonsense"},
    ]

    accepted = [headers for headers in false if statuses(tertulia.anonymous, **headers) != all_of(401)]
    right = tertulia.anonymous.get("/service/", headers={"Authorization": basic(f"{person}:{token}")})

    assert accepted == []
    assert right.status_code == 200


def test_another_organizations_token_is_forbidden_everywhere(tertulia: Server, foreign_token: str) -> None:
    foreigner = {"Authorization": f"Bearer {foreign_token}"}

    assert statuses(tertulia.anonymous, **foreigner) == all_of(403)
    assert statuses(tertulia.anonymous, **foreigner, **{"X-ORG-ID": "other"}) == all_of(403)


@each_of(CLOSED)
def test_another_organizations_token_does_nothing_here(
    tertulia: Server, foreign_token: str, own: Targets, operation: Operation
) -> None:
    assert operation.ask(tertulia.client(foreign_token), own).status_code == 403


def test_what_is_open_tells_a_stranger_little(anonymous: httpx2.Client) -> None:
    found = anonymous.get("/organization/")

    assert {name for name, value in found.json().items() if value is not None} == {"org_id", "org_name"}
    assert anonymous.post("/user/signin_with_api_key").status_code == 422


# --- A role without grants -------------------------------------------------------------------------------------------


def _make_powerless(connection: Connection, org_id: str) -> str:
    role_id = role.put_role(connection, org_id, "PowerlessRole", RoleDocument("May do nothing.", [], "client"))
    person = NewUser(role_id, "Demo", "Powerless", "powerless@example.com", organization.DEFAULT_PREFERENCES)
    return user.insert_user(connection, org_id, person)


@pytest.fixture(scope="module")
def powerless(tertulia: Server) -> httpx2.Client:
    """A user whose role grants nothing."""
    database = open_database(tertulia.settings.cluster_urls["default"], 1)
    user_id = asyncio.run(database.write(_make_powerless, tertulia.demo.organization_id))
    database.close()
    return tertulia.client(tertulia.sign_in(user_id))


@each_of(operation for operation in ASKED if not (operation.lists or operation.item_by_item))
def test_a_role_without_grants_does_nothing_and_is_told_what_it_needs(
    powerless: httpx2.Client, own: Targets, operation: Operation
) -> None:
    answer = operation.ask(powerless, own)

    assert (answer.status_code, answer.json()) == (403, refusal(operation))


@each_of(operation for operation in CLOSED if operation.lists)
def test_a_role_without_grants_sees_nothing_of_what_there_is(
    tertulia: Server, powerless: httpx2.Client, own: Targets, operation: Operation
) -> None:
    answer = operation.ask(powerless, own)

    assert (answer.status_code, answer.json()[operation.lists]) == (200, [])
    assert operation.ask(operation.by(tertulia), own).json()[operation.lists]


@pytest.mark.parametrize("operation", ["get-user-model", "update-user-info", "delete-user"])
def test_what_is_absent_is_not_found_whoever_asks(powerless: httpx2.Client, own: Targets, operation: str) -> None:
    targets = {**own, "user_id": "nobody", "requested_user_id": "nobody"}

    assert BY_ID[operation].ask(powerless, targets).status_code == 404


# --- A plain user ----------------------------------------------------------------------------------------------------


@each_of(operation for operation in CLOSED if operation.least == "user")
def test_a_user_may_do_what_is_their_own(tertulia: Server, as_admin: httpx2.Client, operation: Operation) -> None:
    body = {"first_name": "A", "last_name": "B", "email": f"{operation.id}@example.com", "role_name": roles.USER}
    user_id = as_admin.post("/user/", json=body).json()["user_id"]
    client = tertulia.client(tertulia.sign_in(user_id))

    answer = operation.ask(client, make_targets(tertulia, client, user_id))

    assert answer.status_code == (operation.at_rest or operation.success), answer.text
    assert not operation.lists or answer.json()[operation.lists]


@each_of(
    operation
    for operation in ASKED
    if operation.least in {"administrator", "super"}
    and not operation.lists
    and operation.id != "export-user"  # their own
)
def test_a_user_may_not_do_what_is_an_administrators(
    as_user: httpx2.Client, own: Targets, operation: Operation
) -> None:
    answer = operation.ask(as_user, own)

    assert (answer.status_code, answer.json()) == (403, refusal(operation))


@each_of(operation for operation in ASKED if operation.parameters and not operation.lists)
def test_a_user_is_told_the_permission_that_is_missing_for_what_is_anothers(
    as_user: httpx2.Client, theirs: Targets, operation: Operation
) -> None:
    answer = operation.ask(as_user, theirs)

    assert (answer.status_code, answer.json()) == (403, refusal(operation))


def test_a_new_version_set_wants_another_permission_than_a_changed_one(as_user: httpx2.Client, own: Targets) -> None:
    path = f"/service/{own['service_id']}/version_sets/new/"
    answer = as_user.put(path, json={"version_set": VERSION_SET})

    assert (answer.status_code, answer.json()["detail"]) == (403, "You need the permission Service:CreateVersionSet.")


SEEN_BY_ALL = {"get-services": "id", "get-users": "user_id", "search-users": "user_id"}
"""Lists that show a plain user something, by the field of its identifier."""


@each_of(operation for operation in CLOSED if operation.lists and operation.id not in SEEN_BY_ALL)
def test_a_list_leaves_out_what_a_user_may_not_see(
    tertulia: Server, as_admin: httpx2.Client, theirs: Targets, operation: Operation
) -> None:
    body = {"first_name": "A", "last_name": "B", "email": f"{operation.id}@new.example", "role_name": roles.USER}
    newcomer = tertulia.client(tertulia.sign_in(as_admin.post("/user/", json=body).json()["user_id"]))

    seen, there = operation.ask(newcomer, theirs), operation.ask(operation.by(tertulia), theirs)

    assert (seen.status_code, seen.json()[operation.lists]) == (200, [])
    assert there.json()[operation.lists]


def test_a_user_sees_themselves_the_services_and_the_organizations_name(
    tertulia: Server, as_user: httpx2.Client, as_admin: httpx2.Client
) -> None:
    users = as_user.get("/user/").json()["users"]
    services = as_user.get("/service/").json()["services"]

    assert [found["user_id"] for found in users] == [tertulia.demo.user_id]
    assert services == as_admin.get("/service/").json()["services"]
    assert tertulia.demo.service_id in {found["id"] for found in services}
    assert as_user.get("/organization/").json()["default_user_preferences"] is None


@requires_contract
@each_of(operation for operation in ASKED if not (operation.extension or operation.unnamed or operation.item_by_item))
def test_the_permission_of_an_operation_is_one_that_the_contract_names(operation: Operation) -> None:
    text = contract().operations[operation.id].content["description"].replace(".", ":")

    assert [name for name in operation.permissions if name in text] != []


# --- What a user hides from administrators ---------------------------------------------------------------------------


@pytest.fixture
def hidden(tertulia: Server, as_user: httpx2.Client) -> Iterator[None]:
    path = f"/user/{tertulia.demo.user_id}"
    as_user.post(path, json={"conversations_visible_to_admins": False}).raise_for_status()
    yield
    as_user.post(path, json={"conversations_visible_to_admins": True}).raise_for_status()


def seen_by(client: httpx2.Client, own: Targets) -> tuple[bool, bool, int]:
    """Tell if a client sees the demo user's conversation and its messages, and the status of its insights."""
    conversations = client.get("/conversation/", params={"id": own["conversation_id"]}).json()["conversations"]
    messages = BY_ID["get-conversation-messages"].ask(client, own).json()["messages"]
    return bool(conversations), bool(messages), BY_ID["get-interaction-insights"].ask(client, own).status_code


def test_an_administrator_sees_a_users_conversations(as_admin: httpx2.Client, own: Targets) -> None:
    assert seen_by(as_admin, own) == (True, True, 200)


@pytest.mark.usefixtures("hidden")
def test_hidden_conversations_are_hidden_from_administrators(
    as_user: httpx2.Client, as_admin: httpx2.Client, own: Targets
) -> None:
    assert seen_by(as_admin, own) == (False, False, 403)
    assert seen_by(as_user, own) == (True, True, 403)


# --- Rank ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["update-user-info", "delete-user"])
def test_nobody_touches_a_user_who_outranks_them(
    tertulia: Server, as_admin: httpx2.Client, own: Targets, operation: str
) -> None:
    answer = BY_ID[operation].ask(as_admin, {**own, "requested_user_id": tertulia.demo.super_user_id})

    assert (answer.status_code, answer.json()) == (403, {"detail": "This user outranks you."})
