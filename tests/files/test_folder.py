"""A folder with an agent is complete with its defaults, and its mistakes are told with file, line and column."""

from pathlib import Path

import pytest

from support.pages import ROOT
from tertulia.files.folder import WrongFile, load

FILES = {
    "agent.yaml": "identity: {name: Gretel Green, role: a greeter}\n",
    "graph.yaml": """description: Greets.
states:
  - name: hall
    objective: Be kind.
    actions: [Greet.]
    exit_conditions: [{description: They leave., next_state: door}]
  - {name: door, objective: Part., actions: [Say goodbye.]}
""",
    "service.yaml": "name: Greeter\n",
    "conversations/short.yaml": "turns: [{user: Hello, state: hall}]\n",
}


def folder_of(tmp_path: Path, **changes: str) -> Path:
    """Write a folder, with other texts for the files whose first words are named. Return it."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(changes.get(name.split(".")[0].split("/")[-1], text), "utf-8")
    return tmp_path


def problems(folder: Path) -> list[str]:
    """Load a folder that is wrong. Return its problems, with paths that begin in it."""
    with pytest.raises(WrongFile) as error:
        load(folder)
    return [str(problem).removeprefix(f"{folder}/") for problem in error.value.problems]


def test_what_nobody_needs_to_write_has_a_default(tmp_path: Path) -> None:
    loaded = load(folder_of(tmp_path))
    assert loaded.agent["initials"] == "GG"
    assert loaded.agent["identity"]["default_spoken_language"] == "eng"
    assert loaded.graph.body["new_user_initial_state"] == "hall"
    assert loaded.graph.body["terminal_state"] == "door"
    assert loaded.graph.body["states"][0]["type"] == "action"
    assert loaded.service["is_active"] is True
    assert loaded.conversations["short"].turns[0].state == "hall"


def test_a_state_that_is_not_there_is_told_at_its_place(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, graph=FILES["graph.yaml"].replace("next_state: door", "next_state: dor"))
    assert problems(folder) == ["graph.yaml:6:50: There is no state dor."]


def test_a_misspelt_field_is_told_at_its_place(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        graph=FILES["graph.yaml"].replace("    objective: Be kind.\n", "    objective: Be kind.\n    gidelines: []\n"),
    )
    assert problems(folder) == ["graph.yaml:5:5: The field gidelines is not known. Is action_guidelines meant?"]


def test_a_missing_field_is_told_where_it_belongs(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, graph=FILES["graph.yaml"].replace("    objective: Be kind.\n", ""))
    assert problems(folder) == ["graph.yaml:3:5: The field objective is required."]


@pytest.mark.parametrize("text", ["[]", "identity: 1", "identity: {name: A, role: b, relationship_to_developer: c}"])
def test_a_value_of_another_kind_is_told(tmp_path: Path, text: str) -> None:
    (problem,) = problems(folder_of(tmp_path, agent=text))
    assert problem.startswith("agent.yaml:1:")


@pytest.mark.parametrize("states", ["1", "[1]", "[[]]", "[{name: 1}]", "[{type: [], name: a}]", "[{name: {}}]"])
def test_states_of_another_kind_are_told(tmp_path: Path, states: str) -> None:
    assert problems(folder_of(tmp_path, graph=f"description: d\nstates: {states}\n"))


def test_the_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, service="descripton: x\n", short="turns: [{state: hall}]\n")
    (folder / "agent.yaml").unlink()
    assert [problem.split(":")[0] for problem in problems(folder)] == [
        "agent.yaml",
        "service.yaml",
        "conversations/short.yaml",
    ]


def test_a_reference_without_a_file_is_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, graph=FILES["graph.yaml"] + "references:\n  taxi: graphs/taxi.yaml\n")
    assert problems(folder) == [
        "graph.yaml:9:3: There is no file graphs/taxi.yaml in the folder: write graphs/NAME.yaml."
    ]


def test_a_referenced_graph_with_a_mistake_is_told_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, graph=FILES["graph.yaml"] + "references:\n  taxi: graphs/taxi.yaml\n")
    (folder / "graphs").mkdir()
    (folder / "graphs" / "taxi.yaml").write_text("[]", "utf-8")
    assert problems(folder) == ["graphs/taxi.yaml:1:1: The file has fields, one a line: `name: value`."]


def test_a_greeter_takes_five_lines() -> None:
    graph = ROOT / "examples" / "agents" / "greeter" / "graph.yaml"
    assert len(graph.read_text("utf-8").splitlines()) <= 5
