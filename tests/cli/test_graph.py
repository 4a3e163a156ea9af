"""`tertulia graph`: what is wrong with a graph in a file, and a picture of it."""

import json
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings

from support.commands import run_here
from support.random_graphs import old_graphs, parsed
from support.samples import action, annotation, decision, graph, recall, reflection, short_graph
from tertulia.cli.diagram import diagram_of
from tertulia.cli.layout import lay_out
from tertulia.engine.graph.context_graph import ContextGraph

EXAMPLES = Path(__file__).parents[2] / "examples" / "agents"

GRAPHS = sorted([*EXAMPLES.glob("*/graph.yaml"), *EXAMPLES.glob("*/graphs/*.yaml")])

DESK = """\
description: A desk.
states:
  - name: desk
    objective: Help.
    actions: [Ask.]
    exit_conditions:
      - {description: They leave., next_state: bye}
  - name: bye
    objective: Part.
    actions: [Say goodbye.]
"""


def run(*arguments: object) -> tuple[int, str, str]:
    done = run_here(["graph", *map(str, arguments)], "", {})
    return done.returncode, done.stdout, done.stderr


def texts_of(svg: Path) -> set[str]:
    return set(ElementTree.parse(svg).getroot().itertext())  # noqa: S314 - it is our own


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "graph.yaml"


# --- Checked ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_the_graphs_of_the_examples_are_in_order(path: Path) -> None:
    assert run("check", path) == (0, "", "The graph is in order.\n")


@pytest.mark.parametrize(
    ("right", "wrong", "place", "text"),
    [
        ("next_state: bye", "next_state: by", "7:36", "There is no state by."),
        ("next_state: bye", "next_state: desk", "7:36", "desk cannot lead to itself."),
        ("objective: Help.", "objectiv: Help.", "4:5", "The field objectiv is not known. Is objective meant?"),
        ("name: desk", "name: the desk", "3:5", "This must match the pattern ^[A-Za-z0-9_]+$"),
        ("actions: [Ask.]", "actions: []", "5:5", "This must have at least one item."),
        ("    actions: [Ask.]\n", "    actions: [Ask.]\n    mood: good\n", "6:5", "The field mood is not known."),
        ("actions: [Say goodbye.]", "actions: [Say goodbye.", "11:1", ""),
        ("states:\n", "states:\n  - {type: dream, name: x}\n", "3:5", ""),
        ("    objective: Help.", "\tobjective: Help.", "4:1", "A tab stands here"),
        ("objective: Help.", "objective: 7", "4:5", "This must be text."),
        ("objective: Help.", "objective: Help.\n    objective: Ask.", "5:5", "The key objective stands here twice."),
        ("name: bye", "name: desk", "8:5", "Another state is named desk too."),
        ("  - name: bye", "  - null\n  - name: bye", "8:5", "The field 'type' must be one of"),
        ("description: A", "terminal_state: desk\ndescription: A", "1:1", "it cannot have exit conditions."),
        ("[Say goodbye.]", "[Wave., Say goodbye.]", "1:1", "it must have exactly one action."),
        ("description: A", "new_user_initial_state: nobody\ndescription: A", "1:1", "There is no state nobody."),
        ("next_state: bye", "next_state: [other.start, bye]", "7:36", "There is no reference other."),
        ("states:\n", "references: {other: none.yaml}\nstates:\n", "2:14", "There is no file none.yaml."),
        *[
            ("  - name: bye", f"  - {{name: x, next_state: bye, {fields}}}\n  - name: bye", place, text)
            for fields, place, text in [
                ("type: recall", "8:5", "either queries or requested_information"),
                ("type: recall, queries: [a], requested_information: b", "8:60", "either queries or requested"),
                ("type: reflection, problem: p, word_limit: 0", "8:62", "This must be greater than 0."),
                ("type: annotation", "8:5", "The field inner_thought is required."),
            ]
        ],
        *[
            ("  - name: bye", f"  - {{name: x, type: decision, objective: o, {fields}}}\n  - name: bye", "8:45", text)
            for fields, text in [
                ("exit_conditions: []", "A decision state needs at least one exit condition."),
                ("audio_filler_triggered_after: 11, exit_conditions: []", "This must be at most 10.0."),
                ("audio_fillers: [a, b, c, d, e, f], exit_conditions: []", "This must have at most 5 items."),
            ]
        ],
    ],
)
def test_a_mistake_has_its_line_and_column(file: Path, right: str, wrong: str, place: str, text: str) -> None:
    assert right in DESK
    file.write_text(DESK.replace(right, wrong))
    status, printed, _ = run("check", file)
    assert status == 1
    assert f"{file}:{place}: " in printed
    assert text in printed


def test_a_wrong_name_is_told_once_where_it_stands(file: Path) -> None:
    file.write_text(DESK.replace("name: desk", "name: d\u0435sk"))
    assert run("check", file)[1] == f"{file}:3:5: This must match the pattern ^[A-Za-z0-9_]+$\n"
    file.write_text(f"{DESK}new_user_initial_state: nobody\n")
    assert run("check", file)[1] == f"{file}:11:1: There is no state nobody.\n"


def test_states_that_nothing_leads_to_and_circles_are_found(file: Path) -> None:
    lost = "  - {name: lost, type: annotation, inner_thought: Hm., next_state: bye}\n  - name: bye\n"
    file.write_text(DESK.replace("  - name: bye\n", lost))
    assert run("check", file)[:2] == (1, f"{file}:8:5: Nothing leads from the initial states to lost.\n")
    circle = lost.replace("next_state: bye", "next_state: more") + "    type: action\n"
    more = "  - {name: more, type: annotation, inner_thought: Hm., next_state: lost}\n"
    file.write_text(DESK.replace("  - name: bye\n", more + circle))
    status, printed, _ = run("check", file)
    assert status == 1
    assert "There is no action state in this circle" in printed


def test_json_is_checked_like_yaml(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(short_graph(annotation("lost", "nowhere")), indent=2))
    status, printed, _ = run("check", file)
    assert status == 1
    line = file.read_text().splitlines().index('      "next_state": "nowhere"') + 1
    assert f"{file}:{line}:7: There is no state nowhere." in printed


def test_tabs_indent_json(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(short_graph(), indent="\t"))
    assert run("check", file)[0] == 0


def test_a_graph_is_checked_with_those_that_it_refers_to(file: Path) -> None:
    other = file.with_name("other.yaml")
    other.write_text(DESK)
    text = DESK.replace("next_state: bye", "next_state: [other.attic, bye]") + "references: {other: other.yaml}\n"
    file.write_text(text)
    assert run("check", file)[:2] == (1, f"{file}:7:36: The graph other has no state attic.\n")
    file.write_text(text.replace("other.yaml", "another.yaml"))
    assert run("check", file)[:2] == (1, f"{file}:11:14: There is no file another.yaml.\n")


def test_graphs_that_refer_to_each_other_are_read_once(tmp_path: Path) -> None:
    body = "description: d\nstates: [{name: a, objective: o, actions: [x]}]\nreferences: {other: ../graphs/%s.yaml}\n"
    (tmp_path / "graphs").mkdir()
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / "graphs" / f"{name}.yaml").write_text(body % other, "utf-8")
    assert run("check", tmp_path / "graphs" / "a.yaml")[2] == "The graph is in order.\n"


LAUGHTER = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{name}'] * 9)}]\n" for name, after in pairwise("abcdefgh")
)
FIELDS = "The file has fields, one a line: `name: value`."
ODD_FILES: dict[str, tuple[str, bytes, int, int, str]] = {
    "empty": ("graph.yaml", b"", 1, 1, FIELDS),
    "a list at the top": ("graph.yaml", b"- a\n- b\n", 1, 1, FIELDS),
    "a tab": ("graph.yaml", b"states:\n\t- name: a\n", 2, 1, "A tab stands here; YAML is indented by spaces."),
    "a key twice": ("graph.yaml", DESK.encode() + b"description: b\n", 11, 1, "The key description stands here twice."),
    "200 lists": ("graph.yaml", b"states: " + b"[" * 200 + b"]" * 200, 1, 109, "Values are nested more than 100 deep."),
    "values of many": ("graph.yaml", LAUGHTER.encode(), 1, 32, "The file has more than 200000 values."),
    "a value within itself": ("graph.yaml", b"a: &a\n  b: *a\n", 1, 4, "Values are nested more than 100 deep."),
    "bytes": ("graph.yaml", b"\x80\xff\0\1", 1, 1, "The file is not UTF-8."),
    "UTF-16": ("graph.yaml", DESK.encode("utf-16"), 1, 1, "The file is not UTF-8."),
    "Latin letters of old": ("graph.yaml", "description: caf\xe9\n".encode("latin-1"), 1, 17, "The file is not UTF-8."),
    "JSON with comments": ("graph.json", b'// A desk\n{"states": []}', 1, 1, "This is no JSON: expecting value."),
    "JSON and more": ("graph.json", b'{"states": []} x', 1, 16, "This is no JSON: extra data."),
    "JSON without an end": ("graph.json", b'{\n  "states": [', 2, 14, "This is no JSON: expecting value."),
    "digits without end": ("graph.json", b'{"a": ' + b"9" * 5000 + b"}", 1, 7, "This value is not of its type."),
    "5,000 lists in JSON": ("graph.json", b"[" * 5000 + b"]" * 5000, 1, 1, "The file is nested too deeply."),
}


@pytest.mark.parametrize(("name", "body", "line", "column", "told"), ODD_FILES.values(), ids=ODD_FILES.keys())
def test_an_odd_file_is_refused_where_it_is_odd(
    tmp_path: Path, name: str, body: bytes, line: int, column: int, told: str
) -> None:
    (tmp_path / name).write_bytes(body)
    text = f"{tmp_path / name}:{line}:{column}: {told}\n"
    assert run("check", tmp_path / name)[:2] == (1, text)
    assert run("draw", tmp_path / name) == (1, "", f"tertulia: {text}")


@pytest.mark.parametrize("written", [DESK.replace("\n", "\r\n"), f"\ufeff{DESK}", DESK.replace("[Ask.]", "&a [Ask.]")])
def test_ends_of_lines_marks_of_order_and_anchors_are_no_mistakes(file: Path, written: str) -> None:
    file.write_bytes(written.encode())
    assert run("check", file) == (0, "", "The graph is in order.\n")
    assert run("draw", file)[1].startswith("flowchart TD")


def test_what_is_no_file_or_may_not_be_read_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("check", tmp_path)[:2] == (1, f"{tmp_path}:1:1: This is no file.\n")
    file = tmp_path / "graph.yaml"
    file.write_text(DESK)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert run("check", file)[:2] == (1, f"{file}:1:1: Permission denied\n")


def test_a_file_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    status, printed, _ = run("check", tmp_path / "none.yaml")
    assert (status, printed) == (1, f"{tmp_path / 'none.yaml'}:1:1: There is no such file.\n")
    assert run("draw", tmp_path / "none.yaml")[0] == 1


# --- Drawn -----------------------------------------------------------------------------------------------------------


def every_kind() -> dict[str, Any]:
    return graph(
        action("start", "remember", "end"),
        recall("remember", "note", "What?"),
        annotation("note", "weigh"),
        reflection("weigh", "choice"),
        decision("choice", ["inner.start", "start"], "end"),
        action("end"),
        references={"inner": ["b" * 24, 1]},
    )


def test_mermaid_has_every_state_and_every_way(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(every_kind()))
    status, printed, _ = run("draw", file)
    assert status == 0
    assert printed.startswith("flowchart TD\n")
    for line in ('s0["start"]', 's1[("remember")]', 's4{{"choice"}}', 's6[/"inner.start"/]', "s1 --> s2", "s6 -.-> s0"):
        assert f"  {line}" in printed
    assert '  s4 -->|"To end"| s5\n' in printed


def test_texts_that_mermaid_and_svg_would_read_as_their_own_are_escaped(tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    odd = 'Say "<b>&|]" now'
    exits = [{"description": odd, "next_state": "end"}]
    file.write_text(json.dumps(graph(action("start", exit_conditions=exits), action("end"))))
    assert "#quot;&lt;b&gt;&amp;|]#quot;" in run("draw", file)[1]
    out = tmp_path / "graph.svg"
    assert run("draw", file, "--out", out)[0] == 0
    assert odd in texts_of(out)


def test_a_picture_is_svg_that_names_every_state(tmp_path: Path) -> None:
    file, out = tmp_path / "graph.json", tmp_path / "graph.svg"
    file.write_text(json.dumps(every_kind()))
    assert run("draw", file, "--out", out) == (0, "", "")
    assert {"start", "remember", "note", "weigh", "choice", "end", "inner.start"} <= texts_of(out)


def test_another_ending_is_refused(tmp_path: Path, file: Path) -> None:
    file.write_text(DESK)
    assert run("draw", file, "--out", tmp_path / "graph.png")[0] == 2


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(old_graphs())
def test_no_two_boxes_or_labels_of_a_picture_overlap(made: ContextGraph) -> None:
    diagram = diagram_of(made)
    arrows = [(arrow.source, arrow.target, (150.0, 30.0)) for arrow in diagram.arrows]
    layout = lay_out({box.name: (100.0, 40.0) for box in diagram.boxes}, arrows)
    for one, other in combinations([*layout.boxes.values(), *layout.labels], 2):
        beside = abs(one.x - other.x) >= (one.width + other.width) / 2 - 0.01
        below = abs(one.y - other.y) >= (one.height + other.height) / 2 - 0.01
        assert beside or below
    for way, (source, target, _size) in zip(layout.lines, arrows, strict=True):
        assert (way[0], way[-1]) == (layout.boxes[source], layout.boxes[target])


def test_a_circle_of_states_has_one_way_that_leads_up() -> None:
    made = parsed(action("start", "a"), action("a", "b"), action("b", "start", "end"), action("end"))
    diagram = diagram_of(made)
    layout = lay_out(
        {box.name: (90.0, 40.0) for box in diagram.boxes}, [(a.source, a.target, (0.0, 0.0)) for a in diagram.arrows]
    )
    up = [(a.source, a.target) for a, way in zip(diagram.arrows, layout.lines, strict=True) if way[0].y > way[-1].y]
    assert up == [("b", "start")]
