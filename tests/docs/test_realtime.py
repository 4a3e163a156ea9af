"""The page of live conversations: its messages are those that there are, and its example runs."""

import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from support import pages, talk
from support.live import address
from support.puppet import Puppet
from support.server import Serve
from tertulia.api.conversation import realtime
from tertulia.engine.live import messages as live_messages
from tertulia.engine.live import ports as live_ports
from tertulia.engine.live import session as live
from tertulia.providers.models.registry import Models

PAGE = "docs/reference/realtime.md"


def code(cell: str) -> str:
    found = pages.codes(cell)
    return found[0] if len(found) == 1 and cell == f"`{found[0]}`" else ""


def documented(title: str) -> dict[str, list[str]]:
    """The fields of each message below a heading."""
    messages = pages.sections(pages.sections(pages.read(PAGE), 2)["Messages"], 3)[title]
    return {
        code(name): [code(row[0]) for row in pages.rows(body) if code(row[0])]
        for name, body in pages.sections(messages, 4).items()
    }


def fields_of(kinds: list[type[Any]]) -> dict[str, list[str]]:
    return {str(kind.__struct_config__.tag): list(kind.__struct_encode_fields__) for kind in kinds}


def test_every_message_of_the_client_is_documented_with_its_fields_and_no_other_is():
    assert documented("From the client") == fields_of(live_messages.ClientMessage.__subclasses__())


def test_every_message_of_the_server_is_documented_with_its_fields_and_no_other_is():
    of_turns = {f"server.{name}": fields for name, fields in fields_of([*live_messages.SERVER_EVENTS]).items()}
    assert documented("From the server") == of_turns | fields_of(live_messages.ServerMessage.__subclasses__())


def test_every_parameter_of_the_query_is_documented():
    rows = pages.rows(pages.sections(pages.read(PAGE), 2)["Connecting"])
    fields = realtime.RealtimeQuery.model_fields
    assert {code(row[0]): row[1] for row in rows if code(row[0])} == {
        field.alias or name: "required" if field.is_required() else f"`{field.default}`"
        for name, field in fields.items()
    }


def test_every_code_that_the_server_closes_with_is_documented():
    rows = pages.rows(pages.sections(pages.read(PAGE), 2)["The end"])
    known = {live_ports.NORMAL, live_ports.POLICY, live_ports.RESTART, live_ports.IDLE}
    known |= {realtime.UNSUPPORTED, realtime.TOO_BIG, realtime.INTERNAL}
    assert known | {1007} == {int(code(row[0])) for row in rows if code(row[0])}


def test_the_limits_are_as_documented():
    limits = {row[0]: row[1] for row in pages.rows(pages.sections(pages.read(PAGE), 2)["Limits"])}
    assert limits["messages that wait for a turn"] == str(live.MOST_WAITING)
    assert limits["external events that wait"] == str(live.MOST_EVENTS)
    assert limits["connections of a user"].startswith(f"{realtime.SESSIONS_A_MINUTE} ")
    assert limits["time in which nothing happens"] == f"{realtime.PACE.idle_s / 60:g} minutes"
    assert any(row.startswith("turns of a user") for row in limits)
    assert f"{realtime.TURNS_A_MINUTE} a minute" in pages.read(PAGE)
    assert f"{realtime.MESSAGE_BYTES:,} bytes" in pages.read(PAGE)
    assert f"for {realtime.PACE.alone_s:g} seconds" in pages.read(PAGE)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_the_example_runs(serve: Serve, tmp_path: Path):
    server = serve(models=Models(Puppet("Hello.")))
    (example,) = [block.text for block in pages.blocks(pages.read(PAGE)) if block.info == "python"]
    environment = {
        "ADDRESS": address(server, "").removesuffix("?"),
        "TOKEN": server.sign_in(server.demo.user_id),
        "SERVICE_ID": server.demo.service_id,
    }
    done = subprocess.run(
        [sys.executable, "-c", example],
        env={**os.environ, **environment, "NO_PROXY": "*"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Agent:") == 2
    with wave.open(str(tmp_path / "answer.wav")) as file:
        assert file.getnframes() > 0
    assert [found["is_finished"] for found in talk.conversations(server.as_user)] == [True]
