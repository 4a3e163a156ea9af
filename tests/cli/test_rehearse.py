"""`tertulia test`: the conversations of a folder are held, on a server of its own or on another one."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from support.commands import Command, Process
from support.pages import ROOT
from tertulia.cli import own_server
from tertulia.files.folder import Step
from tertulia.files.rehearsing import Outcome, differences, result_differences

OUTCOME = Outcome("Good day to you.", "hall", ("a", "b", "c"), False, "Desk: lost", ("find", "book"))


@pytest.mark.parametrize(
    ("step", "fields"),
    [
        ({}, []),
        ({"state": "hall", "says": ["GOOD day"], "never_says": ["night"], "events": ["a", "c"]}, []),
        ({"behavior": "lost", "tools": ["find"]}, []),
        ({"behavior": "Desk: lost"}, []),
        ({"state": "door"}, ["state"]),
        ({"says": ["good", "night", "moon"]}, ["says", "says"]),
        ({"never_says": ["DAY"]}, ["never_says"]),
        ({"events": ["c", "a"]}, ["events"]),
        ({"events": ["a", "a"]}, ["events"]),
        ({"behavior": "found"}, ["behavior"]),
        ({"tools": ["book", "find"]}, ["tools"]),
        ({"finished": True}, ["finished"]),
    ],
)
def test_a_turn_is_compared_field_by_field(step: dict[str, object], fields: list[str]) -> None:
    found = list(differences(Step.model_validate(step), OUTCOME, {"lost": "Desk: lost"}))
    assert [field for field, _text in found] == fields
    assert all(text for _field, text in found)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("three days", "For three days, day and night."),
        ("Fever", "a fever."),
        (["fever", "cough"], "A cough; and a fever"),
        (["fever", "cough"], ["a fever", "a cough"]),
        (["one"], ["one"]),
        ([], []),
        (4, 4),
        (4, 4.0),
        (None, None),
        ({"a": 1}, {"a": 1}),
        ("+", "+"),
        ("三天", "已经三天了"),
    ],
)
def test_a_result_has_the_words_of_the_file(wanted: Any, found: Any) -> None:
    assert list(result_differences({"field": wanted}, {"field": found})) == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("three days", "For days, three."),
        ("open", "reopened"),
        (["fever", "cough"], "A cough"),
        (["fever", "cough"], ["fever"]),
        (["fever", "cough"], ["cough", "fever"]),
        ([], "anything"),
        (["a"], None),
        ("no", None),
        (None, "no"),
        (None, ""),
        (1, True),
        (1, "1"),
        ("", "anything"),
    ],
)
def test_a_result_without_the_words_of_the_file_differs(wanted: Any, found: Any) -> None:
    assert [name for name, _ in result_differences({"field": wanted}, {"field": found})] == ["field"]


def test_a_result_is_compared_field_by_field() -> None:
    found = list(result_differences({"day": "Sunday", "people": 4}, {"day": "Sunday", "people": None}))
    assert found == [("people", "The result has nothing for people, not 4.")]


@pytest.fixture
def folder(command: Command, tmp_path: Path) -> Path:
    path = tmp_path / "museum"
    assert command("new", path).returncode == 0
    return path


def test_a_new_folder_passes_and_what_fails_is_told_with_its_line(command: Command, folder: Path) -> None:
    (folder / "conversations" / "wrong.yaml").write_text(
        "turns:\n  - user: Can I book a guided tour?\n    state: farewell\n    says: [elephant]\n", "utf-8"
    )
    done = command("test", folder, "--junit", "report.xml", COLUMNS="80")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("ok      ") == 2
    assert f"{folder}/conversations/wrong.yaml:3:5: The conversation stands in the state tour, not farewell." in (
        done.stdout.replace(" conversations/", f" {folder}/conversations/")
    )
    assert "The reply does not say: elephant" in done.stdout
    assert done.stdout.endswith("1 of 3 conversations failed.\n")
    suite = ElementTree.parse(folder.parent / "report.xml").getroot()[0]  # noqa: S314 - it is our own
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["wrong"]


def test_a_server_that_has_the_agent_is_tested_as_often_as_it_is_wished(
    command: Command, tmp_path: Path, shared: Path, server: Process
) -> None:
    folder, there = tmp_path / "gallery", ("--data", shared, "--url", server.url)
    assert command("new", folder).returncode == 0
    missing = command("test", folder, *there)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "The server has no service Gallery" in missing.stderr
    assert command("apply", folder, "--yes", *there).returncode == 0
    (folder / "conversations" / "a-tour.yaml").unlink()
    done = command("test", folder, "--times", 2, "--share", 0.5, *there)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 2 passed" in done.stdout
    assert done.stdout.endswith("One conversation passed.\n")


def test_a_folder_without_conversations_is_no_test(
    command: Command, folder: Path, shared: Path, server: Process
) -> None:
    for path in (folder / "conversations").iterdir():
        path.unlink()
    there = ("--data", shared, "--url", server.url)
    assert command("apply", folder, "--yes", *there).returncode == 0
    assert "There is no conversation in the folder museum" in command("test", folder, *there).stderr


def test_a_server_of_its_own_finds_the_weights_that_are_kept_and_keeps_what_it_fetches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept, seen = tmp_path / "models", list[list[str]]()

    @contextmanager
    def serving(folder: Path) -> Generator[str]:
        seen.append([path.name for path in (folder / "models").iterdir()])
        (folder / "models" / "fetched.gguf").write_bytes(b"weights")
        yield "http://127.0.0.1:1"

    monkeypatch.setattr(own_server, "_serving", serving)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # a command sets variables of its own process
    for _ in range(2):
        with own_server.own_server("tertulia-test-", {"MODEL": "local"}, kept):
            pass

    assert seen == [[], ["fetched.gguf"]]
    assert (kept / "fetched.gguf").read_bytes() == b"weights"


def test_a_variable_that_a_tool_lacks_is_named_before_anything_is_started(command: Command) -> None:
    done = command("test", ROOT / "examples" / "agents" / "clinic-intake")
    assert done.returncode == 1
    assert "book_slot needs a variable CALENDAR_KEY: set it in the environment" in " ".join(done.stderr.split())
