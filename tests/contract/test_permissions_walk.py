"""Every operation of the OpenAPI document refuses who shows nothing, a falsehood, another's token or too little."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

import httpx2
import jwt
import pytest

from support import samples
from support.contract import Document, Operation, contract, requires_contract
from support.server import Server
from tertulia.cli import installation

OPEN = {"get-message-recording", "get-organization", "sign-in-with-api-key"}
"""What anybody may ask: the contract leaves these open, or the link itself says that it is allowed."""

NOTHING = "0" * 24


@pytest.fixture(scope="module")
def closed(tertulia: Server) -> list[Operation]:
    """The operations that want credentials."""
    document = Document(tertulia.anonymous.get(f"{tertulia.url}/v1/openapi.json").json())
    wanted = {name: operation.content.get("security", [{}]) for name, operation in document.operations.items()}
    assert {name for name, alternatives in wanted.items() if {} in alternatives} == OPEN
    return [operation for name, operation in document.operations.items() if name not in OPEN]


def statuses(operations: list[Operation], client: httpx2.Client, **headers: str) -> dict[int, set[str]]:
    """Ask for each operation, with nothing but a path: credentials come before everything else that may be wrong."""
    found: dict[int, set[str]] = {}
    for operation in operations:
        names = {parameter["name"]: NOTHING for _, parameter in operation.parameters() if parameter["in"] == "path"}
        path = operation.path.removeprefix("/v1/{organization}").format(**names)
        answer = client.request(operation.method, path, headers=headers)
        assert isinstance(answer.json()["detail"], str), answer.text
        found.setdefault(answer.status_code, set()).add(operation.content["operationId"])
    return found


def test_without_credentials_every_operation_is_refused(tertulia: Server, closed: list[Operation]) -> None:
    assert statuses(closed, tertulia.anonymous).keys() == {401}


def test_what_is_open_tells_a_stranger_little(tertulia: Server) -> None:
    organization = tertulia.anonymous.get("/organization/")
    sign_in = tertulia.anonymous.post("/user/signin_with_api_key")

    assert organization.status_code == 200
    assert {name for name, value in organization.json().items() if value is not None} == {"org_id", "org_name"}
    assert sign_in.status_code == 422


def test_false_credentials_are_refused_by_every_operation(tertulia: Server, closed: list[Operation]) -> None:
    token = tertulia.sign_in(tertulia.demo.admin_user_id)
    claims = jwt.decode(token, options={"verify_signature": False})
    user = f"{tertulia.demo.organization_id}_{tertulia.demo.admin_user_id}"
    forged = jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": jwt.get_unverified_header(token)["kid"]})
    false = [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": token},
        {"Authorization": f"Bearer {token}x"},
        {"Authorization": f"Bearer {forged}"},
        {"Authorization": f"Bearer {jwt.encode(claims, None, algorithm='none')}"},
        {"Authorization": f"Bearer {tertulia.demo.api_key}"},
        {"Authorization": f"Digest {token}"},
        {"Authorization": f"Bearer {token}", "X-ORG-ID": "other"},
        {"Authorization": "Basic nonsense"},
        {"Authorization": basic(f"{user}:nonsense")},
        {"Authorization": basic(f"{tertulia.demo.organization_id}_{tertulia.demo.user_id}:{token}")},
        {"Authorization": basic(token)},
        {"Sec-WebSocket-Protocol": "bearer.authorization.amigo.ai.nonsense"},
    ]

    refused = [statuses(closed, tertulia.anonymous, **headers).keys() == {401} for headers in false]
    basic_answer = tertulia.anonymous.get("/service/", headers={"Authorization": basic(f"{user}:{token}")})

    assert [headers for headers, right in zip(false, refused, strict=True) if not right] == []
    assert basic_answer.status_code == 200


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_another_organizations_token_is_forbidden_everywhere(tertulia: Server, closed: list[Operation]) -> None:
    other = installation.make_demo(tertulia.settings, "other", None)
    keys = {"x-api-key": other.api_key, "x-api-key-id": other.api_key_id, "x-user-id": other.admin_user_id}
    signed_in = tertulia.anonymous.post(f"{tertulia.url}/v1/other/user/signin_with_api_key", headers=keys)
    foreigner = {"Authorization": f"Bearer {signed_in.json()['id_token']}"}

    assert statuses(closed, tertulia.anonymous, **foreigner).keys() == {403}
    assert statuses(closed, tertulia.anonymous, **foreigner, **{"X-ORG-ID": "other"}).keys() == {403}


# --- What the plain role lacks ---------------------------------------------------------------------------------------

VERSION_SET = {
    "version_set": {
        "agent_version_number": 1,
        "service_hierarchical_state_machine_version_number": 1,
        "llm_model_preferences": {},
    }
}
TEXT = {"response_format": "text"}
GUEST = {"first_name": "A", "last_name": "B", "email": "nobody@example.com", "role_name": "DefaultUserRole"}
SKIP = {"initial_message_type": (None, "skip"), "recorded_message": (None, "")}
AGENT = "/organization/agent"
GRAPH = "/organization/service_hierarchical_state_machine"
TALK = "/conversation/{conversation}"
INTERACTION = "/conversation/{conversation}/interaction/{interaction}"


@dataclass(frozen=True)
class Lacking:
    """A request of a plain user about what is an administrator's, and the permission that it fails for."""

    operation: str
    permission: str
    method: str
    path: str
    options: dict[str, Any]


def lacking(operation: str, permission: str, method: str, path: str, **options: Any) -> Lacking:
    return Lacking(operation, permission, method, path, options)


LACKING = [
    lacking("create-agent", "Organization:CreateAgent", "POST", AGENT, json={"agent_name": "X"}),
    lacking("create-agent-version", "Organization:CreateAgentVersion", "POST", AGENT + "/{agent}/", json={}),
    lacking("delete-agent", "Organization:DeleteAgent", "DELETE", AGENT + "/{agent}/"),
    lacking("get-agent-versions", "Organization:GetAgent", "GET", AGENT + "/{agent}/version"),
    lacking(
        "create-service-hierarchical-state-machine",
        "Organization:CreateServiceHierarchicalStateMachine",
        "POST",
        GRAPH,
        json={"state_machine_name": "X"},
    ),
    lacking(
        "create-service-hierarchical-state-machine-version",
        "Organization:CreateServiceHierarchicalStateMachineVersion",
        "POST",
        GRAPH + "/{graph}/",
        json=samples.graph(),
    ),
    lacking(
        "delete-service-hierarchical-state-machine",
        "Organization:DeleteServiceHierarchicalStateMachine",
        "DELETE",
        GRAPH + "/{graph}/",
    ),
    lacking(
        "get-service-hierarchical-state-machine-versions",
        "Organization:GetServiceHierarchicalStateMachine",
        "GET",
        GRAPH + "/{graph}/version",
    ),
    lacking("create-service", "Service:CreateService", "POST", "/service/", json=samples.service(NOTHING, NOTHING)),
    lacking("update-service", "Service:UpdateService", "POST", "/service/{service}/", json={}),
    lacking(
        "upsert-service-version-set",
        "Service:UpdateVersionSet",
        "PUT",
        "/service/{service}/version_sets/release/",
        json=VERSION_SET,
    ),
    lacking(
        "upsert-service-version-set",
        "Service:CreateVersionSet",
        "PUT",
        "/service/{service}/version_sets/new/",
        json=VERSION_SET,
    ),
    lacking(
        "delete-service-version-set",
        "Service:DeleteVersionSet",
        "DELETE",
        "/service/{service}/version_sets/release/",
    ),
    lacking(
        "interact-with-conversation",
        "User:UpdateUserInfo",
        "POST",
        TALK + "/interact",
        params={**TEXT, "request_format": "text"},
        files=SKIP,
    ),
    lacking("finish-conversation", "User:UpdateUserInfo", "POST", TALK + "/finish/"),
    lacking("retrieve-message-source", "Conversation:GetMessage", "GET", TALK + "/messages/{message}/source"),
    lacking(
        "modify-tags-of-conversation",
        "Conversation:ModifyConversation",
        "POST",
        TALK + "/tags/",
        json={"updates": {}, "deletes": []},
    ),
    lacking("get-interaction-insights", "Conversation:GetInteractionInsights", "GET", INTERACTION + "/insights"),
    lacking(
        "recommend-responses-for-interaction",
        "Conversation:GetRecommendedResponses",
        "POST",
        INTERACTION + "/recommend_responses",
    ),
    lacking("create-invited-user", "User:InviteUser", "POST", "/user/", json=GUEST),
    lacking("update-user-info", "User:UpdateUserInfo", "POST", "/user/{administrator}", json={}),
    lacking("delete-user", "User:DeleteUser", "DELETE", "/user/{administrator}"),
    lacking("get-user-model", "User:GetUserModel", "GET", "/user/{administrator}/user_model"),
]

FILTERED = {
    AGENT: "agents",
    GRAPH: "service_hierarchical_state_machines",
    "/conversation/": "conversations",
    TALK + "/messages/": "messages",
}
"""Lists that leave out what a plain user may not see, by their path."""


@pytest.fixture(scope="module")
def theirs(tertulia: Server, as_admin: httpx2.Client) -> dict[str, str]:
    """What is an administrator's."""
    stream = as_admin.post("/conversation/", params=TEXT, json={"service_id": tertulia.demo.service_id}).text
    events = [json.loads(line) for line in stream.splitlines()]
    service = as_admin.get("/service/", params={"id": tertulia.demo.service_id}).json()["services"][0]
    return {
        "administrator": tertulia.demo.admin_user_id,
        "agent": service["agent_id"],
        "conversation": events[0]["conversation_id"],
        "graph": service["service_hierarchical_state_machine_id"],
        "interaction": events[-1]["interaction_id"],
        "message": events[-1]["message_id"],
        "service": tertulia.demo.service_id,
    }


@pytest.mark.parametrize("case", LACKING, ids=lambda case: f"{case.operation}-{case.permission}")
def test_a_plain_user_is_told_the_permission_that_is_missing(
    as_user: httpx2.Client, theirs: dict[str, str], case: Lacking
) -> None:
    answer = as_user.request(case.method, case.path.format(**theirs), **case.options)

    assert (answer.status_code, answer.json()) == (403, {"detail": f"You need the permission {case.permission}."})


@pytest.mark.parametrize("path", FILTERED)
def test_a_list_leaves_out_what_a_plain_user_may_not_see(
    as_user: httpx2.Client, as_admin: httpx2.Client, theirs: dict[str, str], path: str
) -> None:
    seen, there = as_user.get(path.format(**theirs)), as_admin.get(path.format(**theirs))

    assert (seen.status_code, seen.json()[FILTERED[path]]) == (200, [])
    assert there.json()[FILTERED[path]]


def test_a_plain_user_sees_themselves_the_services_and_the_organizations_name(
    tertulia: Server, as_user: httpx2.Client
) -> None:
    users = as_user.get("/user/").json()["users"]
    services = as_user.get("/service/").json()["services"]
    organization = as_user.get("/organization/").json()

    assert [user["user_id"] for user in users] == [tertulia.demo.user_id]
    assert [service["id"] for service in services] == [tertulia.demo.service_id]
    assert organization["default_user_preferences"] is None


@requires_contract
def test_every_permission_asked_for_is_one_that_the_contract_names() -> None:
    texts = {name: operation.content.get("description", "") for name, operation in contract().operations.items()}

    unknown = [case for case in LACKING if not re.search(case.permission.replace(":", "[:.]"), texts[case.operation])]

    assert unknown == []
