"""Bodies that mean harm, or are broken: none may end the process, or cost more than a long recording.

They are decoded in a process of their own, so that a crash of the decoder fails a test and does not end them all.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.bombs import BOMBS

pytestmark = pytest.mark.heavy

TESTS = Path(__file__).parent.parent
PATIENCE_S = 300
MEGABYTE = 1_000_000


def run(*program: str) -> Any:
    """Run a program, which ends well and says nothing else. Return the JSON that it prints."""
    command = [sys.executable, "-X", "faulthandler", "-m", *program]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def costs() -> dict[str, dict[str, Any]]:
    return run("support.bombs")


def test_ten_thousand_damaged_bodies_are_heard_or_refused_and_leave_nothing() -> None:
    result = run("support.mutations", "10000", "1")
    assert set(result["came"]) == {"Recorded", "UnreadableRecording", "BadRecording"}
    assert sum(result["came"].values()) == 10_000
    assert result["came"]["Recorded"] > 1000  # the damage does not end at the first bytes
    first, last = result["first"], result["last"]
    assert last["memory"] - first["memory"] < 30 * MEGABYTE
    assert (last["files"], last["threads"], last["children"]) == (first["files"], 1, 0)
    assert result["slowest_s"] < 2


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_little(name: str, costs: dict[str, dict[str, Any]]) -> None:
    cost = costs[name]
    assert cost["cpu_s"] < 5
    assert cost["grown"] < 50 * MEGABYTE


@pytest.mark.parametrize(
    "name", ["hours of Opus", "short packets of Opus", "an hour of FLAC", "an hour of MP3", "an hour of AAC"]
)
def test_hours_in_a_small_body_are_too_long(name: str, costs: dict[str, dict[str, Any]]) -> None:
    assert costs[name]["came"] == "The recording is longer than 120 seconds."


@pytest.mark.parametrize("name", ["a million comments", "a large picture", "headers without a frame"])
def test_what_surrounds_the_sound_is_passed_over(name: str, costs: dict[str, dict[str, Any]]) -> None:
    assert costs[name]["came"] == "Recorded"
