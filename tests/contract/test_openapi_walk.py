"""Every operation that this server has, walked over HTTP: requests and answers are those of the contract's document."""

import base64
import io
import zipfile
from copy import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from operations import OPERATIONS, ORGANIZATION
from support import samples
from support.contract import Walker, contract, requires_contract
from support.server import Serve, Server
from support.targets import founder_of, invite

pytestmark = requires_contract

NOWHERE = "0" * 24
LIST_ROLES = "get_roles_v1__organization__role__get"
TEXT = {"response_format": "text"}
TEXTS = {"request_format": "text", "response_format": "text"}
VERSION_SET: dict[str, Any] = {
    "agent_version_number": 1,
    "service_hierarchical_state_machine_version_number": None,
    "llm_model_preferences": {"SelectNextAction": {"llm_name": "openai_gpt-5.6-luna", "params": {}}},
}


@pytest.fixture(scope="module")
def tertulia(serve: Serve, database_url: str) -> Server:
    """A server on which the scripted model answers for the vendor's model that a version set names."""
    return serve(database={"url": database_url, "pool_size": 4}, model_names=("openai_gpt-5.6-luna=scripted",))


@pytest.fixture
def walk(tertulia: Server) -> Walker:
    return Walker(contract(), tertulia.as_admin)


def test_every_operation_asks_and_answers_as_the_contract_says(tertulia: Server, walk: Walker) -> None:
    walk_organization(tertulia, walk)
    walk_founding(tertulia, walk)
    walk_api_keys(tertulia, walk)
    walk_users(walk)
    walk_roles(tertulia, walk)
    agent_id = walk_agents(walk)
    graph_id = walk_context_graphs(walk)
    service_id = walk_services(walk, agent_id, graph_id)
    walk_behaviors(walk, service_id)
    walk_tools(walk)
    conversation_id = walk_conversations(walk, service_id)
    walk_voice(walk, tertulia.demo.service_id)
    walk_reading(walk, conversation_id)
    walk_admin(tertulia, walk, conversation_id)
    walk_to_the_end(walk, service_id, conversation_id)
    walk_deletion(walk, service_id, agent_id, graph_id)

    assert walk.seen.keys() == {operation.id for operation in OPERATIONS if not operation.extension}
    assert all(min(statuses) < 300 and max(statuses) >= 400 for statuses in walk.seen.values()), walk.seen


def walk_organization(tertulia: Server, walk: Walker) -> None:
    headers = {
        "x-api-key": tertulia.demo.api_key,
        "x-api-key-id": tertulia.demo.api_key_id,
        "x-user-id": tertulia.demo.admin_user_id,
    }
    walk.call("sign-in-with-api-key", headers=headers, client=tertulia.anonymous)
    walk.call("sign-in-with-api-key", 401, headers={**headers, "x-api-key": "another"}, client=tertulia.anonymous)
    walk.call("sign-in-with-api-key", 422, client=tertulia.anonymous)

    assert walk.call("get-organization")["default_user_preferences"] is not None
    assert walk.call("get-organization", client=tertulia.anonymous)["default_user_preferences"] is None
    walk.call("get-organization", 404, headers={"x-mongo-cluster-name": "nowhere"})

    dimension = {"description": "Books", "tags": ["reading"]}
    walk.call("modify-organization", json={"user_dimensions": [dimension], "default_user_preferences": {}})
    walk.call("modify-organization", 422, json={"user_dimensions": []})
    assert walk.call("get-user-dimensions") == {"user_dimensions": [dimension]}
    walk.call("get-user-dimensions", 403, client=tertulia.as_user)


def walk_founding(tertulia: Server, walk: Walker) -> None:
    maker = copy(tertulia.as_super)
    maker.base_url = f"{tertulia.url}/v1/walked"
    create, delete = "create-organization", "delete-organization"
    headers = {"x-mongo-cluster-name": "default"}
    body: dict[str, Any] = {
        **ORGANIZATION,
        "org_name": "Walked",
        "default_user_preferences": {"preferred_language": "spa", "audio_keyterms": ["tertulia"]},
    }
    assert walk.call(create, headers=headers, json=body, client=maker) == {"org_id": "walked"}
    walk.call(create, 409, headers=headers, json=body, client=maker)
    walk.call(create, 422, json=body, client=maker)
    walk.call(create, 422, headers=headers, json={**body, "azure_devops_team_name": "A team"}, client=maker)
    walk.call(delete, 403, client=tertulia.as_admin)
    walk.call(delete, client=founder_of(tertulia, "walked"))


def walk_api_keys(tertulia: Server, walk: Walker) -> None:
    as_super, key = tertulia.as_super, {"name": "Walked", "duration": "P1D"}
    made = walk.call("create-api-key", json={**key, "role_name": "DefaultUserRole"}, client=as_super)["api_key_id"]
    walk.call("create-api-key", 404, json={**key, "role_name": "nothing"}, client=as_super)
    walk.call("create-api-key", 422, json={"duration": "P1D"}, client=as_super)
    assert made in {each["key_id"] for each in walk.call("get-api-keys", client=as_super)["api_keys"]}
    walk.call("get-api-keys", 401, client=tertulia.anonymous)
    walk.call("delete-api-key", path={"api_key_id": made}, client=as_super)
    walk.call("delete-api-key", 404, path={"api_key_id": made}, client=as_super)


def walk_users(walk: Walker) -> None:
    person: dict[str, Any] = {
        "first_name": "Demo",
        "last_name": "Guest",
        "email": "guest@example.com",
        "role_name": "DefaultUserRole",
        "nonsensitive_user_variables": {"shelf": "top"},
        "sensitive_user_variables": {"card": "1234"},
        "user_preferences": {"preferred_language": "spa", "timezone": "Europe/Madrid", "audio_keyterms": ["tertulia"]},
    }
    user = walk.call("create-invited-user", json=person)["user_id"]
    walk.call("create-invited-user", 409, json=person)
    walk.call("create-invited-user", 404, json={**person, "email": "b@example.com", "role_name": "nothing"})
    walk.call("create-invited-user", 422, json={**person, "first_name": ""})

    page = walk.call("get-users", query={"user_id": [user], "email": ["guest@example.com"], "sort_by": ["+first_name"]})
    assert [found["user_id"] for found in page["users"]] == [user]
    walk.call("get-users", query={"limit": 1, "continuation_token": 1})
    walk.call("get-users", 422, query={"limit": 101})
    found = walk.call("search-users", query={"query": "GUEST@example", "user_id": [user]})["users"]
    assert [each["user_id"] for each in found] == [user]
    walk.call("search-users", 422, query={})

    link = {"email": "guest@example.com", "redirect_link": "https://app.example/signed-in"}
    walk.call("sign-in-with-email", json=link)
    walk.call("sign-in-with-email", 422, json={"email": "guest@example.com"})

    changes = {"last_name": "Visitor", "preferred_language": {}, "timezone": None, "additional_context": ["Reads."]}
    walk.call("update-user-info", path={"requested_user_id": user}, json=changes)
    walk.call("update-user-info", 404, path={"requested_user_id": NOWHERE}, json=changes)

    assert walk.call("get-user-model", path={"user_id": user})["additional_context"] == ["Reads."]
    walk.call("get-user-model", 404, path={"user_id": NOWHERE})
    page = walk.call("get-memories", path={"user_id": user}, query={"limit": 0, "sort_by": ["-created_at"]})
    assert page == {"memories": [], "has_more": False, "continuation_token": None}
    walk.call("get-memories", 404, path={"user_id": NOWHERE})
    walk.call("get-memories", 422, path={"user_id": user}, query={"limit": 51})

    city = {"name": "city", "value": "Rome", "is_secret": False}
    walk.call("modify-user-variables", path={"requested_user_id": user}, json={"upserts": [city]})
    walk.call("modify-user-variables", 400, path={"requested_user_id": user}, json={"deletes": [{"name": "absent"}]})
    walk.call("modify-user-variables", 404, path={"requested_user_id": NOWHERE}, json={"upserts": [city]})
    walk.call("delete-user", path={"requested_user_id": user})
    walk.call("delete-user", 404, path={"requested_user_id": user})


def walk_roles(tertulia: Server, walk: Walker) -> None:
    conditions = {
        "org_id": {"type": "Equals", "value": "{self_org_id}"},
        "tool_id": {"type": "In", "values": ["a", "b"]},
    }
    grant = {"permission_name": "Tool:InvokeTool", "conditions": conditions}
    body = {"role_name": "Walked", "description": "Walks.", "permission_grants": [grant], "frontend_view": "client"}
    role_id = walk.call("create-role", json=body)["role_id"]
    walk.call("create-role", 409, json=body)
    walk.call("create-role", 422, json={**body, "frontend_view": "sideways"})

    query = {"return_permission_grants": True, "id": [role_id], "name": ["Walked"]}
    (role,) = walk.call(LIST_ROLES, query=query)["roles"]
    assert role["permission_grants"] == [grant]
    walk.call(LIST_ROLES, 422, query={"id": ["x"]})

    here, nowhere = {"role_name": "Walked"}, {"role_name": "Nothing"}
    walk.call("modify-role", path=here, json={"description": "Walks on.", "permission_grants": None})
    walk.call("modify-role", 404, path=nowhere, json={})
    person = invite(tertulia.as_admin)
    walk.call("assign-role", path=here, json={"user_id": person})
    walk.call("assign-role", 404, path=nowhere, json={"user_id": person})

    create, listed = "create-temporary-permission-grant", "get-temporary-permission-grants"
    temporary: dict[str, Any] = {
        "user_id": person,
        "duration": "PT1M",
        "permission_grant": grant,
        "tags": {"why": "walk", "alone": None},
        "justification": "To walk the contract.",
    }
    as_super = tertulia.as_super
    walk.call(create, json=temporary, client=as_super)
    walk.call(create, 404, json={**temporary, "user_id": NOWHERE}, client=as_super)
    walk.call(create, 422, json={**temporary, "justification": ""}, client=as_super)
    query = {
        "user_id": [person],
        "permission_grant_name": "Tool:InvokeTool",
        "is_expired": False,
        "creator": [f"demo,{tertulia.demo.super_user_id}"],
        "tag": ["why:walk"],
        "sort_by": ["-expires_at"],
    }
    (found,) = walk.call(listed, query=query, client=as_super)["temporary_permission_grants"]
    assert found["permission_grant"] == grant
    walk.call(listed, 422, query={"limit": 11}, client=as_super)


def walk_agents(walk: Walker) -> str:
    agent_id = walk.call("create-agent", json={"agent_name": samples.a_name()})["id"]
    spoken = {**samples.AGENT, "voice_config": {"voice_id": "default"}}
    walk.call("create-agent", 422, json={"agent_name": "x" * 257})

    here, nowhere = {"agent_id": agent_id}, {"agent_id": NOWHERE}
    walk.call("create-agent-version", 400, path=here, json={"background": "Alone."})
    walk.call("create-agent-version", 400, path=here, json={"voice_config": {"voice_id": "nobody"}})
    walk.call("create-agent-version", path=here, json=spoken)
    walk.call("create-agent-version", path=here, query={"version": 2}, json={"voice_config": None, "behaviors": []})
    walk.call("create-agent-version", 409, path=here, query={"version": 2}, json={"behaviors": []})
    walk.call("create-agent-version", 404, path=nowhere, json=samples.AGENT)
    walk.call("create-agent-version", 422, path=here, json={"initials": "Long"})

    page = walk.call("get-agents", query={"id": [agent_id], "deprecated": False})
    assert [agent["latest_version"] for agent in page["agents"]] == [2]
    walk.call("get-agents", 422, query={"limit": 21})

    page = walk.call("get-agent-versions", path=here, query={"version": "1-latest", "sort_by": ["-version"]})
    assert [version["version"] for version in page["agent_versions"]] == [2, 1]
    walk.call("get-agent-versions", 404, path=nowhere)
    return str(agent_id)


def walk_context_graphs(walk: Walker) -> str:
    create, version = "create-service-hierarchical-state-machine", "create-service-hierarchical-state-machine-version"
    name = "service_hierarchical_state_machine_id"
    graph_id = walk.call(create, json={"state_machine_name": samples.a_name()})["id"]
    walk.call(create, 422, json={})

    here, nowhere, graph = {name: graph_id}, {name: NOWHERE}, whole_graph()
    assert walk.call(version, path=here, query={"dry_run": True}, json=graph) is None
    assert walk.call(version, path=here, query={"version": 1}, json=graph)["version"] == 1
    walk.call(version, 409, path=here, query={"version": 1}, json=graph)
    walk.call(version, 404, path=nowhere, json=graph)
    walk.call(version, 404, path=here, query={"dry_run": True}, json=graph_with_tools())
    walk.call(version, 422, path=here, json={**graph, "description": ""})

    listed = walk.call("get-service-hierarchical-state-machines", query={"id": [graph_id], "limit": 50})
    assert [found["latest_version"] for found in listed["service_hierarchical_state_machines"]] == [1]
    walk.call("get-service-hierarchical-state-machines", 422, query={"id": ["x"]})

    versions = "get-service-hierarchical-state-machine-versions"
    (stored,) = walk.call(versions, path=here, query={"version": "latest"})["state_machine_versions"]
    assert {field: stored[field] for field in graph} == graph
    walk.call(versions, 404, path=nowhere)
    return str(graph_id)


def whole_graph() -> dict[str, Any]:
    """A graph with a state of each kind that the engine runs."""
    return samples.short_graph(
        samples.recall("memory", "name", "What?"),
        samples.recall("name", "thought", wants="Their name"),
        samples.annotation("thought", "weigh"),
        samples.reflection("weigh", "choice"),
        samples.decision("choice", "end", "start"),
    )


def graph_with_tools() -> dict[str, Any]:
    """A graph with a tool in each place: there is none yet."""
    tool = samples.tool_spec(NOWHERE)
    states = [
        samples.recall("memory", "reflection", "What?"),
        {**samples.reflection("reflection", "call"), "tool_call_specs": [tool]},
        samples.tool_call("call", "end", NOWHERE),
    ]
    return samples.short_graph(*states)


def walk_services(walk: Walker, agent_id: str, graph_id: str) -> str:
    body = {
        **samples.service(agent_id, graph_id),
        "keyterms": ["reading circle"],
        "tags": {"kind": "circle", "alone": None},
    }
    service_id = walk.call("create-service", json={**body, "release_version_set": VERSION_SET})["id"]
    walk.call("create-service", 409, json=body)
    walk.call("create-service", 404, json={**body, "name": samples.a_name(), "agent_id": NOWHERE})
    walk.call("create-service", 422, json={**body, "keyterms": ["Not lower case"]})

    (service,) = walk.call("get-services", query={"id": [service_id], "tags": ["kind:circle"]})["services"]
    assert service["version_sets"].keys() == {"edge", "release"}
    walk.call("get-services", 422, query={"limit": 0})

    walk.call("update-service", path={"service_id": service_id}, json={"description": "Again.", "tags": {}})
    walk.call("update-service", 404, path={"service_id": NOWHERE}, json={"name": "X"})

    test = {"service_id": service_id, "version_set_name": "test"}
    edge = {"service_id": service_id, "version_set_name": "edge"}
    walk.call("upsert-service-version-set", path=test, json={"version_set": VERSION_SET})
    walk.call("upsert-service-version-set", 400, path=edge, json={"version_set": VERSION_SET})
    walk.call("upsert-service-version-set", 422, path=test, json={})
    walk.call("delete-service-version-set", path=test)
    walk.call("delete-service-version-set", 404, path=test)
    walk.call("delete-service-version-set", 400, path=edge)
    return service_id


def walk_behaviors(walk: Walker, service_id: str) -> None:
    body = samples.behavior(service_id, tags={"kind": "safety", "alone": None})
    set_id = walk.call("create-dynamic-behavior-set", json=body)["dynamic_behavior_set_id"]
    walk.call("create-dynamic-behavior-set", 409, json=body)
    walk.call("create-dynamic-behavior-set", 404, json=samples.behavior(NOWHERE))
    walk.call("create-dynamic-behavior-set", 404, json=samples.behavior(actions=[tool_candidates()]))
    walk.call("create-dynamic-behavior-set", 422, json=samples.behavior(conversation_triggers=[]))

    query = {"id": [set_id], "limit": 50, "applied_to_service": [service_id], "tag": ["kind:safety"]}
    page = walk.call("get-dynamic-behavior-sets", query={**query, "sort_by": ["-updated_at"], "is_active": True})
    assert [found["tags"] for found in page["dynamic_behavior_sets"]] == [body["tags"]]
    walk.call("get-dynamic-behavior-sets", query={"limit": 0})
    walk.call("get-dynamic-behavior-sets", 422, query={"limit": 51})
    found = walk.call("search-dynamic-behavior-sets", query={"query": "weather", "applied_to_service": [service_id]})
    assert [each["id"] for each in found["dynamic_behavior_sets"]] == [set_id]
    walk.call("search-dynamic-behavior-sets", 422, query={})

    here, nowhere = {"dynamic_behavior_set_id": set_id}, {"dynamic_behavior_set_id": NOWHERE}
    version = {"conversation_triggers": ["It rains."], "actions": [samples.instruction(overrides=True)]}
    create, versions = "create-dynamic-behavior-set-version", "get-dynamic-behavior-set-versions"
    assert walk.call(create, path=here, query={"version": 2}, json=version)["new_version_number"] == 2
    walk.call(create, 400, path=here, query={"version": 2}, json=version)
    walk.call(create, 404, path=nowhere, json=version)
    page = walk.call(versions, path=here, query={"version": "1-latest", "sort_by": ["-version"], "limit": 10})
    assert [found["version"] for found in page["dynamic_behavior_set_versions"]] == [2, 1]
    walk.call(versions, 404, path=nowhere)

    walk.call("update-dynamic-behavior-set", path=here, json={"is_active": False})
    walk.call("update-dynamic-behavior-set", 404, path=here, json={"applied_to_services": [NOWHERE]})
    walk.call("get-dynamic-behavior-invocations", path=here, query={"sort_by": ["+invoked_at"]})
    walk.call("get-dynamic-behavior-invocations", 404, path=nowhere)
    walk.call("delete-dynamic-behavior-instruction", path=here)
    walk.call("delete-dynamic-behavior-instruction", 404, path=here)


def walk_tools(walk: Walker) -> None:
    body = samples.tool("walked", tags={"kind": "sums", "alone": None})
    tool_id = walk.call("create-tool", json=body)["id"]
    walk.call("create-tool", 409, json=body)
    walk.call("create-tool", 400, json=samples.tool("a" * 65))
    walk.call("create-tool", 422, json=samples.tool("A"))
    here, nowhere = {"tool_id": tool_id}, {"tool_id": NOWHERE}

    key = {"name": "API_KEY", "value": "k", "is_secret": True}
    walk.call("modify-tool-envvars", path=here, json={"inserts": [key]})
    walk.call("modify-tool-envvars", 409, path=here, json={"inserts": [key]})
    walk.call("modify-tool-envvars", 400, path=here, json={"deletes": [{"name": "ABSENT"}]})
    walk.call("modify-tool-envvars", 404, path=nowhere, json={})
    walk.call("modify-tool", path=here, json={"description": "Sums."})
    walk.call("modify-tool", 404, path=nowhere, json={})
    query = {"id": [tool_id], "deprecated": False, "tag": ["kind:sums"], "sort_by": ["+name"], "limit": 20}
    (found,) = walk.call("get-tools", query=query)["tools"]
    assert (found["description"], found["secret_envvars"]) == ("Sums.", ["API_KEY"])
    walk.call("get-tools", 422, query={"limit": 0})

    walk_tool_versions(walk, tool_id)
    walk.call("deprecate-tool", path=here)
    walk.call("deprecate-tool", 404, path=nowhere)


def walk_tool_versions(walk: Walker, tool_id: str) -> None:
    here, nowhere = {"tool_id": tool_id}, {"tool_id": NOWHERE}
    project = {"project_path": "calculator", "bump_type": "major"}
    walk.call("publish-tool-version", 400, path=here, json={**project, "bump_type": "minor"})
    walk.call("publish-tool-version", 404, path=here, json={**project, "project_path": "absent"})
    walk.call("publish-tool-version", 422, path=here, json={**project, "project_path": ".."})
    assert walk.call("publish-tool-version", path=here, json=project) == {"new_version": "1.0.0"}
    versions = {"versions": ">=1,<2", "sort_by": ["-version.major"], "deprecated": False, "limit": 1}
    assert len(walk.call("get-tool-versions", path=here, query=versions)["tool_versions"]) == 1
    walk.call("get-tool-versions", 404, path=nowhere)

    sums = [samples.tool_input({"expression": "1 + 1"})]
    invoked = {**here, "version": "1.0.0"}
    assert walk.call("invoke-tool-version", path=invoked, json={"inputs": sums})["invocation_results"]
    walk.call("invoke-tool-version", 400, path=invoked, json={"inputs": [samples.tool_input({})]})
    walk.call("invoke-tool-version", 404, path={**here, "version": "2.0.0"}, json={"inputs": sums})
    walk.call("invoke-tool-version", 422, path=invoked, json={"inputs": []})
    test = samples.tool_test("calculator", {"expression": "1 + 1"})
    assert walk.call("test-tool", json=test)["invocation_results"]
    walk.call("test-tool", 400, json={**test, "inputs": [samples.tool_input({})]})
    walk.call("test-tool", 404, json={**test, "project_path": "absent"})

    calls = {"tool_id": [tool_id], "version": [">=1"], "succeeded": True, "sort_by": ["-created_at"], "limit": 0}
    assert walk.call("get-tool-invocations", query=calls)["tool_invocations"] == []
    walk.call("get-tool-invocations", 400, query={"tool_id": [tool_id], "version": [">=1", "<1"]})
    search = {"query": "sums", "query_against": ["invocation_status.output"], "tool_id": [tool_id]}
    assert walk.call("search-tool-invocations", query=search)["tool_invocations"] == []
    walk.call("search-tool-invocations", 422, query={"query": "sums"})
    assert walk.call("get-tool-scaffold-release")
    walk.call("get-tool-scaffold-release", 404, headers={"x-mongo-cluster-name": "nowhere"})

    walk.call("deprecate-tool-version", path={**here, "versions": "%3E%3D1"})
    walk.call("deprecate-tool-version", 404, path={**nowhere, "versions": "%3E%3D1"})


def tool_candidates() -> dict[str, Any]:
    """An action with a tool: there is none yet."""
    spec = {**samples.tool_spec(NOWHERE), "tool_name": "Barometer"}
    return {"type": "change-tool-candidates", "tool_call_specs": [spec], "overrides_existing_tool_call_specs": False}


def walk_conversations(walk: Walker, service_id: str) -> str:
    said: dict[str, Any] = {"initial_message": "Good evening.", "initial_message_type": "user-message"}
    body = {"service_id": service_id, **said, "tags": {"room": "blue", "empty": None}, "is_test": True}
    events = walk.call("create-conversation", query=TEXT, json=body)
    conversation_id = str(events[0]["conversation_id"])
    walk.call("create-conversation", 400, query=TEXT, json=body)
    walk.call("create-conversation", 404, query=TEXT, json={"service_id": NOWHERE})
    walk.call("create-conversation", 422, query={"response_format": "smoke"}, json=body)

    here, past = {"conversation_id": conversation_id}, datetime.now(UTC)
    prelude = {"external_event_message_content": ["It rains."], "external_event_message_timestamp": [past.isoformat()]}
    for form in (
        {"initial_message_type": ["user-message"], "recorded_message": ["Hello."], **prelude},
        {"initial_message_type": ["external-event"], "recorded_message": ["The rain stops."]},
        {"initial_message_type": ["skip"], "recorded_message": [""]},
    ):
        events = walk.call("interact-with-conversation", path=here, query=TEXTS, form=form)
        assert events[-1]["type"] == "interaction-complete", events[-1]
    form = {"initial_message_type": ["skip"], "recorded_message": ["Not empty."]}
    walk.call("interact-with-conversation", 422, path=here, query=TEXTS, form=form)
    form = {"initial_message_type": ["user-message"], "recorded_message": ["Hello."]}
    walk.call("interact-with-conversation", 404, path={"conversation_id": NOWHERE}, query=TEXTS, form=form)
    return conversation_id


def walk_voice(walk: Walker, service_id: str) -> None:
    """By a service whose agent has a voice."""
    interact = "interact-with-conversation"
    spoken = walk.call("create-conversation", query={"response_format": "voice"}, json={"service_id": service_id})
    here = {"conversation_id": str(spoken[0]["conversation_id"])}
    pieces = [event for event in spoken if event["type"] == "new-message"]
    assert any(piece["transcript_alignment"] for piece in pieces)

    sound = b"".join(base64.b64decode(piece["message"]) for piece in pieces)
    config = {"type": "pcm", "frame_rate": 24_000, "n_channels": 1, "sample_width": 2}
    query = {"request_format": "voice", "response_format": "voice", "request_audio_config": config}
    form: dict[str, Any] = {"initial_message_type": ["user-message"], "recorded_message": [sound]}
    heard = walk.call(interact, path=here, query=query, form=form)
    assert heard[0]["user_message"] == spoken[-1]["full_message"]
    source = walk.call("retrieve-message-source", path={**here, "message_id": heard[0]["message_id"]})
    assert source["content_type"] == "audio/wav"

    silence = {**form, "recorded_message": [bytes(48_000)]}
    walk.call(interact, 400, path=here, query=query, form=silence)
    walk.call(interact, 415, path=here, query={**query, "request_audio_config": {"type": "mp3"}}, form=form)
    walk.call(interact, 422, path=here, query={**query, "request_audio_config": {"type": "pcm"}}, form=form)


def walk_reading(walk: Walker, conversation_id: str) -> None:
    query = {"id": [conversation_id], "is_finished": False, "sort_by": ["-created_at"], "tag": ["room:blue"]}
    (conversation,) = walk.call("get-conversations", query=query)["conversations"]
    assert conversation["version_set_info"]["name"] == "release"
    walk.call("get-conversations", 422, query={"limit": 151})

    here = {"conversation_id": conversation_id}
    kinds = ["agent-message", "agent-inner-thought", "external-event", "user-message"]
    query = {"message_type": kinds, "sort_by": ["+created_at"], "limit": 500}
    messages = walk.call("get-conversation-messages", path=here, query=query)["messages"]
    assert {message["message_type"] for message in messages} >= {"agent-message", "external-event", "user-message"}
    walk.call("get-conversation-messages", 404, path={"conversation_id": NOWHERE})

    message, newest = messages[0]["id"], messages[-1]["interaction_id"]
    walk.call("retrieve-message-source", 400, path={**here, "message_id": message}, query={"long_lived": True})
    walk.call("retrieve-message-source", 404, path={**here, "message_id": NOWHERE})

    insights = walk.call("get-interaction-insights", path={**here, "interaction_id": newest})
    assert insights["current_state_name"]
    walk.call("get-interaction-insights", 404, path={**here, "interaction_id": NOWHERE})

    recommend = "recommend-responses-for-interaction"
    walk.call(recommend, path={**here, "interaction_id": newest})
    walk.call(recommend, path={**here, "interaction_id": newest}, json={"context": "A reader."})
    walk.call(recommend, 400, path={**here, "interaction_id": messages[0]["interaction_id"]})


def walk_admin(tertulia: Server, walk: Walker, conversation_id: str) -> None:
    models = walk.call("get-models")["models"]
    assert "openai_gpt-5.6-luna" in {model["name"] for model in models}
    walk.call("get-models", 401, client=tertulia.anonymous)
    with zipfile.ZipFile(
        io.BytesIO(walk.call("get-prompt-logs", query={"prompt_log_prefix": conversation_id}))
    ) as logs:
        assert {name.rpartition("-")[2] for name in logs.namelist()} == {"system", "history"}
    walk.call("get-prompt-logs", 404, query={"prompt_log_prefix": NOWHERE})
    walk.call("get-prompt-logs", 422)


def walk_to_the_end(walk: Walker, service_id: str, conversation_id: str) -> None:
    starters: dict[str, Any] = {
        "service_id": service_id,
        "service_version_set_name": "edge",
        "facets": ["books", "rain"],
        "min_count": 1,
        "max_count": 2,
        "generation_instructions": "Be short.",
    }
    walk.call("generate-conversation-starter", json=starters)
    walk.call("generate-conversation-starter", 404, json={**starters, "service_id": NOWHERE})
    walk.call("generate-conversation-starter", 422, json={**starters, "max_count": 11})

    here = {"conversation_id": conversation_id}
    tags = "modify-tags-of-conversation"
    walk.call(tags, path=here, json={"updates": {"room": "green", "new": None}, "deletes": ["empty"]})
    walk.call(tags, 400, path=here, json={"updates": {f"tag {n}": None for n in range(20)}, "deletes": []})
    walk.call(tags, 404, path={"conversation_id": NOWHERE}, json={"updates": {}, "deletes": []})

    walk.call("finish-conversation", path=here)
    walk.call("finish-conversation", 409, path=here)
    walk.call("finish-conversation", 404, path={"conversation_id": NOWHERE})


def walk_deletion(walk: Walker, service_id: str, agent_id: str, graph_id: str) -> None:
    delete = "delete-service-hierarchical-state-machine"
    walk.call("delete-agent", 400, path={"agent_id": agent_id})
    walk.call(delete, 400, path={"state_machine_id": graph_id})
    walk.call("update-service", path={"service_id": service_id}, json={"is_active": False})
    walk.call("delete-agent", path={"agent_id": agent_id})
    walk.call(delete, path={"state_machine_id": graph_id})
    walk.call("delete-agent", 404, path={"agent_id": NOWHERE})
    walk.call(delete, 404, path={"state_machine_id": NOWHERE})
