"""An agent's folder that brings tools with it: applied, pulled, tested."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.commands import Command, Process
from support.pages import ROOT
from tertulia.cli.watch import signature

EXAMPLE = ROOT / "examples" / "agents" / "paint-shop"
RATES: dict[str, Any] = {
    "name": "rates",
    "description": "Tells the rates.",
    "definition": {
        "url": "https://rates.example/v1/{base}",
        "parameters": [{"name": "base", "in": "path"}, {"name": "X-Key", "in": "header", "variable": "RATES_KEY"}],
    },
    "input_schema": {"type": "object", "properties": {"base": {"type": "string"}}},
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(command: Command, shared: Path, server: Process) -> Run:
    """Runs `tertulia` against the module's server."""

    def run_there(*arguments: object) -> tuple[int, str, str]:
        done = command(*arguments, "--data", shared, "--url", server.url, COLUMNS="80")
        return done.returncode, done.stdout, done.stderr

    return run_there


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with an agent and a tool that nobody else has."""
    path = tmp_path / "shop"
    shutil.copytree(EXAMPLE, path)
    name = re.sub("[^a-z]+", "_", f"paint_{request.node.name}")[:60].rstrip("_")
    (path / "tools" / "paint_needed").rename(path / "tools" / name)
    for file in (path / "tools" / name / "tool.toml", path / "graph.yaml", *(path / "conversations").iterdir()):
        edit(file, "paint_needed", name)
    edit(path / "service.yaml", "Paint shop", f"Shop {name}")
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def tool_of(folder: Path) -> Path:
    """Find the one project in a folder. Return its path."""
    (path,) = (folder / "tools").glob("paint_*")
    return path


def test_a_tool_is_published_with_its_agent_and_again_only_if_it_differs(run: Run, folder: Path) -> None:
    tool = tool_of(folder)
    status, shown, told = run("apply", folder, "--yes")
    assert (status, told) == (0, "")
    assert f"+ new tool {tool.name}, version 1.0.0" in shown
    assert run("apply", folder, "--yes")[1].startswith("Nothing changes: ")
    (tool / "__pycache__").mkdir()
    (tool / "__pycache__" / "tool.pyc").write_bytes(b"x")
    assert run("apply", folder, "--yes")[1].startswith("Nothing changes: ")
    for number, retired in ((1, None), (2, None), (3, "1.0.0")):
        edit(tool / "tool.py", f"COATS = {number + 1}", f"COATS = {number + 2}")
        shown = " ".join(run("apply", folder, "--yes")[1].split())
        assert f"~ tool {tool.name}, version 1.{number}.0" in shown
        assert "calls it at once" in shown
        assert ("is taken out of use" in shown, "1.0.0 is taken" in shown) == (retired is not None,) * 2
        assert run("apply", folder, "--yes")[1].startswith("Nothing changes: ")


def test_a_description_alone_is_changed_without_a_version(run: Run, folder: Path) -> None:
    path = folder / "tools" / "rates.json"
    plain = {**RATES, "definition": {"url": "https://rates.example/v1/all"}}
    path.write_text(json.dumps({**plain, "name": "rates"}), "utf-8")
    assert "+ new tool rates, version 1.0.0" in run("apply", folder, "--yes")[1]
    path.write_text(json.dumps({**plain, "description": "Tells all rates."}, indent=3), "utf-8")
    shown = run("apply", folder, "--yes")[1]
    assert "~ tool rates\n" in shown
    assert run("apply", folder, "--yes")[1].startswith("Nothing changes: ")


def test_a_pull_names_tools_and_changes_nothing_when_it_is_applied(run: Run, folder: Path, tmp_path: Path) -> None:
    name = tool_of(folder).name
    (folder / "behaviors").mkdir()
    (folder / "behaviors" / "walls.yaml").write_text(
        "conversation_triggers: [Walls.]\n"
        f"actions: [{{type: change-tool-candidates, tool_call_specs: [{{tool: {name}}}]}}]\n",
        "utf-8",
    )
    assert run("apply", folder, "--yes")[::2] == (0, "")
    again = tmp_path / "again"
    assert run("pull", f"Shop {name}", again)[0] == 0
    assert f"- tool: {name}\n" in (again / "graph.yaml").read_text("utf-8")
    assert f"- tool: {name}\n" in (again / "behaviors" / "walls.yaml").read_text("utf-8")
    assert "tool_id" not in (again / "graph.yaml").read_text("utf-8")
    assert run("apply", again, "--plan")[1].startswith("Nothing changes: ")
    assert run("pull", f"Shop {name}", folder)[1].startswith("Nothing changes: ")


def test_every_wrong_tool_is_told_with_its_file(run: Run, folder: Path) -> None:
    name = tool_of(folder).name
    tools = folder / "tools"
    (tools / "empty").mkdir()
    shutil.copytree(tools / name, tools / "other")
    shutil.copytree(tools / name, tools / "linked")
    (tools / "linked" / "passwd").symlink_to("/etc/passwd")
    (tools / "broken.json").write_text("{", "utf-8")
    (tools / "rates.json").write_text(json.dumps({**RATES, "definition": {"url": "ftp://x"}}), "utf-8")
    (tools / "price.json").write_text(json.dumps(RATES), "utf-8")
    (tools / "prices.yaml").write_text("name: prices", "utf-8")
    (tools / "README.md").write_text("What the tools do.", "utf-8")
    status, shown, told = run("apply", folder, "--yes")
    assert (status, shown) == (1, "")
    wrong = {line.removeprefix(f"{folder}/tools/").partition(":")[0] for line in told.splitlines()[1:]}
    projects = {f"{name}/tool.toml" for name in ("empty", "other", "linked")}
    assert wrong == projects | {"broken.json", "rates.json", "price.json", "prices.yaml"}


@pytest.mark.parametrize(
    ("use", "told"),
    [
        ("tool: paint_neded", "graph.yaml:11:9: There is no tool paint_neded: neither on the server nor in tools/."),
        ("{additional_instruction: Use it.}", "graph.yaml:11:9: Name the tool: `tool: NAME`."),
        (f"{{tool: a, tool_id: {'0' * 24}}}", "graph.yaml:11:19: Give either `tool` or `tool_id`."),
        ("tool: [a]", "graph.yaml:11:9: This must be the name of a tool."),
        ("{tool: a, version_constraint: newest}", "graph.yaml:11:19: "),
    ],
)
def test_a_wrong_use_of_a_tool_is_told_at_its_place(run: Run, folder: Path, use: str, told: str) -> None:
    text = (folder / "graph.yaml").read_text("utf-8")
    before, _, _ = text.partition("      - tool: ")
    after = text[text.index("  - name: farewell") :]
    (folder / "graph.yaml").write_text(f"{before}      - {use}\n{after}", "utf-8")
    status, _, problems = run("apply", folder, "--plan")
    assert status == 1
    assert f"{folder}/{told}" in problems


def test_an_apply_sets_no_variables_and_names_those_that_are_missing(run: Run, folder: Path) -> None:
    own = folder / "tools" / "secret_rates" / "secret_rates.json"
    own.parent.mkdir()
    own.write_text(json.dumps({**RATES, "name": "secret_rates"}), "utf-8")
    shown = run("apply", folder, "--plan")[1]
    assert "The tool secret_rates needs variables that only you can set: RATES_KEY." in " ".join(shown.split())
    status, _, told = run("apply", folder, "--yes")
    assert status == 1
    assert "The tool secret_rates needs a variable RATES_KEY" in " ".join(told.split())


def test_a_folder_is_tested_with_its_tools_and_their_variables(command: Command, folder: Path) -> None:
    tool = tool_of(folder)
    edit(tool / "tool.toml", "[limits]", '[environment]\nsecret = ["PAINT_KEY"]\n\n[limits]')
    edit(tool / "tool.py", "    litres =", '    assert _context.environment["PAINT_KEY"] == "red"\n    litres =')
    (folder / "conversations" / "wrong.yaml").write_text(
        f"turns:\n  - user: paint with width=2, height=2?\n    tools: [{tool.name}, {tool.name}]\n", "utf-8"
    )
    done = command("test", folder, COLUMNS="200", PAINT_KEY="red")
    assert (done.returncode, done.stderr) == (1, "")
    assert "ok      a-wall" in done.stdout
    wanted = f"wrong.yaml:3:5: The tool {tool.name} was not called; called were {tool.name}."
    assert wanted in done.stdout


def test_a_saved_file_of_a_tool_is_seen(folder: Path) -> None:
    before = signature(folder)
    edit(tool_of(folder) / "tool.py", "COATS = 2", "COATS = 30")
    assert signature(folder) != before


def test_a_link_to_nowhere_is_seen_as_a_file_is(folder: Path) -> None:
    before = signature(folder)
    (folder / "conversations" / "gone.yaml").symlink_to(folder / "nowhere.yaml")
    assert signature(folder) != before
