"""The contract's official client, unchanged, against this server: its own integration tests and what they leave out."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest
from amigo_sdk import AmigoClient, AsyncAmigoClient, errors
from amigo_sdk.generated import model as generated

from support import jobs, official, samples
from support.server import Serve, Server

SUITE = "tests/integration"

model: Any = generated
"""The client's models; their types would have every field given, those with a default too."""

PASSING = 40
"""The number of integration tests that the client has."""

PATIENCE_S = 240


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's source, with its tests."""
    try:
        return official.unpack(official.source(), tmp_path_factory.mktemp("official"))
    except official.Unavailable as error:
        pytest.skip(str(error))


def test_the_clients_own_integration_tests_pass(tertulia: Server, project: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"

    done = run_suite(project, suite_environment(tertulia, tmp_path), f"--junit-xml={report}")

    assert done.returncode == 0, done.stdout + done.stderr
    suite = ElementTree.parse(report).getroot()[0]  # noqa: S314 - our own pytest wrote it
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": PASSING, "failures": 0, "errors": 0, "skipped": 0}, done.stdout
    assert re.search(rf"\b{PASSING} passed in ", done.stdout), done.stdout


def run_suite(project: Path, variables: Mapping[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run the client's integration tests with its own conftest, but not its `addopts`: they deselect these tests."""
    chosen = ["-m", "integration", "-o", "addopts=", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *chosen, *options, SUITE],
        cwd=project,
        env=dict(variables),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def suite_environment(tertulia: Server, home: Path) -> dict[str, str]:
    """The client's settings, and little else: no proxy stands between it and the loopback."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    return kept | {
        "HOME": str(home),
        "AMIGO_API_KEY": tertulia.demo.api_key,
        "AMIGO_API_KEY_ID": tertulia.demo.api_key_id,
        "AMIGO_USER_ID": tertulia.demo.admin_user_id,
        "AMIGO_ORGANIZATION_ID": tertulia.demo.organization_id,
        "AMIGO_BASE_URL": tertulia.url,
        "AMIGO_TEST_SERVICE_ID": tertulia.demo.service_id,
    }


@pytest.fixture(scope="module")
def mapped(serve: Serve) -> Server:
    """A server on which the scripted model answers for the vendor's model that the version set below names."""
    return serve(model_names=("openai_gpt-5.6-luna=scripted",))


# --- What the client can do beside what its tests show ---------------------------------------------------------------


def options_of(tertulia: Server) -> dict[str, Any]:
    return {
        "api_key": tertulia.demo.api_key,
        "api_key_id": tertulia.demo.api_key_id,
        "user_id": tertulia.demo.admin_user_id,
        "organization_id": tertulia.demo.organization_id,
        "base_url": tertulia.url,
        "trust_env": False,
    }


VERSION_SET = model.ServiceUpsertServiceVersionSetRequest.model_validate(
    {
        "version_set": {
            "agent_version_number": 1,
            "service_hierarchical_state_machine_version_number": None,
            "llm_model_preferences": {"EngageUser": {"llm_name": "openai_gpt-5.6-luna", "params": {}}},
        }
    }
)
AGENT_VERSION = model.OrganizationCreateAgentVersionRequest.model_validate(samples.AGENT)
GRAPH_VERSION = model.OrganizationCreateServiceHierarchicalStateMachineVersionRequest.model_validate(
    samples.short_graph()
)
SHORTER = model.OrganizationCreateAgentVersionRequest.model_validate({"background": "Made again."})
TEXT = model.CreateConversationParametersQuery(response_format="text")


async def test_the_asynchronous_client_makes_a_service_and_talks_with_it(mapped: Server) -> None:
    async with AsyncAmigoClient(**options_of(mapped)) as client:
        agent = await client.agents.create(model.OrganizationCreateAgentRequest(agent_name=samples.a_name()))
        await client.agents.create_agent_version(agent.id, AGENT_VERSION)
        second = await client.agents.create_agent_version(agent.id, SHORTER, version=2)
        graph = await client.context_graphs.create(
            model.OrganizationCreateServiceHierarchicalStateMachineRequest(state_machine_name=samples.a_name())
        )
        await client.context_graphs.create_context_graph_version(graph.id, GRAPH_VERSION)
        service = await client.services.create(
            model.ServiceCreateServiceRequest.model_validate(samples.service(agent.id, graph.id))
        )
        await client.services.upsert_version_set(service.id, "test", VERSION_SET)
        events: list[Any] = [
            event.root
            async for event in await client.conversations.create_conversation(
                model.ConversationCreateConversationRequest(service_id=service.id, service_version_set_name="test"),
                TEXT,
            )
        ]
        created, complete = events[0], events[-1]
        insights = await client.conversations.get_interaction_insights(created.conversation_id, complete.interaction_id)
        found = await client.conversations.list(model.GetConversationsParametersQuery(id=[created.conversation_id]))

    assert second.version == 2
    assert insights.current_state_name == "start"
    info = found.conversations[0].version_set_info
    assert info is not None
    assert (info.name, info.agent_version_info) == ("test", (agent.id, 1))


def test_the_synchronous_client_reads_and_changes_what_there_is(tertulia: Server) -> None:
    agent_id, graph_id = (
        samples.make_agent(tertulia.as_admin, 2),
        samples.make_graph(tertulia.as_admin, samples.short_graph()),
    )
    body = model.ServiceCreateServiceRequest.model_validate(samples.service(agent_id, graph_id))
    with AmigoClient(**options_of(tertulia)) as client:
        service_id = client.services.create(body).id
        client.services.update_service(service_id, model.ServiceUpdateServiceRequest(description="Changed."))
        client.services.upsert_version_set(service_id, "test", VERSION_SET)
        client.services.delete_version_set(service_id, "test")
        service = client.services.list(model.GetServicesParametersQuery(id=[service_id])).services[0]
        agents = client.agents.list(model.GetAgentsParametersQuery(id=[agent_id]))
        versions = client.agents.get_agent_versions(
            agent_id, model.GetAgentVersionsParametersQuery(version="1-latest", sort_by=["-version"])
        )
        graphs = client.context_graphs.list(
            model.GetServiceHierarchicalStateMachinesParametersQuery(id=[graph_id], deprecated=False)
        )
        graph_versions = client.context_graphs.get_context_graph_versions(graph_id)
        with pytest.raises(errors.BadRequestError):
            client.agents.delete(agent_id)
        client.services.update_service(service_id, model.ServiceUpdateServiceRequest(is_active=False))
        client.agents.delete(agent_id)
        client.context_graphs.delete(graph_id)

    assert (service.description, set(service.version_sets)) == ("Changed.", {"edge", "release"})
    assert [agent.latest_version for agent in agents.agents] == [2]
    assert [version.version for version in versions.agent_versions] == [2, 1]
    assert [graph.latest_version for graph in graphs.service_hierarchical_state_machines] == [1]
    assert len(graph_versions.state_machine_versions) == 1


def test_the_synchronous_client_gets_conversation_starters(tertulia: Server) -> None:
    body = model.ConversationGenerateConversationStarterRequest(
        service_id=tertulia.demo.service_id,
        facets=["books", "evenings"],
        min_count=1,
        max_count=3,
        generation_instructions="Be short.",
    )

    with AmigoClient(**options_of(tertulia)) as client:
        starters = client.conversations.generate_conversation_starters(body)

    assert 1 <= len(starters.prompts) <= 3
    assert {facet for prompt in starters.prompts for facet in prompt.facets} <= {"books", "evenings"}


def test_the_clients_errors_say_what_the_server_said(tertulia: Server) -> None:
    with AmigoClient(**options_of(tertulia)) as client:
        with pytest.raises(errors.NotFoundError, match="There is no agent"):
            client.agents.get_agent_versions("0" * 24)
        with pytest.raises(errors.ValidationError):
            client.agents.get_agent_versions("not an id")


# --- What the client has types for, but no methods -------------------------------------------------------------------

BEHAVIORS = "/dynamic_behavior_set/"


def sent(body: Any) -> dict[str, Any]:
    """A request's body as the client writes it: without what is null."""
    return body.model_dump(mode="json", exclude_none=True, by_alias=True)


def make_behavior(client: httpx2.Client, service_id: str) -> str:
    body = samples.behavior(service_id, conversation_triggers=["A siren is heard."])
    request = model.DynamicBehaviorSetCreateDynamicBehaviorSetRequest.model_validate(body)
    answer = client.post(BEHAVIORS, json=sent(request))
    assert answer.status_code == 201, answer.text
    return model.DynamicBehaviorSetCreateDynamicBehaviorSetResponse.model_validate(
        answer.json()
    ).dynamic_behavior_set_id


async def test_the_client_reads_a_conversation_with_behaviours(tertulia: Server, as_admin: httpx2.Client) -> None:
    service_id = samples.make_service(as_admin)
    set_id = make_behavior(as_admin, service_id)
    request = model.ConversationCreateConversationRequest(
        service_id=service_id, initial_message="A siren!", initial_message_type="user-message"
    )
    async with AsyncAmigoClient(**options_of(tertulia)) as client:
        query = model.CreateConversationParametersQuery(response_format="text")
        events: list[Any] = [
            event.root async for event in await client.conversations.create_conversation(request, query)
        ]
        insights: Any = await client.conversations.get_interaction_insights(
            events[0].conversation_id, events[-1].interaction_id
        )
    answer = as_admin.get(f"{BEHAVIORS}{set_id}/invocation/")
    page = model.DynamicBehaviorSetGetDynamicBehaviorInvocationsResponse.model_validate(answer.json())

    assert insights.triggered_dynamic_behavior_set_version_info.root == (set_id, 1)
    assert [made.conversation_id for made in page.dynamic_behavior_invocations] == [events[0].conversation_id]


def test_the_clients_types_read_sets_and_versions(as_admin: httpx2.Client) -> None:
    set_id = make_behavior(as_admin, samples.make_service(as_admin))
    change = model.DynamicBehaviorSetUpdateDynamicBehaviorSetRequest(is_active=False)
    as_admin.post(f"{BEHAVIORS}{set_id}/", json=sent(change)).raise_for_status()
    version = model.DynamicBehaviorSetCreateDynamicBehaviorSetVersionRequest.model_validate(
        {"conversation_triggers": ["It rings."], "actions": [samples.instruction()]}
    )
    made = as_admin.post(f"{BEHAVIORS}{set_id}/version/", json=sent(version))

    listed = as_admin.get(BEHAVIORS, params={"id": set_id})
    found = as_admin.get(f"{BEHAVIORS}search", params={"query": "rings"})
    versions = as_admin.get(f"{BEHAVIORS}{set_id}/version/")

    number = model.DynamicBehaviorSetCreateDynamicBehaviorSetVersionResponse.model_validate(made.json())
    sets = model.DynamicBehaviorSetGetDynamicBehaviorSetsResponse.model_validate(listed.json())
    best = model.DynamicBehaviorSetSearchDynamicBehaviorSetsResponse.model_validate(found.json())
    page = model.DynamicBehaviorSetGetDynamicBehaviorSetVersionsResponse.model_validate(versions.json())
    assert number.new_version_number == 2
    assert [each.is_active for each in sets.dynamic_behavior_sets] == [False]
    assert [each.id for each in best.dynamic_behavior_sets] == [set_id]
    assert [each.version for each in page.dynamic_behavior_set_versions] == [1, 2]


def test_the_client_reads_memories_and_models_of_a_user(tertulia: Server, as_admin: httpx2.Client) -> None:
    dimension = {"description": "Where they live in Berlin", "tags": ["home"]}
    change = model.OrganizationModifyOrganizationRequest.model_validate({"user_dimensions": [dimension]})
    as_admin.post("/organization/", json=sent(change)).raise_for_status()
    request = model.ConversationCreateConversationRequest(
        service_id=samples.make_service(as_admin),
        initial_message="I live in Berlin.",
        initial_message_type="user-message",
    )
    with AmigoClient(**options_of(tertulia)) as client:
        query = model.CreateConversationParametersQuery(response_format="text")
        events: list[Any] = [event.root for event in client.conversations.create_conversation(request, query)]
        client.conversations.finish_conversation(events[0].conversation_id)
        jobs.wait_until_done(tertulia)
        models = client.users.get_user_model(tertulia.demo.admin_user_id)
        listed = client.conversations.list(model.GetConversationsParametersQuery(id=[events[0].conversation_id]))
    answer = as_admin.get(f"/user/{tertulia.demo.admin_user_id}/memory", params={"limit": 1})
    page = model.UserGetMemoriesResponse.model_validate(answer.json())

    assert [found.content for found in page.memories] == ["I live in Berlin."]
    assert [(found.content, found.insight_ids) for found in models.user_models] == [
        ("I live in Berlin.", [page.memories[0].id])
    ]
    assert listed.conversations[0].is_analyzed is True
