"""The examples of tools, published as they stand but for their addresses: called, and used in conversations."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support import bookings, samples, spoken
from support.answering import Quiet
from support.bookings import Calendar
from support.pages import ROOT
from support.server import Serve, Server
from support.talk import Event, begin, create, go_on, id_of, lines, types
from tertulia.tools import archive

from .conftest import a_tool_name

EXAMPLES = ROOT / "examples" / "tools"
WEATHER = EXAMPLES / "weather" / "weather.json"
BOOKING = ROOT / "examples" / "agents" / "clinic-intake" / "tools"


class Weather(Quiet, BaseHTTPRequestHandler):
    """A server that answers with the query it is asked."""

    def do_GET(self) -> None:
        content = json.dumps({"asked": self.path}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def started(server: ThreadingHTTPServer) -> Iterator[str]:
    """Run a server while a test lasts. Yield its address."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def weather() -> Iterator[str]:
    yield from started(ThreadingHTTPServer(("127.0.0.1", 0), Weather))


@pytest.fixture
def calendar(tmp_path: Path) -> Iterator[Calendar]:
    with bookings.running(tmp_path / "bookings.db") as running:
        yield running


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    """A server whose operator allows tools to reach this host, and has the MCP server of the examples."""
    files = {"command": [sys.executable, str(EXAMPLES / "files" / "server.py"), str(ROOT / "docs")]}
    return serve(tools={"allow": ["127.0.0.1"]}, mcp={"servers": {"files": files}})


def publish(client: httpx2.Client, file: Path, address: str, key: str = "") -> str:
    """Publish an example with an address of the test. Return the identifier of its tool."""
    example: dict[str, Any] = json.loads(file.read_text("utf-8"))
    path = "/" + example["definition"]["url"].split("/", 3)[3]
    example["definition"]["url"] = address + path
    body = samples.tool(a_tool_name(), description=example["description"])
    tool_id = str(client.post("/tool/", json=body).raise_for_status().json()["id"])
    if "authorization" in example["definition"]:
        variable = {"name": "CALENDAR_KEY", "value": key, "is_secret": True}
        client.post(f"/tool/{tool_id}/envvar", json={"inserts": [variable]}).raise_for_status()
    version = {"definition": example["definition"], "input_schema": example["input_schema"], "bump_type": "major"}
    client.post(f"/tool/{tool_id}/version/http", json=version).raise_for_status()
    return tool_id


def call(client: httpx2.Client, tool_id: str, **parameters: Any) -> Any:
    """Call the first version of a tool. Return its output, or its failure."""
    body = {"inputs": [samples.tool_input(parameters)]}
    answer = client.post(f"/tool/{tool_id}/version/1.0.0/invoke", json=body).raise_for_status()
    (result,) = answer.json()["invocation_results"]
    return json.loads(result["output"]) if result["succeeded"] else result


def test_the_weather_is_asked_for_a_place(server: Server, weather: str) -> None:
    tool_id = publish(server.as_admin, WEATHER, weather)

    asked = call(server.as_admin, tool_id, latitude=52.5, longitude=13.4)["asked"]

    assert asked.startswith("/v1/forecast?latitude=52.5&longitude=13.4&current=temperature_2m")


def test_an_appointment_is_booked_once(server: Server, calendar: Calendar) -> None:
    admin = server.as_admin
    free = publish(admin, BOOKING / "free_slots.json", calendar.address)
    book = publish(admin, BOOKING / "book_slot.json", calendar.address, calendar.key)
    wish = {"day": "2026-12-24", "time": "09:30", "name": "Ada"}

    before = call(admin, free, day="2026-12-24")["free"]
    booked = call(admin, book, **wish)
    again = call(admin, book, **{**wish, "name": "Bea"})
    after = call(admin, free, day="2026-12-24")["free"]

    assert booked == {"booked": wish}
    assert (again["succeeded"], "not free" in again["exception_message"]) == (False, True)
    assert set(before) - set(after) == {"09:30"}


def test_an_address_that_the_operator_has_not_listed_is_not_reached(tertulia: Server, calendar: Calendar) -> None:
    tool_id = publish(tertulia.as_admin, BOOKING / "free_slots.json", calendar.address)

    refused = call(tertulia.as_admin, tool_id, day="2026-12-24")

    assert refused["succeeded"] is False
    assert "not a public address" in refused["exception_message"]


# --- In conversations ------------------------------------------------------------------------------------------------


def of_file_server(client: httpx2.Client) -> str:
    """Publish the tool of the MCP server that reads a file. Return its identifier."""
    body = samples.tool(a_tool_name(), description="Reads a text file.")
    tool_id = str(client.post("/tool/", json=body).raise_for_status().json()["id"])
    version = {"definition": {"server": "files", "tool": "read_file"}, "bump_type": "major"}
    client.post(f"/tool/{tool_id}/version/mcp", json=version).raise_for_status()
    return tool_id


def of_calculator(client: httpx2.Client) -> str:
    """Publish the tool in code. Return its identifier."""
    body = samples.tool(a_tool_name(), description="Works out an expression.")
    tool_id = str(client.post("/tool/", json=body).raise_for_status().json()["id"])
    packed = archive.pack(archive.read_folder(EXAMPLES / "calculator"))
    kind = {"content-type": "application/gzip"}
    path = f"/tool/{tool_id}/version/archive"
    client.post(path, params={"bump_type": "major"}, content=packed, headers=kind).raise_for_status()
    return tool_id


def converse(client: httpx2.Client, tool_id: str, says: str, *, aloud: bool) -> list[Event]:
    """Say something, written or aloud, to an agent that uses a tool. Return the events of its answer."""
    service_id = samples.make_clinic(client, tool_id)
    if not aloud:
        return go_on(client, id_of(begin(client, service_id)), says)
    conversation_id = id_of(lines(create(client, service_id, {"response_format": "voice"})))
    events = lines(spoken.send(client, conversation_id, spoken.said(says), spoken.BARE, response_format="voice"))
    assert events[0]["user_message"] == says
    assert says.partition(".")[0] in spoken.heard(spoken.sound(events)), "the reply repeats the message, aloud too"
    return events


def used(events: list[Event]) -> str:
    """Find the one call of a tool among the events of an answer. Return its result."""
    assert types(events)[-1] == "interaction-complete", events[-1]
    [ended] = [event["action"] for event in events if event.get("action", {}).get("type") == "tool-call-ended"]
    return str(ended["result"])


@pytest.mark.parametrize("aloud", [False, True], ids=["written", "aloud"])
def test_an_agent_books_an_appointment_in_the_calendar(server: Server, calendar: Calendar, aloud: bool) -> None:
    admin = server.as_admin
    says = "I want to book. day: 2026-12-24, time: 09:30, name: Ada"

    free = used(converse(admin, publish(admin, BOOKING / "free_slots.json", calendar.address), says, aloud=aloud))
    book = publish(admin, BOOKING / "book_slot.json", calendar.address, calendar.key)
    booked = used(converse(admin, book, says, aloud=aloud))
    again = used(converse(admin, book, says, aloud=aloud))

    assert "09:30" in json.loads(free)["free"]
    assert json.loads(booked) == {"booked": {"day": "2026-12-24", "time": "09:30", "name": "Ada"}}
    assert "not free" in again
    assert calendar.bookings() == [("2026-12-24", "09:30", "Ada")]
    made = admin.get("/tool/invocation", params={"tool_id": book}).raise_for_status().json()["tool_invocations"]
    assert sorted(one["invocation_status"]["succeeded"] for one in made) == [False, True]


@pytest.mark.parametrize("aloud", [False, True], ids=["written", "aloud"])
def test_an_agent_uses_the_weather_the_calculator_and_the_file_server(
    server: Server, weather: str, aloud: bool
) -> None:
    admin = server.as_admin
    forecast = publish(admin, WEATHER, weather)
    asked = converse(admin, forecast, "Book it. latitude: 52.5, longitude: 13.4", aloud=aloud)
    reckoned = converse(admin, of_calculator(admin), 'Book it. expression: "(12.5 + 3) * 2"', aloud=aloud)
    read = converse(admin, of_file_server(admin), 'Book it. name: "guide/security.md"', aloud=aloud)

    assert json.loads(used(asked))["asked"].startswith("/v1/forecast?latitude=52.5&longitude=13.4&")
    assert used(reckoned) == "31"
    assert used(read).startswith("# Security")
