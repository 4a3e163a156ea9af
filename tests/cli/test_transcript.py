"""A conversation on a terminal."""

from io import StringIO

import pytest
from rich.console import Console

from tertulia.cli.transcript import Transcript


@pytest.fixture
def screen() -> StringIO:
    return StringIO()


@pytest.mark.parametrize("name", ["Tula", "[/]", "[red]Tula", "\x1b[2JTula"])
def test_a_name_and_a_text_are_shown_as_they_are_but_steer_nothing(screen: StringIO, name: str) -> None:
    transcript = Transcript(Console(file=screen, width=40), name)
    for piece in ("Hello ", "[b]you[/", "b]\x1b[2J."):
        transcript.piece(piece)
    transcript.settle()
    transcript.say(name, "Bye.")
    shown = name.replace("\x1b", "")
    assert screen.getvalue() == f"\n{shown} Hello [b]you[/b][2J.\n\n{shown} Bye.\n"


def test_what_shows_on_a_terminal_that_the_agent_is_at_work_leaves_nothing_behind(screen: StringIO) -> None:
    transcript = Transcript(Console(file=screen, width=40, force_terminal=True), "[/]")
    transcript.wait()
    transcript.piece("Hello.")
    transcript.settle()
    assert "is thinking" not in screen.getvalue().rpartition("\x1b[2K")[2]
    assert screen.getvalue().endswith(" Hello.\n")


def test_what_is_no_terminal_is_shown_no_sign_of_life(screen: StringIO) -> None:
    transcript = Transcript(Console(file=screen, width=40), "Tula")
    transcript.wait()
    transcript.piece("Hello.")
    transcript.settle()
    assert screen.getvalue() == "\nTula Hello.\n"
