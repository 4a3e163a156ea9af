"""The models that `tertulia serve` is given: it says which one speaks, and ends if that one cannot."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from support.commands import Command, Start
from tertulia.cli import models
from tertulia.providers import weights
from tertulia.settings import Settings

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


@pytest.mark.parametrize(("model", "is_said"), [("local", True), ("local:small", False)])
def test_a_machine_with_little_memory_is_told_that_the_smaller_model_speaks(
    model: str, is_said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xllamacpp", exc_type=ImportError)
    asked: list[str] = []

    def fetch(wanted: weights.Weights, _models: Path, _progress: weights.Progress) -> Path:
        asked.append(wanted.name)
        raise weights.WeightsUnavailable("No network")

    for name in ("TERTULIA_MODEL", "TERTULIA_VOICE"):  # which `prepare` sets, and the test puts back
        monkeypatch.setenv(name, "scripted")
    monkeypatch.setattr(weights, "fetch", fetch)
    monkeypatch.setattr(weights, "memory", lambda: 2 << 30)
    said = io.StringIO()
    settings = Settings(model=(model,), voice=("scripted",), data=tmp_path)
    models.prepare(Console(file=said, width=200), settings, models.FALLBACK)
    line = "qwen2.5-coder-1.5b would need 4 GB of memory: qwen2.5-coder-0.5b speaks, which is smaller."
    assert (line in said.getvalue()) is is_said
    assert asked == ["qwen2.5-coder-0.5b"]
