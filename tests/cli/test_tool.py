"""Tools in folders: begun, tried, published."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from support.pages import ROOT
from support.server import Server
from tertulia.cli.main import app

EXAMPLES = ROOT / "examples" / "tools"


def run(*command: str) -> tuple[int, str]:
    """Run a command. Return its exit status and what it writes."""
    done = CliRunner().invoke(app, command)
    return done.exit_code, done.output


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tool that has just been begun; its folder."""
    monkeypatch.chdir(tmp_path)
    assert run("tool", "new", "sums_2")[0] == 0
    return tmp_path / "sums_2"


def test_a_new_tool_works_and_its_own_tests_pass(begun: Path) -> None:
    status, told = run("tool", "test", "sums_2", "--data", str(begun.parent))
    unit = subprocess.run([sys.executable, "-m", "unittest"], cwd=begun, capture_output=True, text=True, check=False)

    assert (status, told.count(": ok (")) == (0, 2), told
    assert unit.returncode == 0, unit.stderr


def test_a_tool_is_begun_once_and_under_a_name_of_its_own(begun: Path) -> None:
    assert run("tool", "new", "sums_2")[0] == 2
    status, told = run("tool", "new", "../Sums")
    assert (status, "tool.toml: name" in told) == (1, True)


def test_an_example_that_fails_is_told(begun: Path) -> None:
    examples = [
        {"input": {"name": "Ada"}, "output": "Goodbye."},
        {"input": {}},
        {"input": {"name": "Ada", "language": "eng"}},
    ]
    (begun / "examples.json").write_text(json.dumps(examples), "utf-8")

    status, told = run("tool", "test", "sums_2", "--data", str(begun.parent))

    assert status == 1
    wrong, lacking, right = told.splitlines()
    assert "Hello, Ada! instead of Goodbye." in wrong
    assert '"name" is a required property' in lacking
    assert ": ok (" in right


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("tool.toml", "name = ", "tool.toml: not TOML"),
        ("examples.json", "{", "examples.json: not JSON"),
        ("examples.json", "[]", "has no examples"),
        ("examples.json", '[{"output": "x"}]', "example 1"),
    ],
)
def test_what_is_wrong_in_a_folder_is_said_in_a_line(begun: Path, file: str, content: str, told: str) -> None:
    (begun / file).write_text(content, "utf-8")

    status, line = run("tool", "test", "sums_2", "--data", str(begun.parent))

    assert status == 1
    assert told in line
    assert line.count("\n") == 1


def test_a_variable_that_is_not_set_is_named(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = begun / "tool.toml"
    manifest.write_text(
        manifest.read_text("utf-8").replace(
            "[input_schema]", '[environment]\nsecret = ["SUMS_KEY"]\n[input_schema]', 1
        ),
        "utf-8",
    )
    command = ("tool", "test", "sums_2", "--data", str(begun.parent))

    status, line = run(*command)
    monkeypatch.setenv("SUMS_KEY", "x")

    assert (status, "SUMS_KEY" in line) == (2, True)
    assert run(*command)[0] == 0


@pytest.mark.usefixtures("begun")
def test_tools_are_published_by_url_and_key(tertulia: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = tertulia.demo
    key = {"API_KEY": demo.api_key, "API_KEY_ID": demo.api_key_id, "ORGANIZATION_ID": demo.organization_id}
    for name, value in {**key, "BASE_URL": tertulia.url, "USER_ID": demo.admin_user_id}.items():
        monkeypatch.setenv(f"AMIGO_{name}", value)

    assert run("tool", "publish", "sums_2") == (0, "sums_2 1.0.0\n")
    assert run("tool", "publish", "sums_2", "--bump", "patch") == (0, "sums_2 1.0.1\n")
    assert run("tool", "publish", str(EXAMPLES / "weather" / "weather.json")) == (0, "weather 1.0.0\n")
    assert run("tool", "publish", "sums_2", "--bump", "huge")[0] == 2
    assert run("tool", "publish", "absent")[0] == 2


@pytest.mark.parametrize("folder", [path.parent for path in EXAMPLES.glob("*/tool.toml")], ids=lambda path: path.name)
def test_the_example_tools_give_what_their_examples_say(folder: Path, tmp_path: Path) -> None:
    status, told = run("tool", "test", str(folder), "--data", str(tmp_path))

    assert status == 0, told
