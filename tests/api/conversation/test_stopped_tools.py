"""A turn that is cancelled, or left in text or speech, stops a tool of any kind within a second."""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import httpx2
import psutil
import pytest

from support import samples
from support.live import live, patiently
from support.pages import ROOT
from support.samples import Json, action, graph, tool_call
from support.server import Serve, Server
from support.talk import begin, id_of
from support.tools import a_tool_name, an_archive

RAW = ROOT / "tests" / "tools" / "servers" / "raw.py"
MANIFEST = """
name = "sleeper"
limits.wall_seconds = 100
limits.processes = 4
[input_schema]
type = "object"
"""
SLEEPS = """
import os, time
def run(arguments, context):
    if os.fork() == 0:
        time.sleep(77)
    time.sleep(77)
"""
Stopped = Callable[[], object]
"""True when nothing of the call runs any more."""


@pytest.fixture(scope="module")
def tertulia(serve: Serve) -> Server:
    servers = {"raw": {"command": [sys.executable, str(RAW), "waits"]}}
    return serve(tools={"allow": ["127.0.0.1"]}, mcp={"servers": servers})


def clinic(admin: httpx2.Client, tool_id: str) -> str:
    states = [action("start", "book"), tool_call("book", "booked", tool_id), action("booked", "end"), action("end")]
    agent_id = samples.make_agent(admin, voice_config={"voice_id": "default"})
    return samples.make_service(admin, graph(*states), agent_id=agent_id)


def a_tool(admin: httpx2.Client) -> str:
    return str(admin.post("/tool/", json=samples.tool(a_tool_name())).raise_for_status().json()["id"])


def remote(admin: httpx2.Client, kind: str, definition: Json, schema: Json) -> str:
    """Publish a tool that runs elsewhere. Return its identifier."""
    tool_id = a_tool(admin)
    body = {"definition": definition, "input_schema": schema, "bump_type": "major"}
    admin.post(f"/tool/{tool_id}/version/{kind}", json=body).raise_for_status()
    return tool_id


@contextmanager
def code(admin: httpx2.Client, _place: Path) -> Generator[tuple[str, Stopped, Stopped]]:
    """Make a tool that sleeps in two processes. Yield it, and the signs that a call runs and that none does."""
    tool_id, before = a_tool(admin), calls_in_processes()
    sent = an_archive({"tool.toml": MANIFEST, "tool.py": SLEEPS})
    path, kind = f"/tool/{tool_id}/version/archive", {"content-type": "application/gzip"}
    admin.post(path, params={"bump_type": "major"}, content=sent, headers=kind).raise_for_status()
    yield tool_id, lambda: len(calls_in_processes() - before) >= 2, lambda: not calls_in_processes() - before


def calls_in_processes() -> set[int]:
    """Find the processes of calls, below those which stand ready. Return their identifiers."""
    found: set[int] = set()
    for process in psutil.Process(os.getpid()).children(recursive=True):
        with suppress(psutil.Error):
            parent = process.parent()
            if parent is not None and all(
                "confinement import boot" in " ".join(one.cmdline()) for one in (process, parent)
            ):
                found.add(process.pid)
    return found


@contextmanager
def http(admin: httpx2.Client, _place: Path) -> Generator[tuple[str, Stopped, Stopped]]:
    """Make a tool whose server never answers. Yield it, and the signs that it is asked and that the line is cut."""
    asked, left = threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener.accept()[0] as line:
            while line.recv(1 << 16):
                asked.set()
            left.set()

    threading.Thread(target=serve, daemon=True).start()
    definition: Json = {"url": f"http://127.0.0.1:{listener.getsockname()[1]}/", "timeout_s": 100}
    with listener:
        yield remote(admin, "http", definition, {"type": "object"}), asked.is_set, left.is_set


@contextmanager
def mcp(admin: httpx2.Client, place: Path) -> Generator[tuple[str, Stopped, Stopped]]:
    """Make a tool whose server waits to be told that it is cancelled. Yield it, and the signs that it is and was."""
    started, cancelled = place / "started", place / "cancelled"
    properties = {"started": {"const": str(started)}, "cancelled": {"const": str(cancelled)}}
    schema: Json = {"type": "object", "properties": properties, "required": ["started", "cancelled"]}
    yield remote(admin, "mcp", {"server": "raw", "tool": "wait"}, schema), started.exists, cancelled.exists


Kind = Callable[[httpx2.Client, Path], AbstractContextManager[tuple[str, Stopped, Stopped]]]
KINDS = pytest.mark.parametrize("kind", [code, http, mcp])


@KINDS
@pytest.mark.parametrize("by_leaving", [False, True])
def test_in_text(tertulia: Server, as_admin: httpx2.Client, kind: Kind, by_leaving: bool, tmp_path: Path) -> None:
    with kind(as_admin, tmp_path) as (tool_id, runs, stopped):
        conversation_id = id_of(begin(as_admin, clinic(as_admin, tool_id)))
        says = f"I want to book: started={tmp_path}/started cancelled={tmp_path}/cancelled"
        parts = [("initial_message_type", (None, "user-message")), ("recorded_message", (None, says))]
        params = {"request_format": "text", "response_format": "text"}
        path = f"/conversation/{conversation_id}"
        with as_admin.stream("POST", f"{path}/interact", params=params, files=parts) as answer:
            interaction_id = answer.headers["X-Tertulia-Interaction-Id"]
            patiently(runs)
            if not by_leaving:
                as_admin.post(f"{path}/interaction/{interaction_id}/cancel").raise_for_status()
                assert json.loads(list(answer.iter_lines())[-1])["type"] == "error"
        patiently(stopped)
        [record] = patiently(lambda: invocations(as_admin, tool_id))
    assert record["invocation_status"]["exception_type"] == "ToolStopped"


@KINDS
def test_in_speech(tertulia: Server, as_admin: httpx2.Client, kind: Kind, tmp_path: Path) -> None:
    with kind(as_admin, tmp_path) as (tool_id, runs, stopped):
        service_id = clinic(as_admin, tool_id)
        token = as_admin.headers["Authorization"].removeprefix("Bearer ")
        with live(tertulia, token, "response_format=voice") as connection:
            connection.start(service_id)
            connection.say(f"I want to book: started={tmp_path}/started cancelled={tmp_path}/cancelled")
            patiently(runs)
        patiently(stopped)
        [record] = patiently(lambda: invocations(as_admin, tool_id))
    assert record["invocation_status"]["exception_type"] == "ToolStopped"


def invocations(admin: httpx2.Client, tool_id: str) -> list[Json]:
    """List the calls of a tool that are over. Return them."""
    return admin.get("/tool/invocation", params={"tool_id": tool_id}).raise_for_status().json()["tool_invocations"]
