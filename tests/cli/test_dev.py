"""From a new folder to users who talk with it: `new`, `dev`, an edit, `test` beside it, and Ctrl-C."""

import signal
from pathlib import Path

from support.commands import Command, Start


def test_a_saved_file_is_applied_and_a_wrong_one_is_told_with_its_line(
    command: Command, start: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "museum"
    assert command("new", folder).returncode == 0
    dev = start("dev", folder, "--data", tmp_path / "dev", "--port", 0, until="Ctrl-C", COLUMNS="80")
    url = dev.output.partition("answers on ")[2].split()[0]
    dev.read_until("applied: new graph Museum; new agent Museum; new service Museum; new behavior Museum: lost")
    dev.read_until("held: a-tour, an-umbrella")
    there = ("--data", tmp_path / "dev", "--url", url)
    chat = command("chat", "--service", "museum", *there, stdin="Can I book a tour?\n/finish\n")
    assert "Ask for the day" in chat.stdout

    graph = folder / "graph.yaml"
    right = graph.read_text("utf-8")
    graph.write_text(right.replace("next_state: tour", "next_state: tuor"), "utf-8")
    dev.read_until("There is no state tuor.")
    assert dev.lines[-1].startswith(f"{folder}/graph.yaml:11:9: ")
    graph.write_text(right.replace("Ask for the day", "Ask for the hour"), "utf-8")
    dev.read_until("applied: graph Museum, version 2")
    chat = command("chat", "--service", "museum", *there, stdin="Can I book a tour?\n/finish\n")
    assert "Ask for the hour" in chat.stdout
    assert command("apply", folder, "--release", "--plan", *there).stdout.startswith("Nothing changes: ")
    assert dev.stop(signal.SIGINT) == 0


def test_a_folder_that_is_not_there_is_not_served(command: Command, tmp_path: Path) -> None:
    done = command("dev", tmp_path / "nothing", "--data", tmp_path / "data")
    assert done.returncode == 1
    assert "There is no folder" in done.stderr
