"""HTTP and MCP tools by the API alone: offered, published, called."""

import sys

import httpx2
import pytest

from support import samples
from support.pages import ROOT
from support.samples import Json
from support.server import Serve, Server

from .conftest import a_tool_name

RAW = ROOT / "tests" / "tools" / "servers" / "raw.py"


@pytest.fixture(scope="module")
def tertulia(serve: Serve) -> Server:
    servers = {"raw": {"command": [sys.executable, str(RAW), "good"]}}
    return serve(tools={"allow": ["127.0.0.1"]}, mcp={"servers": servers})


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
