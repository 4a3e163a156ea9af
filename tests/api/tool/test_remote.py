"""HTTP and MCP tools by the API alone: offered, published, called."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from support import samples
from support.answering import Quiet
from support.pages import ROOT
from support.samples import Json, action, graph, tool_call
from support.server import Serve, Server
from support.talk import begin, go_on, id_of

from .conftest import a_tool_name

RAW = ROOT / "tests" / "tools" / "servers" / "raw.py"


@pytest.fixture(scope="module")
def tertulia(serve: Serve) -> Server:
    servers = {"raw": {"command": [sys.executable, str(RAW), "good"]}}
    return serve(tools={"allow": ["127.0.0.1"]}, mcp={"servers": servers}, trace="prompts")


@dataclass
class Desk:
    """A server of an HTTP API that books, with the requests that it was sent."""

    url: str
    asked: list[tuple[dict[str, str], Json]] = field(default_factory=list[tuple[dict[str, str], Json]])


@pytest.fixture
def desk() -> Iterator[Desk]:
    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
            told = json.dumps({"booked": body["day"]}).encode()
            self.send_response(409 if body["day"] == "Sunday" else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Desk(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


def publish(admin: httpx2.Client, offer: Json) -> str:
    """Make a tool of an offer, with its first version. Return its identifier."""
    tool_id = admin.post("/tool/", json=samples.tool(a_tool_name())).raise_for_status().json()["id"]
    body = {"definition": offer["definition"], "input_schema": offer["input_schema"], "bump_type": "major"}
    answer = admin.post(f"/tool/{tool_id}/version/{offer['kind']}", json=body)
    assert answer.status_code == 201, answer.text
    return str(tool_id)


def call(admin: httpx2.Client, tool_id: str, arguments: Json) -> Json:
    body = {"inputs": [samples.tool_input(arguments)]}
    answer = admin.post(f"/tool/{tool_id}/version/1.0.0/invoke", json=body).raise_for_status()
    return answer.json()["invocation_results"][0]


def test_an_openapi_document_becomes_tools_that_are_called(tertulia: Server, as_admin: httpx2.Client) -> None:
    document: Json = {
        "openapi": "3.1.0",
        "servers": [{"url": tertulia.url}],
        "paths": {"/{page}": {"get": {"operationId": "getPage", "parameters": [{"name": "page", "in": "path"}]}}},
    }
    (offer,) = as_admin.post("/tool/offer/openapi", json={"document": document}).raise_for_status().json()["tools"]
    tool_id = publish(as_admin, offer)

    assert (offer["name"], offer["kind"]) == ("get_page", "http")
    assert call(as_admin, tool_id, {"page": "healthz"})["succeeded"] is True
    failed = call(as_admin, tool_id, {"page": "../healthz"})
    assert (failed["succeeded"], failed["exception_type"]) == (False, "ArgumentInvalid")


def test_a_wrong_document_is_told_with_its_place(as_admin: httpx2.Client) -> None:
    document: Json = {"openapi": "3.1.0", "servers": [{"url": "https://a.example"}], "paths": {"/a": {"get": 5}}}
    answer = as_admin.post("/tool/offer/openapi", json={"document": document})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "document", "paths", "/a", "get"]


def test_a_tool_of_an_mcp_server_is_offered_published_and_called(as_admin: httpx2.Client) -> None:
    asked = as_admin.post("/tool/offer/mcp", json={"server": {"server": "raw"}})
    (offer,) = asked.raise_for_status().json()["tools"]
    tool_id = publish(as_admin, offer)
    result = call(as_admin, tool_id, {"x": "y"})
    assert (result["succeeded"], result["output"]) == (True, '{"x": "y"}')


@pytest.mark.parametrize(
    ("server", "status", "words"),
    [
        ({"server": "absent"}, 400, "no MCP server absent"),
        ({"url": "http://10.0.0.1/mcp"}, 400, "is not a public address"),
        ({"url": "http://127.0.0.1:1/mcp"}, 422, "not a port of HTTP"),
        ({"command": ["sh"]}, 422, "not known"),
        ({"url": "https://mcp.example", "authorization": {"bearer": "KEY"}}, 400, "no environment variable KEY"),
    ],
)
def test_a_server_that_cannot_be_asked_is_told(as_admin: httpx2.Client, server: Json, status: int, words: str) -> None:
    answer = as_admin.post("/tool/offer/mcp", json={"server": server})
    assert (answer.status_code, words in answer.text) == (status, True), answer.text


def test_only_makers_of_tools_are_offered_any(as_user: httpx2.Client) -> None:
    for path, body in (("openapi", {"document": {}}), ("mcp", {"server": {"server": "raw"}})):
        assert as_user.post(f"/tool/offer/{path}", json=body).status_code == 403


# --- In a turn -------------------------------------------------------------------------------------------------------

DAYS: Json = {
    "type": "object",
    "properties": {"day": {"type": "string", "enum": ["Monday", "Sunday"]}},
    "required": ["day"],
    "additionalProperties": False,
}


def http_tool(desk: Desk) -> Json:
    """Describe the tool of the desk. Return it as an offer."""
    definition: Json = {"method": "POST", "url": f"{desk.url}/book", "body": {"format": "json"}}
    return {"kind": "http", "definition": definition, "input_schema": DAYS}


def mcp_tool(_desk: Desk) -> Json:
    """Describe the tool of the MCP server, which answers with what it is given. Return it as an offer."""
    return {"kind": "mcp", "definition": {"server": "raw", "tool": "echo"}, "input_schema": DAYS}


@pytest.mark.parametrize("persistence", ["ephemeral", "persisted"])
@pytest.mark.parametrize(("tool", "told"), [(http_tool, '{"booked": "Monday"}'), (mcp_tool, '{"day": "Monday"}')])
def test_a_turn_calls_it_and_its_result_lasts_as_its_use_says(
    as_admin: httpx2.Client, desk: Desk, tool: Callable[[Desk], Json], told: str, persistence: str
) -> None:
    tool_id = publish(as_admin, tool(desk))
    conversation_id = id_of(begin(as_admin, clinic(as_admin, tool_id, persistence)))

    events = go_on(as_admin, conversation_id, "I want to book: day=Monday")

    assert events[-1]["type"] == "interaction-complete", events[-1]
    [ended] = [event["action"] for event in events if event.get("action", {}).get("type") == "tool-call-ended"]
    assert (ended["input_parameters"], json.loads(ended["result"])) == ({"day": "Monday"}, json.loads(told))
    [record] = invocations(as_admin, tool_id)
    assert (record["invocation_status"]["succeeded"], record["inputs"]) == (True, {"day": "Monday"})
    assert record["invocation_source"]["interaction_id"] == events[-1]["interaction_id"]
    [_, made] = seen(as_admin, conversation_id, events, "insights")["state_transition_logs"]
    output = made["designated_tool_call_log"]["output"]
    assert (output is None) == (persistence == "ephemeral")
    later = go_on(as_admin, conversation_id, "When was that again?")
    prompts = json.dumps(seen(as_admin, conversation_id, later, "trace"))
    assert ("gave: " in prompts) == (persistence == "persisted"), "a later turn is told what lasts"
    if tool is http_tool:
        [(headers, body)] = desk.asked
        assert (body, headers["tertulia-attempt"], len(headers["idempotency-key"])) == ({"day": "Monday"}, "1", 32)


def test_a_remote_tool_that_fails_is_told_to_the_model_and_recorded(as_admin: httpx2.Client, desk: Desk) -> None:
    tool_id = publish(as_admin, http_tool(desk))
    conversation_id = id_of(begin(as_admin, clinic(as_admin, tool_id, "persisted")))

    events = go_on(as_admin, conversation_id, "I want to book: day=Sunday")

    assert events[-1]["type"] == "interaction-complete", events[-1]
    assert "The tool failed: StatusError" in json.dumps(seen(as_admin, conversation_id, events, "trace"))
    [record] = invocations(as_admin, tool_id)
    assert record["invocation_status"]["exception_type"] == "StatusError"
    assert len(desk.asked) == 1, "no request is repeated"


def clinic(admin: httpx2.Client, tool_id: str, persistence: str) -> str:
    """Make a service with a state that is there to call a tool. Return its identifier."""
    use = {**samples.tool_spec(tool_id), "result_persistence": persistence}
    states = [
        action("start", "book"),
        {**tool_call("book", "booked", tool_id), "designated_tool": use},
        action("booked", "end"),
        action("end"),
    ]
    return samples.make_service(admin, graph(*states))


def invocations(admin: httpx2.Client, tool_id: str) -> list[Json]:
    """List the calls of a tool that are on record. Return them."""
    return admin.get("/tool/invocation", params={"tool_id": tool_id}).raise_for_status().json()["tool_invocations"]


def seen(admin: httpx2.Client, conversation_id: str, events: list[Json], what: str) -> Json:
    """Read what is kept of a turn. Return it."""
    path = f"/conversation/{conversation_id}/interaction/{events[-1]['interaction_id']}/{what}"
    return admin.get(path).raise_for_status().json()
