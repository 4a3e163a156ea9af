"""`tertulia new`, `apply`, `pull` and the lists: agents as files, against a server in a process of its own."""

import itertools
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator

from support.answering import Quiet
from support.commands import TERTULIA, Command, Process
from support.pages import ROOT
from support.terminal import at_a_terminal
from tertulia.files import schemas
from tertulia.files.document import read
from tertulia.files.folder import load
from tertulia.files.template import SCHEMA_OF

EXAMPLES = sorted((ROOT / "examples" / "agents").iterdir())
KEY = {f"AMIGO_{name}": "x" for name in ("ORGANIZATION_ID", "USER_ID", "API_KEY_ID", "API_KEY")}
SIGNED_IN = {"id_token": "x", "expires_at": "2099-01-01T00:00:00Z"}
NUMBERS = itertools.count(1)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(command: Command, shared: Path, server: Process) -> Run:
    """Runs `tertulia` against the module's server."""

    def run_there(*arguments: object) -> tuple[int, str, str]:
        done = command(*arguments, "--data", shared, "--url", server.url, COLUMNS="80")
        return done.returncode, done.stdout, done.stderr

    return run_there


@pytest.fixture
def admin(command: Command, shared: Path, server: Process) -> Iterator[httpx2.Client]:
    token = command("token", "--data", shared, "--admin").stdout.strip()
    with httpx2.Client(base_url=f"{server.url}/v1/demo", headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


@pytest.fixture
def folder(command: Command, tmp_path: Path) -> Path:
    """A new folder, whose service nobody else has."""
    path = tmp_path / f"desk-{next(NUMBERS)}"
    assert command("new", path).returncode == 0
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def signs(output: str) -> list[str]:
    """Take the lines of a diff that say what changes. Return them."""
    return [line.strip() for line in output.splitlines() if re.match(r" {4}[+-]", line)]


@contextmanager
def answering(body: dict[str, Any] | str, status: int = 200) -> Generator[str]:
    """Serve an API that says one thing to everything. Yield its address."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self) -> None:
            self.do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- A new folder ----------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_empty_is_left_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", "utf-8")
    done = command("new", "mine")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tertulia: The folder mine is not empty: nothing was written.\n"
    assert command("new", "mine/notes.txt").returncode == 1
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("path", [*EXAMPLES, None], ids=lambda path: path.name if path else "new")
def test_the_schemas_accept_what_the_commands_accept(path: Path | None, folder: Path) -> None:
    for file in sorted((path or folder).rglob("*.yaml")):
        kind = SCHEMA_OF[file.relative_to(path or folder).parts[0].removesuffix(".yaml")]
        errors = Draft202012Validator(schemas.schema_of(kind)).iter_errors(read(file).value)
        assert [(error.json_path, error.message) for error in errors] == [], file


def test_a_schema_tells_a_misspelt_field_and_an_editor_finds_it(command: Command, folder: Path) -> None:
    schema = json.loads(command("schema", "graph").stdout)
    assert json.loads((folder / ".schemas" / "graph.json").read_text("utf-8")) == schema
    graph = read(folder / "graph.yaml").value
    graph["states"][0]["gidelines"] = []
    assert list(Draft202012Validator(schema).iter_errors(graph))
    first = (folder / "behaviors" / "lost-and-found.yaml").read_text("utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=../.schemas/behavior.json"
    assert command("schema", "nothing").returncode == 1


# --- Applied ---------------------------------------------------------------------------------------------------------


def test_a_plan_changes_nothing_and_nobody_is_asked_without_a_terminal(run: Run, folder: Path) -> None:
    status, shown, _ = run("apply", folder, "--plan")
    assert status == 0
    assert "+ new agent Desk" in shown
    status, _, told = run("apply", folder)
    assert status == 1
    assert told == "tertulia: Nobody is here to agree: say --yes, or look only with --plan.\n"
    assert run("apply", folder, "--plan")[1] == shown


def test_a_change_is_a_diff_of_exactly_that_and_nothing_changes_twice(run: Run, folder: Path) -> None:
    assert run("apply", folder, "--yes")[::2] == (0, "")
    assert run("apply", folder, "--yes")[1].startswith("Nothing changes: ")
    edit(folder / "graph.yaml", "Ask for the day and", "Ask for the date and")
    status, shown, _ = run("apply", folder, "--yes")
    assert status == 0
    assert signs(shown) == [
        "-      - Ask for the day and the number of people.",
        "+      - Ask for the date and the number of people.",
    ]
    assert re.search(r"^~ graph Desk \d+, version 2$", shown, re.MULTILINE)
    assert "@@ in the state tour" in shown
    assert "\x1b" not in shown
    assert run("apply", folder, "--release", "--plan")[1].count("version set release") == 1
    assert run("apply", folder, "--release", "--yes")[0] == 0
    assert run("apply", folder, "--release", "--yes")[1].startswith("Nothing changes: ")


def test_remarks_and_the_order_of_fields_change_nothing(run: Run, folder: Path) -> None:
    assert run("apply", folder, "--yes")[::2] == (0, "")
    agent = read(folder / "agent.yaml").value
    (folder / "agent.yaml").write_text(json.dumps(dict(reversed(agent.items()))), "utf-8")
    edit(folder / "graph.yaml", "description: Welcomes", "# A remark.\ndescription:   Welcomes")
    assert run("apply", folder, "--yes")[1].startswith("Nothing changes: ")


def test_a_behavior_without_a_file_is_taken_from_the_service_and_comes_back(run: Run, folder: Path) -> None:
    assert run("apply", folder, "--yes")[::2] == (0, "")
    path = folder / "behaviors" / "lost-and-found.yaml"
    text = path.read_text("utf-8")
    path.unlink()
    assert "no longer applied" in run("apply", folder, "--yes")[1]
    assert run("apply", folder, "--yes")[1].startswith("Nothing changes: ")
    path.write_text(text.replace("for a month", "for a year"), "utf-8")
    assert "lost-and-found, version 2" in run("apply", folder, "--yes")[1]
    assert run("apply", folder, "--yes")[1].startswith("Nothing changes: ")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_applied_and_pulled_as_the_same_files(
    run: Run, example: Path, tmp_path: Path, admin: httpx2.Client
) -> None:
    folder = tmp_path / example.name
    shutil.copytree(example, folder)
    for name in {name for tool in load(folder).tools.values() for name in tool.variables}:
        assert name in run("apply", folder, "--yes")[2]  # and the tools that lack it are made
        for tool in admin.get("/tool/").raise_for_status().json()["tools"]:
            inserts = [{"name": name, "value": "secret", "is_secret": True}]
            admin.post(f"/tool/{tool['id']}/envvar", json={"inserts": inserts}).raise_for_status()
    status, _, told = run("apply", folder, "--yes")
    assert (status, told) == (0, "")
    assert run("pull", read(folder / "service.yaml").value["name"], folder)[1].startswith("Nothing changes: ")
    assert run("pull", read(folder / "service.yaml").value["name"], tmp_path / "again")[0] == 0
    assert run("apply", tmp_path / "again", "--plan")[1].startswith("Nothing changes: ")


def test_the_loser_of_two_people_is_told_so_and_loses_nothing(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tertulia.cli import apply  # noqa: PLC0415 - what is held in the middle

    assert run("apply", folder, "--yes")[::2] == (0, "")
    theirs = folder.with_name("theirs")
    shutil.copytree(folder, theirs)
    edit(folder / "agent.yaml", "120 clocks", "121 clocks")
    edit(theirs / "agent.yaml", "120 clocks", "122 clocks")
    show = apply.show_plan

    def first_they_apply(*given: Any) -> None:
        monkeypatch.setattr(apply, "show_plan", show)
        other = threading.Thread(target=lambda: results.append(run("apply", theirs, "--yes")))
        other.start()
        other.join()
        show(*given)

    results: list[tuple[int, str, str]] = []
    monkeypatch.setattr(apply, "show_plan", first_they_apply)
    status, _, told = run("apply", folder, "--yes")
    assert results[0][0] == 0
    assert status == 1
    assert "Somebody else has changed the agent" in told
    assert signs(run("apply", folder, "--plan")[1])[0].startswith("-  The museum has 122 clocks")


def test_a_place_that_only_the_server_refuses_is_told_with_its_line(run: Run, folder: Path) -> None:
    (folder / "graphs").mkdir()
    shutil.copy(folder / "graph.yaml", folder / "graphs" / "other.yaml")
    edit(folder / "graph.yaml", "next_state: tour\n", "next_state: [other.nowhere, farewell]\n")
    edit(folder / "graph.yaml", "states:\n", "references: {other: graphs/other.yaml}\nstates:\n")
    status, _, told = run("apply", folder, "--yes")
    assert status == 1
    assert re.search(r"/graph.yaml:\d+:\d+: The server says: The graph other has no state nowhere", told)
    assert "Traceback" not in told


# --- Wrong folders ---------------------------------------------------------------------------------------------------


def broken(folder: Path) -> None:
    """Put into a folder all that a file can be but YAML of the right form."""
    (folder / "agent.yaml").write_bytes("identity: {name: Ö}".encode("latin-1"))
    (folder / "graph.yaml").unlink()
    (folder / "graph.yaml").mkdir()
    (folder / "service.yaml").unlink()
    os.mkfifo(folder / "service.yaml")
    for name, text in {
        "bomb": "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{to}: &{to} [{', '.join([f'*{of}'] * 9)}]\n" for of, to in zip("abcdefg", "bcdefgh", strict=True)),
        "tag": "conversation_triggers: !!python/object/apply:os.system [true]\n",
        "number": f"conversation_triggers: {'9' * 5000}\n",
        "infinite": "conversation_triggers: 1e999\n",
        "twice": "actions: []\nactions: []\n",
        "deep": "a: " + "[" * 3000,
        "circle": "a: &a [*a]\n",
        "null": "",
        "list": "- a\n",
        "character": 'name: "\\ud800"\n',
    }.items():
        (folder / "behaviors" / f"{name}.yaml").write_text(text, "utf-8")
    (folder / "behaviors" / "loop.yaml").symlink_to("loop.yaml")
    (folder / "behaviors" / "gone.yaml").symlink_to("nothing")
    (folder / "behaviors" / "zero.yaml").symlink_to("/dev/zero")
    (folder / "behaviors" / "other.yml").write_text("", "utf-8")
    shutil.rmtree(folder / "conversations")
    (folder / "conversations").write_text("", "utf-8")


def test_every_problem_of_a_folder_is_told_at_once_and_nothing_is_sent(command: Command, folder: Path) -> None:
    broken(folder)
    done = command("apply", folder, "--yes", "--url", "http://127.0.0.1:1", "--data", folder / "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    told = {line.removeprefix(f"{folder}/").partition(":")[0] for line in lines[1:]}
    wrong = {"bomb", "tag", "number", "infinite", "twice", "deep", "circle", "null", "list", "loop", "gone", "zero"}
    assert told >= {f"behaviors/{name}.yaml" for name in wrong} | {"behaviors/other.yml", "conversations"}
    assert {"agent.yaml", "graph.yaml", "service.yaml"} <= told
    assert [line for line in lines[1:] if not re.fullmatch(r"[^:]+:\d+:\d+: .+", line)] == []


def test_more_than_twenty_problems_are_counted(command: Command, folder: Path) -> None:
    for number in range(30):
        (folder / "behaviors" / f"{number:02}.yaml").write_text("a", "utf-8")
    lines = command("apply", folder, "--plan").stderr.splitlines()
    assert lines[0] == "tertulia: 30 problems in the folder:"
    assert len(lines) == 22
    assert lines[-1] == "... and 10 more problems."


def test_a_folder_that_is_not_there_is_told(command: Command) -> None:
    done = command("apply", "nowhere", "--plan")
    assert (done.returncode, done.stderr) == (
        1,
        "tertulia: There is no folder nowhere: `tertulia new nowhere` makes one.\n",
    )


def test_a_file_in_the_place_of_its_folder_is_told(command: Command, folder: Path) -> None:
    done = command("test", folder / "agent.yaml")
    assert (done.returncode, done.stderr) == (
        1,
        f"tertulia: {folder}/agent.yaml is a file: name the folder that it is in.\n",
    )


# --- A person, and lists ---------------------------------------------------------------------------------------------


def test_a_person_is_asked(folder: Path, shared: Path, server: Process, tmp_path: Path) -> None:
    arguments = [TERTULIA, "apply", str(folder), "--data", str(shared), "--url", server.url]
    with at_a_terminal(arguments, tmp_path) as terminal:
        terminal.until("4 changes. Apply? [y/N]")
        terminal.type("n")
        assert terminal.end() == 1
        assert "Nothing was changed." in terminal.shown
    with at_a_terminal(arguments, tmp_path) as terminal:
        terminal.until("[y/N]")
        terminal.type("y")
        assert terminal.end() == 0
        assert "Everybody talks with it now (agent 1, graph 1)." in terminal.shown


def test_agents_and_graphs_are_listed(run: Run, folder: Path) -> None:
    assert run("apply", folder, "--yes")[::2] == (0, "")
    for kind in ("agents", "graphs"):
        assert re.search(r"[0-9a-f]{24}  Desk \d+ +version 1\n", run(kind)[1])
        assert {"id", "name", "deprecated", "latest_version"} <= json.loads(run(kind, "--json")[1])[0].keys()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "linked folder"])
def test_a_pull_writes_into_files_and_nothing_else(run: Run, folder: Path, tmp_path: Path, kind: str) -> None:
    assert run("apply", folder, "--yes")[::2] == (0, "")
    there = tmp_path / "there"
    (there / "behaviors").mkdir(parents=True)
    (tmp_path / "precious").write_text("precious", "utf-8")
    match kind:
        case "link":
            (there / "agent.yaml").symlink_to(tmp_path / "precious")
        case "pipe":
            os.mkfifo(there / "agent.yaml")
        case "folder":
            (there / "agent.yaml").mkdir()
        case _:
            (there / "behaviors").rmdir()
            (there / "behaviors").symlink_to(tmp_path)
    status, _, told = run("pull", read(folder / "service.yaml").value["name"], there, "--yes")
    assert (status, told.rpartition(" of its own: ")[2]) == (1, "nothing was written.\n")
    assert (tmp_path / "precious").read_text("utf-8") == "precious"
    assert not (there / "service.yaml").exists()


def test_names_steer_no_terminal_and_no_markup(run: Run, folder: Path) -> None:
    edit(folder / "service.yaml", "name: Desk", 'name: "[bold]Desk\\e[31m[/]"  #')
    for expected in ("+ new service [bold]Desk[31m[/]", "Nothing changes: [bold]Desk[31m[/] at"):
        status, shown, told = run("apply", folder, "--yes")
        assert (status, told) == (0, "")
        assert expected in shown
        assert "\x1b" not in shown


# --- Servers that refuse ---------------------------------------------------------------------------------------------


def test_a_server_that_knows_less_is_told_as_one(command: Command, folder: Path) -> None:
    with answering({**SIGNED_IN, "services": [{}]}) as url:
        done = command("apply", folder, "--plan", **KEY, AMIGO_BASE_URL=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"tertulia: {url} does not answer as this command expects: is it older?\n"


def test_a_page_for_browsers_is_told_by_its_status_alone(command: Command, folder: Path) -> None:
    with answering("<!DOCTYPE html>\n<p>Nothing here.", 404) as url:
        done = command("apply", folder, "--plan", **KEY, AMIGO_BASE_URL=url)
    assert (done.returncode, done.stderr) == (1, "tertulia: HTTP 404: Not Found\n")


@pytest.mark.parametrize(
    "answer", [{}, {"services": 3}, {"services": [], "has_more": True, "continuation_token": 0}], ids=repr
)
def test_a_list_of_another_form_or_without_an_end_is_told_in_one_line(command: Command, answer: dict[str, Any]) -> None:
    with answering({**SIGNED_IN, **answer}) as url:
        done = command("services", **KEY, AMIGO_BASE_URL=url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"tertulia: {url} does not answer as this command expects: is it older?\n"


def test_a_user_who_may_not_is_told_so(
    command: Command, folder: Path, shared: Path, server: Process, installation: tuple[Path, dict[str, str]]
) -> None:
    user = installation[1]["user_id"]
    done = command("apply", folder, "--yes", "--data", shared, "--url", server.url, "--user", user)
    assert done.returncode == 1
    assert "was refused: HTTP 403: " in done.stderr
