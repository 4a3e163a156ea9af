"""Every operation asks for a permission: walked with no token, another organization's, and a role without grants."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from sqlalchemy.engine import Connection

from support.server import Server
from tertulia.api import ROUTERS
from tertulia.auth import roles
from tertulia.cli import installation
from tertulia.demo.content import CONTEXT_GRAPH
from tertulia.storage import organization, role, user
from tertulia.storage.database.units import open_database
from tertulia.storage.user import NewUser

pytestmark = pytest.mark.both_databases

PUBLIC = {"get-organization", "get-message-recording", "sign-in-with-api-key"}

TEXT = {"response_format": "text"}


@dataclass(frozen=True)
class Asked:
    """A request that is right in all but the caller. `lists` is what a list that shows nothing has empty."""

    method: str
    path: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    lists: str = ""


AGENT = "/organization/agent"
GRAPH = "/organization/service_hierarchical_state_machine"
CONVERSATION = "/conversation/{conversation}"
STARTERS = {"facets": ["a"], "min_count": 1, "max_count": 2, "generation_instructions": "Short."}
INVITATION = {"first_name": "A", "last_name": "B", "email": "nobody@example.com", "role_name": roles.USER}
VERSION_SET = {
    "agent_version_number": 1,
    "service_hierarchical_state_machine_version_number": 1,
    "llm_model_preferences": {},
}
SERVICE = {"name": "X", "description": "X", "is_active": False, "keyterms": [], "tags": {}}
MESSAGE = {"initial_message_type": (None, "user-message"), "recorded_message": ("m.txt", b"Hello.", "text/plain")}

OPERATIONS: dict[str, Asked] = {
    "create-agent": Asked("POST", AGENT, {"json": {"agent_name": "X"}}),
    "get-agents": Asked("GET", AGENT, lists="agents"),
    "create-agent-version": Asked("POST", AGENT + "/{agent}/", {"json": {"background": "X"}}),
    "get-agent-versions": Asked("GET", AGENT + "/{agent}/version"),
    "delete-agent": Asked("DELETE", AGENT + "/{agent}/"),
    "create-service-hierarchical-state-machine": Asked("POST", GRAPH, {"json": {"state_machine_name": "X"}}),
    "get-service-hierarchical-state-machines": Asked("GET", GRAPH, lists="service_hierarchical_state_machines"),
    "create-service-hierarchical-state-machine-version": Asked("POST", GRAPH + "/{graph}/", {"json": CONTEXT_GRAPH}),
    "get-service-hierarchical-state-machine-versions": Asked("GET", GRAPH + "/{graph}/version"),
    "delete-service-hierarchical-state-machine": Asked("DELETE", GRAPH + "/{graph}/"),
    "create-service": Asked("POST", "/service/", {"json": SERVICE}),
    "get-services": Asked("GET", "/service/", lists="services"),
    "update-service": Asked("POST", "/service/{service}/", {"json": {"name": "X"}}),
    "upsert-service-version-set": Asked(
        "PUT", "/service/{service}/version_sets/test/", {"json": {"version_set": VERSION_SET}}
    ),
    "delete-service-version-set": Asked("DELETE", "/service/{service}/version_sets/test/"),
    "create-conversation": Asked("POST", "/conversation/", {"params": TEXT, "json": {"service_id": "{service}"}}),
    "get-conversations": Asked("GET", "/conversation/", lists="conversations"),
    "interact-with-conversation": Asked(
        "POST", CONVERSATION + "/interact", {"params": {**TEXT, "request_format": "text"}, "files": MESSAGE}
    ),
    "finish-conversation": Asked("POST", CONVERSATION + "/finish/"),
    "get-conversation-messages": Asked("GET", CONVERSATION + "/messages/", lists="messages"),
    "retrieve-message-source": Asked("GET", CONVERSATION + "/messages/{message}/source"),
    "modify-tags-of-conversation": Asked("POST", CONVERSATION + "/tags/", {"json": {"updates": {"a": "b"}}}),
    "get-interaction-insights": Asked("GET", CONVERSATION + "/interaction/{interaction}/insights"),
    "recommend-responses-for-interaction": Asked(
        "POST", CONVERSATION + "/interaction/{interaction}/recommend_responses"
    ),
    "follow-interaction": Asked("GET", CONVERSATION + "/interaction/{interaction}/stream"),
    "cancel-interaction": Asked("POST", CONVERSATION + "/interaction/{interaction}/cancel"),
    "generate-conversation-starter": Asked(
        "POST", "/conversation/conversation_starter", {"json": {**STARTERS, "service_id": "{service}"}}
    ),
    "create-invited-user": Asked("POST", "/user/", {"json": INVITATION}),
    "get-users": Asked("GET", "/user/", lists="users"),
    "update-user-info": Asked("POST", "/user/{user}", {"json": {"first_name": "X"}}),
    "delete-user": Asked("DELETE", "/user/{user}"),
    "get-user-model": Asked("GET", "/user/{user}/user_model"),
}

Ids = dict[str, str]


@pytest.fixture(scope="module")
def ids(tertulia: Server, as_user: httpx2.Client, as_admin: httpx2.Client) -> Ids:
    """What there is to ask for, the demo user's conversation among it."""
    service_id = tertulia.demo.service_id
    stream = as_user.post("/conversation/", params=TEXT, json={"service_id": service_id}).text
    events = [json.loads(line) for line in stream.splitlines()]
    service = as_admin.get("/service/", params={"id": service_id}).json()["services"][0]
    as_admin.put(f"/service/{service_id}/version_sets/test/", json={"version_set": VERSION_SET}).raise_for_status()
    return {
        "agent": service["agent_id"],
        "conversation": events[0]["conversation_id"],
        "graph": service["service_hierarchical_state_machine_id"],
        "interaction": events[-1]["interaction_id"],
        "message": events[-1]["message_id"],
        "service": service_id,
        "user": tertulia.demo.user_id,
    }


def _make_powerless(connection: Connection, org_id: str) -> str:
    document = {"description": "May do nothing.", "permission_grants": [], "frontend_view": "client"}
    role_id = role.put_role(connection, org_id, "PowerlessRole", document)
    person = NewUser(role_id, "Demo", "Powerless", "powerless@example.com", organization.DEFAULT_PREFERENCES)
    return user.insert_user(connection, org_id, person)


@pytest.fixture(scope="module")
def powerless(tertulia: Server) -> httpx2.Client:
    """A user whose role grants nothing."""
    database = open_database(tertulia.settings.cluster_urls["default"], 1)
    user_id = asyncio.run(database.write(_make_powerless, tertulia.demo.organization_id))
    database.close()
    return tertulia.client(tertulia.sign_in(user_id))


@pytest.fixture(scope="module")
def foreigner(tertulia: Server) -> httpx2.Client:
    """The administrator of another organization."""
    other = installation.make_demo(tertulia.settings, "other", None)
    headers = {"x-api-key": other.api_key, "x-api-key-id": other.api_key_id, "x-user-id": other.admin_user_id}
    answer = tertulia.anonymous.post(f"{tertulia.url}/v1/other/user/signin_with_api_key", headers=headers)
    return tertulia.client(answer.json()["id_token"])


def ask(client: httpx2.Client, asked: Asked, ids: Ids) -> httpx2.Response:
    options = dict(asked.options)
    if "json" in options:
        options["json"] = {
            key: ids["service"] if value == "{service}" else value for key, value in options["json"].items()
        }
        if asked.path == "/service/":
            options["json"] |= {"agent_id": ids["agent"], "service_hierarchical_state_machine_id": ids["graph"]}
    return client.request(asked.method, asked.path.format(**ids), **options)


def test_the_walk_covers_every_operation() -> None:
    routes = [route for router in ROUTERS for route in router.routes]
    operations = {operation for route in routes if (operation := getattr(route, "operation_id", None))}

    assert operations == set(OPERATIONS) | PUBLIC


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_a_token_every_operation_is_refused(anonymous: httpx2.Client, ids: Ids, operation: str) -> None:
    assert ask(anonymous, OPERATIONS[operation], ids).status_code == 401


@pytest.mark.parametrize("operation", OPERATIONS)
def test_another_organizations_token_is_refused(foreigner: httpx2.Client, ids: Ids, operation: str) -> None:
    assert ask(foreigner, OPERATIONS[operation], ids).status_code == 403


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_role_without_grants_does_nothing_and_sees_nothing(
    powerless: httpx2.Client, ids: Ids, operation: str
) -> None:
    asked = OPERATIONS[operation]

    answer = ask(powerless, asked, ids)

    if asked.lists:
        assert (answer.status_code, answer.json()[asked.lists]) == (200, [])
    else:
        assert answer.status_code == 403, answer.text
        assert answer.json()["detail"].startswith("You need the permission ")


OWN = {
    "cancel-interaction",
    "create-conversation",
    "finish-conversation",
    "follow-interaction",
    "generate-conversation-starter",
    "get-conversation-messages",
    "get-conversations",
    "get-services",
    "get-user-model",
    "get-users",
    "interact-with-conversation",
    "modify-tags-of-conversation",
    "recommend-responses-for-interaction",
    "retrieve-message-source",
    "update-user-info",
}
"""What a user may do with what is their own."""


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - OWN))
def test_a_user_may_not_do_what_is_an_administrators(as_user: httpx2.Client, ids: Ids, operation: str) -> None:
    asked = OPERATIONS[operation]

    answer = ask(as_user, asked, ids)

    if asked.lists:
        assert answer.json()[asked.lists] == []
    else:
        assert answer.status_code == 403


@pytest.mark.parametrize("operation", sorted(OWN - {"create-conversation", "finish-conversation"}))
def test_a_user_may_do_what_is_their_own(as_user: httpx2.Client, ids: Ids, operation: str) -> None:
    # 400: no recording; 409: there is nothing to cancel any more
    assert ask(as_user, OPERATIONS[operation], ids).status_code in {200, 204, 400, 409}


@pytest.mark.parametrize("operation", ["get-user-model", "update-user-info", "delete-user"])
def test_what_is_absent_is_not_found_whoever_asks(powerless: httpx2.Client, ids: Ids, operation: str) -> None:
    assert ask(powerless, OPERATIONS[operation], {**ids, "user": "nobody"}).status_code == 404


# --- What a user hides from administrators ---------------------------------------------------------------------------


@pytest.fixture
def hidden(tertulia: Server, as_user: httpx2.Client) -> Iterator[None]:
    path = f"/user/{tertulia.demo.user_id}"
    as_user.post(path, json={"conversations_visible_to_admins": False}).raise_for_status()
    yield
    as_user.post(path, json={"conversations_visible_to_admins": True}).raise_for_status()


def count(client: httpx2.Client, path: str, name: str) -> int:
    return len(client.get(path).json()[name])


def test_an_administrator_sees_a_users_conversations(as_admin: httpx2.Client, ids: Ids) -> None:
    assert count(as_admin, "/conversation/", "conversations") == 1
    assert ask(as_admin, OPERATIONS["get-interaction-insights"], ids).status_code == 200


@pytest.mark.usefixtures("hidden")
def test_hidden_conversations_are_hidden_from_administrators(
    as_user: httpx2.Client, as_admin: httpx2.Client, ids: Ids
) -> None:
    messages = CONVERSATION.format(**ids) + "/messages/"

    assert count(as_admin, "/conversation/", "conversations") == 0
    assert count(as_admin, messages, "messages") == 0
    assert ask(as_admin, OPERATIONS["get-interaction-insights"], ids).status_code == 403
    assert count(as_user, messages, "messages") > 0


# --- Rank ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["update-user-info", "delete-user"])
def test_nobody_touches_a_user_who_outranks_them(
    tertulia: Server, as_admin: httpx2.Client, ids: Ids, operation: str
) -> None:
    def promote(connection: Connection) -> str:
        super_role = role.get_role(connection, tertulia.demo.organization_id, roles.SUPER_ADMINISTRATOR)
        email = f"super.{operation}@example.com"
        person = NewUser(super_role.id, "Demo", "Super", email, organization.DEFAULT_PREFERENCES)
        return user.insert_user(connection, tertulia.demo.organization_id, person)

    database = open_database(tertulia.settings.cluster_urls["default"], 1)
    super_id = asyncio.run(database.write(promote))
    database.close()

    answer = ask(as_admin, OPERATIONS[operation], {**ids, "user": super_id})

    assert (answer.status_code, answer.json()) == (403, {"detail": "This user outranks you."})
