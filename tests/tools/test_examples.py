"""The examples of remote tools do what their pages say."""

import json
import runpy
import tomllib

import pytest
from mcp.client.client import Client

from support.pages import ROOT
from tertulia.settings import McpSettings
from tertulia.tools.addresses import AddressRules, Connector
from tertulia.tools.definitions import HttpOperation
from tertulia.tools.http import HttpTools
from tertulia.tools.mcp_sessions import told
from tertulia.tools.outcomes import CallFailed
from tertulia.tools.values import ToolCall, ToolProgram, ToolSucceeded
from tools.web import Asked, answer, web

EXAMPLES = ROOT / "examples" / "tools"


async def test_the_weather_is_asked_for_by_its_place():
    version = json.loads((EXAMPLES / "weather" / "weather.json").read_text("utf-8"))
    assert HttpOperation.model_validate(version["definition"])

    async def answering(_asked: Asked) -> bytes:
        return answer('{"current": {"temperature_2m": 7.5}}')

    async with web(answering) as server:
        definition = {**version["definition"], "url": f"{server.url}/v1/forecast"}
        connector = Connector(AddressRules.parse(["127.0.0.1"]))
        made = HttpTools(connector)
        program = ToolProgram("org", "weather", "0.1.0", "http", definition, version["input_schema"])
        outcome = await made.call(program, ToolCall({"latitude": 59.9, "longitude": 10.75}, "key", {}, {}, {}))
        await made.aclose()
        connector.close()
    assert isinstance(outcome, ToolSucceeded)
    assert server.asked[0].target.startswith("/v1/forecast?latitude=59.9&longitude=10.75&current=temperature_2m%2C")


async def test_the_file_server_shows_its_folder_and_nothing_above_it(monkeypatch: pytest.MonkeyPatch):
    settings = tomllib.loads((EXAMPLES / "files" / "tertulia.toml").read_text("utf-8"))
    command = McpSettings.model_validate(settings["mcp"]).servers["files"].command
    monkeypatch.setattr("sys.argv", [command[1], str(ROOT / command[2])])
    files = runpy.run_path(str(ROOT / command[1]))["server"]

    async with Client(files) as client:
        listed = told(await client.call_tool("list_files", {"folder": "guide"}))
        read = told(await client.call_tool("read_file", {"name": "guide/security.md"}))
        for name in ("../README.md", "/etc/passwd", "guide/../../LICENSE", "guide", "absent"):
            with pytest.raises(CallFailed, match="is no"):
                told(await client.call_tool("read_file", {"name": name}))
    assert "security.md" in listed.split("\n")
    assert read.startswith("# Security")
