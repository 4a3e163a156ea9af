"""Log lines: where they go, and that none breaks what it tells of."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from tertulia import logs


@pytest.fixture(autouse=True)
def _configured() -> Iterator[None]:
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)
    logs.configure("info")
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def log() -> Any:
    return structlog.get_logger()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_warning_of_a_library_is_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("some.library").warning("a %s", "warning")
    (line,) = lines(capsys.readouterr().err)
    assert (line["event"], line["level"], line["logger"]) == ("a warning", "warning", "some.library")


def test_a_library_that_quotes_what_servers_say_is_not_heard(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("mcp.client.streamable_http").error("their words")
    logging.getLogger("client").error("their words")
    assert capsys.readouterr().err == ""


def test_a_full_disk_breaks_nothing_and_lost_lines_are_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Any
) -> None:
    with Path("/dev/full").open("w") as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", full)
        for _ in range(3):
            log.info("lost")
    with (tmp_path / "log").open("w") as there, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", there)
        log.info("told")
    assert [line.get("lines", line["event"]) for line in lines((tmp_path / "log").read_text())] == [3, "told"]


def test_a_closed_standard_error_breaks_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Any) -> None:
    closed = (tmp_path / "log").open("w")
    closed.close()
    for stderr in (closed, None):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", stderr)
            logs.configure("info")
            log.error("lost", exc_info=ValueError())


def test_a_reader_who_does_not_read_blocks_nothing(monkeypatch: pytest.MonkeyPatch, log: Any) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader, os.fdopen(writing, "w") as writer, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", writer)
        for _ in range(200):
            log.info("long", text="x" * 3000)
        os.set_blocking(reading, False)
        begun = reader.read()
        log.info("told")
        *_, lost, told = lines(begun[begun.rindex("\n") + 1 :] + reader.read())
    assert lost["lines"] > 100
    assert told["event"] == "told"


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("value", ["\ud800", Unspeakable(), 1 << 80, float("nan"), {1: {2: "x"}}, b"\xff"])
def test_no_value_breaks_its_line(capsys: pytest.CaptureFixture[str], log: Any, value: Any) -> None:
    log.warning("odd", value=value, other="\ud800")
    (line,) = lines(capsys.readouterr().err)
    assert "odd" in line["event"]
