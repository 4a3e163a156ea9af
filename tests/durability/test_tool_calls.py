"""The server dies by SIGKILL in the middle of a tool's call: the call is on record, and its retry knows of it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from durability.lives import PATIENCE_S, Installation, Request, tokens
from support import samples
from support.samples import action, graph, tool_call
from support.server import NO_CERTIFICATES, settings_of
from support.tools import a_tool_name, an_archive
from tertulia.storage.tables import tool_invocations

pytestmark = [pytest.mark.both_databases, pytest.mark.heavy]

SLEEPER = """
import time
def run(arguments, context):
    if context.attempt == 1:
        time.sleep(600)
    return f"attempt {context.attempt}"
"""
MANIFEST = """
name = "sleeper"
limits.wall_seconds = 600
[input_schema]
type = "object"
additionalProperties = false
"""


@pytest.fixture
def installation(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Installation]:
    made = Installation(settings_of(data=tmp_path, database={"url": new_database(), "pool_size": 4}))
    made.start()
    yield made
    made.close()


def client(installation: Installation) -> httpx2.Client:
    """Make a client of the administrator. Return it."""
    org_id, admin = installation.demo.organization_id, installation.demo.admin_user_id
    [token] = asyncio.run(tokens(installation.settings, org_id, [admin]))
    headers, base = {"Authorization": f"Bearer {token}"}, f"{installation.url}/v1/{org_id}"
    return httpx2.Client(base_url=base, headers=headers, timeout=PATIENCE_S, trust_env=False, verify=NO_CERTIFICATES)


def a_service(admin: httpx2.Client) -> tuple[str, str]:
    """Make a service that calls a tool in its first turn's state. Return the identifiers of tool and service."""
    tool_id = str(admin.post("/tool/", json=samples.tool(a_tool_name())).raise_for_status().json()["id"])
    archive = an_archive({"tool.toml": MANIFEST, "tool.py": SLEEPER})
    kind = {"content-type": "application/gzip"}
    path = f"/tool/{tool_id}/version/archive"
    admin.post(path, params={"bump_type": "major"}, content=archive, headers=kind).raise_for_status()
    states = [action("start", "book"), tool_call("book", "booked", tool_id), action("booked", "end"), action("end")]
    return tool_id, samples.make_service(admin, graph(*states))


def processes_of_tools() -> set[int]:
    """Find the processes of tools. Return their identifiers."""
    found = psutil.process_iter(["pid", "cmdline"])
    return {each.pid for each in found if "tertulia.tools.confinement" in " ".join(each.info["cmdline"] or [])}


def wait_for(what: Callable[[], Any]) -> Any:
    """Look until there is something. Return it."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.02)  # another process works, and nothing tells when it has
    raise AssertionError("it never comes")


def test_a_call_whose_server_dies_is_on_record_and_its_retry_knows(installation: Installation) -> None:
    with client(installation) as admin:
        tool_id, service_id = a_service(admin)
    installation.demo = replace(installation.demo, service_id=service_id)
    user = installation.user()
    last, _ = user.insist(Request(None, "Hello"))
    request, others = Request(last.conversation_id, "Book it"), processes_of_tools()
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(user.send, request)
        wait_for(lambda: installation.count(tool_invocations) and processes_of_tools() - others)
        installation.kill()
        cut = sent.result()
    wait_for(lambda: not processes_of_tools() - others)
    installation.start()
    done, _ = user.insist(request)

    with client(installation) as admin:
        answer = admin.get("/tool/invocation", params={"tool_id": tool_id}).raise_for_status().json()
    again, first = (made["invocation_status"] for made in answer["tool_invocations"])
    assert (again["succeeded"], again["output"]) == (True, "attempt 2")
    assert (first["succeeded"], first["exception_type"]) == (False, "ToolInterrupted")
    sources = [made["invocation_source"] for made in answer["tool_invocations"]]
    assert sources[0]["interaction_id"] == done.interaction_id != sources[1]["interaction_id"] == cut.interaction_id
    assert installation.faults() == []
