"""The models that `tertulia serve` is given: it says which one speaks, and ends if that one cannot."""

from pathlib import Path

import pytest

from support.commands import Command, Start

NOWHERE = {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": "/dev/null"}


@pytest.mark.parametrize(
    ("model", "status", "text"),
    [
        ("openai:x", 2, "openai:x needs a key: set OPENAI_API_KEY"),
        ("nonsense", 2, "There is no model 'nonsense'"),
        ("nobody:x", 2, "Unknown model: nobody:x"),
        ("local:nobody", 2, "There is no local model 'nobody'"),
        ("scripted,nonsense", 2, "There is no model 'nonsense'"),
        ("local", 1, "The weights of"),
    ],
)
def test_a_model_that_cannot_speak_ends_serve_in_one_line(
    command: Command, data: Path, model: str, status: int, text: str
) -> None:
    no_keys = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "https://api.openai.com/v1"}
    done = command("serve", "--data", data, "--port", "0", TERTULIA_MODEL=model, **no_keys, **NOWHERE)
    assert done.returncode == status
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("tertulia: TERTULIA_MODEL: ")
    assert text in last
    assert "repeats" not in last.replace("scripted (the model that repeats)", "")


def test_serve_without_settings_says_which_model_speaks(start: Start, data: Path, tmp_path: Path) -> None:
    start("serve", "--data", data, "--port", "0")
    assert (
        "Model: scripted (the model that repeats); TERTULIA_MODEL names another one." in (tmp_path / "log").read_text()
    )
