"""The examples of remote tools do what their pages say."""

import json
import sys
import tomllib

from support.pages import ROOT
from tertulia.settings import McpSettings
from tertulia.tools.addresses import AddressRules, Connector
from tertulia.tools.definitions import HttpOperation
from tertulia.tools.http import HttpTools
from tertulia.tools.mcp import McpTools
from tertulia.tools.values import ToolCall, ToolFailed, ToolOutcome, ToolProgram, ToolSucceeded
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


async def test_the_file_server_shows_its_folder_and_nothing_above_it():
    settings = tomllib.loads((EXAMPLES / "files" / "tertulia.toml").read_text("utf-8"))
    files = McpSettings.model_validate(settings["mcp"]).servers["files"]
    command = (sys.executable, str(ROOT / files.command[1]), str(ROOT / files.command[2]))
    connector = Connector(AddressRules())
    made = McpTools(connector, {"files": files.model_copy(update={"command": command})})

    async def ask(tool: str, **arguments: str) -> ToolOutcome:
        program = ToolProgram("org", "t", "0.1.0", "mcp", {"server": "files", "tool": tool}, {})
        return await made.call(program, ToolCall(arguments, "key", {}, {}, {}))

    try:
        listed = await ask("list_files", folder="guide")
        read = await ask("read_file", name="guide/security.md")
        outside = [await ask("read_file", name=name) for name in ("../README.md", "/etc/passwd", "guide/../../LICENSE")]
    finally:
        await made.aclose()
        connector.close()
    assert isinstance(listed, ToolSucceeded)
    assert "security.md" in listed.output.split("\n")
    assert isinstance(read, ToolSucceeded)
    assert read.output.startswith("# Security")
    assert all(isinstance(outcome, ToolFailed) for outcome in outside)
