"""`tertulia pull` writes what the server has: applied again, it changes nothing."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console

from support import samples
from support.random_graphs import OTHER, ROOT, accepted_pairs
from support.server import Server
from support.toolbox import BROKEN, WEATHER
from tertulia.cli import apply, pull
from tertulia.cli.client import Session, sign_in
from tertulia.cli.library import Library
from tertulia.engine.graph.context_graph import ContextGraph, Graphs
from tertulia.files.compact import graph_value
from tertulia.files.document import parse
from tertulia.files.folder import graph_of
from tertulia.files.tool_uses import change_uses
from tertulia.files.writing import to_yaml

LETTERS = st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t")
TEXTS = st.one_of(
    st.sampled_from(["no", "1e3", "~", "- a", "a: b # c", "a\n  b\n\nc", "'", '"', "2020-01-01", "0x1F", "x\u2028y"]),
    st.text(LETTERS, min_size=1, max_size=40),
).filter(lambda text: text.strip() != "")
WORDS = st.text("abc XYZ_09äß", min_size=1, max_size=9).map(str.strip).filter(bool)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "description": TEXTS,
        "is_active": st.booleans(),
        "keyterms": st.lists(st.sampled_from(["pizza", "yes", "no", "thin crust"]), max_size=3),
        "tags": st.dictionaries(WORDS, st.none() | WORDS, max_size=3),
        "result_schema": st.just({"type": "object", "properties": {"no": {"type": "string", "description": "1e3"}}}),
    },
)
AGENTS = st.fixed_dictionaries(
    {},
    optional={
        "initials": st.text("ABÄ1", min_size=1, max_size=3),
        "background": TEXTS,
        "behaviors": st.lists(TEXTS, max_size=3),
        "communication_patterns": st.lists(TEXTS, max_size=2),
        "voice_config": st.just({"voice_id": "default"}),
        "identity": st.fixed_dictionaries(
            {
                **dict.fromkeys(("name", "role", "developed_by"), TEXTS),
                "default_spoken_language": st.sampled_from(["eng", "deu", "spa"]),
                "relationship_to_developer": st.fixed_dictionaries(
                    dict.fromkeys(("ownership", "type", "conversation_visibility", "thought_visibility"), TEXTS)
                ),
            }
        ),
    },
)
BEHAVIORS = st.lists(
    st.fixed_dictionaries(
        {"name": TEXTS.map(str.strip), "conversation_triggers": st.lists(TEXTS, min_size=1, max_size=2)},
        optional={"is_active": st.booleans(), "tags": st.dictionaries(WORDS, WORDS, max_size=2)},
    ),
    max_size=3,
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
VALUES = st.recursive(
    SCALARS | TEXTS | KEYS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
@settings(max_examples=80, deadline=None)
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    assert parse(Path(), to_yaml(value).encode()).value == value


@given(accepted_pairs())
@settings(max_examples=25, deadline=None)
def test_a_graph_that_is_shortened_is_read_as_the_same(graphs: Graphs) -> None:
    for graph in graphs.values():
        body = graph.model_dump(mode="json")
        text = to_yaml(graph_value(body, body["references"], "Desk", "Desk"))
        assert graph_of(parse(Path("graph.yaml"), text.encode())).body == body


@pytest.fixture(scope="module")
def tools(tertulia: Server) -> dict[str, str]:
    """The identifiers of the tools that random graphs use, by those that the graphs have."""
    made: dict[str, str] = {}
    for number, tool_id in enumerate((WEATHER, BROKEN)):
        body = {"name": f"random_{number}", "description": "A tool of the tests.", "tags": {}}
        made[tool_id] = tertulia.as_admin.post("/tool/", json=body).raise_for_status().json()["id"]
    return made


@pytest.fixture(scope="module")
def session(tertulia: Server) -> Session:
    demo = tertulia.demo
    return sign_in(tertulia.url, demo.organization_id, demo.admin_user_id, demo.api_key_id, demo.api_key)


def with_tools(graph: ContextGraph, tools: dict[str, str]) -> ContextGraph:
    """Have a graph use tools that are on the server. Return it."""
    body = graph.model_dump(mode="json")
    return ContextGraph.model_validate(change_uses(body, lambda use: {**use, "tool_id": tools[use["tool_id"]]}))


def candidates(tools: dict[str, str]) -> samples.Json:
    """Describe an action that gives an agent two tools, one by its own name and one by another. Return its body."""
    by_name = {**samples.tool_spec(tools[WEATHER]), "tool_name": "random_0"}
    by_another = {**samples.tool_spec(tools[BROKEN]), "tool_name": "another name"}
    specs = [by_name, by_another]
    return {"type": "change-tool-candidates", "tool_call_specs": specs, "overrides_existing_tool_call_specs": False}


def make(server: Server, graphs: Graphs, fields: dict[str, Any], agent: dict[str, Any], sets: Any) -> str:
    """Make a service over the API. Return its identifier."""
    client = server.as_admin
    bodies = {key: graph.model_dump(mode="json") for key, graph in graphs.items()}
    other = samples.make_graph(client, bodies[OTHER])
    references = {key: [other, 1] for key in bodies[ROOT]["references"]}
    graph = samples.make_graph(client, {**bodies[ROOT], "references": references})
    service = samples.make_service(client, agent_id=samples.make_agent(client, **agent), graph_id=graph, **fields)
    for each in sets:
        own = {"name": each["name"] if each.get("is_active") is False else f"{each['name']} {samples.a_name()}"}
        samples.make_behavior(client, service, **{**each, **own})  # an active one has a name of its own
    return service


def pulled(session: Session, service_id: str, folder: Path) -> list[str]:
    """Pull a service, and plan to apply it. Return what would change."""
    console = Console(quiet=True)
    pull.run(console, session, service_id, folder, release=False, yes=True)
    plan, _server = apply.plan_of(Library(session.api), apply.read_folder(folder), release=False)
    return [f"{step.kind} {step.diff()}" for step in plan.steps]


@given(accepted_pairs(), FIELDS, AGENTS, BEHAVIORS)
@settings(
    max_examples=10,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_pull_that_is_applied_changes_nothing(
    tertulia: Server,
    session: Session,
    tools: dict[str, str],
    graphs: Graphs,
    fields: dict[str, Any],
    agent: dict[str, Any],
    sets: Any,
) -> None:
    known = {key: with_tools(graph, tools) for key, graph in graphs.items()}
    called = [{**each, "actions": [candidates(tools)]} for each in sets]
    service_id = make(tertulia, known, fields, agent, called)
    with tempfile.TemporaryDirectory() as folder:
        assert pulled(session, service_id, Path(folder)) == []


def test_a_reference_to_an_older_version_stays_one(tertulia: Server, session: Session, tmp_path: Path) -> None:
    client = tertulia.as_admin
    other = samples.make_graph(client, samples.short_graph(), samples.short_graph(description="Newer."))
    body = samples.short_graph(references={"old": [other, 1], "new": [other, 2]})
    graph = samples.make_graph(client, body)
    itself = {**body, "references": {**body["references"], "before": [graph, 1]}}
    assert client.post(f"{samples.GRAPHS}/{graph}/", json=itself).status_code == 201
    assert pulled(session, samples.make_service(client, graph_id=graph), tmp_path) == []
    assert [path.name for path in (tmp_path / "graphs").iterdir()] == ["new.yaml"]


def test_what_other_services_share_is_told(tertulia: Server, session: Session, tmp_path: Path) -> None:
    agent = samples.make_agent(tertulia.as_admin)
    first, second = (samples.make_service(tertulia.as_admin, agent_id=agent) for _ in range(2))
    assert pulled(session, first, tmp_path) == []
    path = tmp_path / "agent.yaml"
    path.write_text(path.read_text("utf-8").replace("a host of tests", "a host"), "utf-8")
    plan, server = apply.plan_of(Library(session.api), apply.read_folder(tmp_path), release=False)
    assert [step.kind for step in plan.steps] == ["agent"]
    (name,) = [service.name for service in server.services if service.id == second]
    assert any(f"is used by {name} too" in note for note in plan.notes)
    assert any("follows the latest" in note for note in plan.notes)
