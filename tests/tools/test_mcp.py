"""Tools of MCP servers: both transports, both generations of the protocol, and servers that behave badly."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pydantic import ValidationError

from support.waiting import until
from tertulia.settings import McpServer, Settings
from tertulia.tools import mcp_sessions
from tertulia.tools.addresses import AddressRules, Connector
from tertulia.tools.definitions import McpPlace, McpTool
from tertulia.tools.mcp import McpTools
from tertulia.tools.outcomes import CallFailed
from tertulia.tools.values import ToolCall, ToolFailed, ToolProgram, ToolSucceeded
from tools.servers.good import server as good
from tools.web import Asked, answer, web

SERVERS = Path(__file__).parent / "servers"
Outcome = ToolSucceeded | ToolFailed


def command(*words: str, **more: Any) -> McpServer:
    return McpServer(command=(sys.executable, *words), **more)


def raw(mode: str) -> McpServer:
    return command(str(SERVERS / "raw.py"), mode)


@asynccontextmanager
async def tools(*allowed: str, **servers: McpServer) -> AsyncGenerator[McpTools]:
    connector = Connector(AddressRules.parse(allowed))
    made = McpTools(connector, servers)
    try:
        yield made
    finally:
        await made.aclose()
        connector.close()


async def ask(
    made: McpTools, place: Mapping[str, Any], tool: str, arguments: Mapping[str, Any] | None = None, **more: Any
) -> Outcome:
    organization = more.pop("organization", "org")
    environment = more.pop("environment", {})
    program = ToolProgram(organization, "t", "1.0.0", "mcp", {**place, "tool": tool, **more}, {"type": "object"})
    return await made.call(program, ToolCall(arguments or {}, "key-1", environment, {}, {}))


def output(outcome: Outcome) -> str:
    assert isinstance(outcome, ToolSucceeded), outcome
    return outcome.output


def failure(outcome: Outcome) -> tuple[str, str]:
    assert isinstance(outcome, ToolFailed), outcome
    return outcome.exception_type, outcome.exception_message


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


App = Callable[[Any, Any, Any], Awaitable[None]]


def of_2025(app: App) -> App:
    """Make a server that knows nothing of the protocol of 2026: it has no `server/discover`."""

    async def older(scope: Any, receive: Any, send: Any) -> None:
        if (b"mcp-method", b"server/discover") in scope.get("headers", []):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    return older


@asynccontextmanager
async def serving(app: App, port: int = 0) -> AsyncGenerator[int]:
    config = uvicorn.Config(app, port=port, log_level="critical", timeout_graceful_shutdown=1, ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


# --- Servers that behave ---------------------------------------------------------------------------------------------


async def everything_works(made: McpTools, place: Mapping[str, Any]) -> None:
    assert output(await ask(made, place, "add", {"a": 1, "b": 2})) == "3"
    assert json.loads(output(await ask(made, place, "describe", {"city": "Oslo"}))) == {"city": "Oslo", "known": True}
    assert output(await ask(made, place, "picture")) == "[image/png, 4 bytes]"
    assert "key-1" in output(await ask(made, place, "key"))
    kind, text = failure(await ask(made, place, "fail", {"why": "no such book"}))
    assert kind == "ToolError"
    assert "no such book" in text
    for wrong in (ask(made, place, "absent"), ask(made, place, "add", {"a": "x"})):
        kind, text = failure(await wrong)
        assert kind in {"ToolError", "ServerError"}
        assert text
    many = await asyncio.gather(*(ask(made, place, "add", {"a": number, "b": 0}) for number in range(20)))
    assert [output(one) for one in many] == [str(number) for number in range(20)]


@pytest.mark.parametrize("generation", ["2026", "2025"])
async def test_a_server_at_a_url_is_called(generation: str):
    app: App = good.streamable_http_app()
    async with serving(of_2025(app) if generation == "2025" else app) as port, tools(f"127.0.0.1:{port}") as made:
        await everything_works(made, {"url": f"http://127.0.0.1:{port}/mcp"})


async def test_a_server_that_is_a_command_is_called(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERTULIA_SECRET_KEY", "x" * 40)
    async with tools(good=command(str(SERVERS / "good.py"), env={"TOKEN": "t"})) as made:
        place = {"server": "good"}
        await everything_works(made, place)
        process = int(output(await ask(made, place, "process")))
        environment = output(await ask(made, place, "environmentOf.this"))
        offered = {tool.name: tool for tool in await made.offer("org", McpPlace(server="good"), {})}
    assert not alive(process)
    assert "TOKEN" in environment
    assert "TERTULIA" not in environment
    assert {"add", "describe", "environment_of_this", "wait"} <= offered.keys()
    assert offered["add"].description == "Add two numbers."
    assert offered["add"].definition == {"server": "good", "tool": "add"}
    assert offered["add"].input_schema["required"] == ["a", "b"]
    assert McpTool.model_validate(offered["environment_of_this"].definition).tool == "environmentOf.this"


async def test_a_command_is_one_process_for_each_organization():
    async with tools(raw=raw("process")) as made:
        processes = [
            int(output(await ask(made, {"server": "raw"}, "echo", organization=organization)))
            for organization in ("a", "b", "a", "b")
        ]
    assert len({*processes}) == 2
    assert processes[:2] == processes[2:]
    assert not any(map(alive, processes))


async def test_a_server_of_2025_over_standard_input_is_called():
    async with tools(raw=raw("good")) as made:
        assert output(await ask(made, {"server": "raw"}, "echo", {"x": "y"})) == '{"x": "y"}'


async def test_credentials_are_sent_and_never_shared():
    asked: list[str] = []
    app = good.streamable_http_app()

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", []))
        if scope["type"] == "http":
            asked.append(f"{headers.get(b'authorization', b'').decode()} {headers.get(b'x-team', b'').decode()}")
        await app(scope, receive, send)

    place = {"authorization": {"bearer": "TOKEN"}, "headers": {"X-Team": "TEAM"}}
    async with serving(watching) as port, tools("127.0.0.1") as made:
        at = {"url": f"http://127.0.0.1:{port}/mcp", **place}
        for token in ("token-a", "token-b"):
            said = await ask(made, at, "say", {"text": f"is {token}?"}, environment={"TOKEN": token, "TEAM": "red"})
            assert output(said) == "is ***?"
        assert failure(await ask(made, at, "say", {"text": ""}))[0] == "VariableMissing"
    assert {line for line in asked if "token-b" in line} == {"Bearer token-b red"}
    assert {line for line in asked if "token-b" not in line} == {"Bearer token-a red"}


# --- Where they may be -----------------------------------------------------------------------------------------------


async def test_an_address_that_is_not_public_is_not_reached():
    async with web(lambda _asked: asyncio.sleep(0, answer("{}"))) as server, tools() as made:
        for host in ("127.0.0.1", "localhost"):
            outcome = await ask(made, {"url": f"http://{host}:{server.port}/mcp"}, "add")
            assert "is not a public address" in failure(outcome)[1]
    assert server.asked == []


async def test_commands_are_those_of_the_settings_alone():
    with pytest.raises(ValidationError):
        McpTool.model_validate({"tool": "x", "server": "good", "command": ["sh"]})
    async with tools(good=command("-c", "pass", organizations=("mine",))) as made:
        for server, organization in [("absent", "mine"), ("good", "theirs")]:
            outcome = await ask(made, {"server": server}, "x", organization=organization)
            assert failure(outcome) == ("ServerUnavailable", f"This installation has no MCP server {server}.")


def test_servers_are_set_as_json(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERTULIA_MCP_SERVERS", '{"files": {"command": ["files", "/srv"], "env": {"A": "b"}}}')
    assert Settings().mcp.servers["files"] == McpServer(command=("files", "/srv"), env={"A": "b"})


# --- Servers that do not behave --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("dies", "ConnectionLost", "has ended"),
        ("dies-at-once", "ServerUnavailable", "has ended"),
        ("hangs", "Timeout", "within 0.5 s"),
        ("never-ready", "Timeout", "within 0.5 s"),
        ("long-line", "ConnectionLost", "more than 4194304 bytes"),
        ("no-line", "ConnectionLost", "more than 4194304 bytes"),
        ("floods", "ConnectionLost", "floods"),
        ("floods-requests", "ConnectionLost", "floods"),
        ("nonsense", "AnswerInvalid", "not one that a tool gives"),
        ("floods-answers", "ConnectionLost", "floods"),
        ("floods-errors", "ConnectionLost", "floods"),
        ("answers-another", "Timeout", "within 0.5 s"),
        ("half-character", "AnswerInvalid", "not JSON that can be read"),
        ("deep", "AnswerInvalid", "not JSON that can be read"),
        ("many-parts", "AnswerTooLong", "more than 2000 parts"),
        ("long-answer", "AnswerTooLong", "more than 1048576 bytes"),
        ("error", "ServerError", "no such tool"),
    ],
)
async def test_a_bad_server_is_a_failure_and_leaves_no_process(mode: str, kind: str, words: str, tmp_path: Path):
    note = tmp_path / "process"
    shell = f'echo $$ > {note}; exec "$0" "$@"'
    server = McpServer(command=("sh", "-c", shell, sys.executable, str(SERVERS / "raw.py"), mode))
    async with tools(raw=server) as made:
        found = failure(await ask(made, {"server": "raw"}, "echo", timeout_s=0.5 if kind == "Timeout" else 20))
        assert found[0] == kind
        assert words in found[1]
    assert not alive(int(note.read_text()))


CALLER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tools.test_mcp import ask, raw, tools

async def main():
    async with tools(raw=raw("starts")) as made:
        await ask(made, {"server": "raw"}, "echo", {"note": sys.argv[2]}, timeout_s=float(sys.argv[3]))

asyncio.run(main())
"""


@pytest.mark.parametrize("killed", [True, False])
async def test_nothing_of_a_command_is_left_when_its_session_ends_or_the_server_is_killed(tmp_path: Path, killed: bool):
    note, patience_s = tmp_path / "note", "100" if killed else "2"
    words = ["-c", CALLER, str(SERVERS.parents[1]), str(note), patience_s]
    caller = await asyncio.create_subprocess_exec(sys.executable, *words)
    await until(lambda: note.exists() and note.read_text().endswith("\n"))
    processes = [int(number) for number in note.read_text().split()]
    assert len(processes) == 2
    if killed:
        assert all(map(alive, processes))
        caller.kill()
    await caller.wait()
    await until(lambda: not any(map(alive, processes)))


async def test_a_command_that_is_not_there_is_told_apart_from_one_that_ends():
    for absent in ("no-such-command", "./no/such/command", str(SERVERS)):
        async with tools(raw=McpServer(command=(absent,))) as made:
            found = failure(await ask(made, {"server": "raw"}, "echo"))
        assert found == ("ServerUnavailable", "The command of this MCP server cannot be started.")


@pytest.mark.parametrize("value", ["\ud800", float("nan"), {"\udfff": 1}])
async def test_arguments_that_cannot_be_sent_do_not_end_the_connection(value: Any):
    async with tools(raw=raw("process")) as made:
        first = output(await ask(made, {"server": "raw"}, "echo"))
        assert failure(await ask(made, {"server": "raw"}, "echo", {"x": value}))[0] == "ArgumentInvalid"
        assert output(await ask(made, {"server": "raw"}, "echo")) == first


async def test_a_request_of_a_server_is_declined_and_the_call_goes_on():
    async with tools(raw=raw("asks")) as made:
        assert "not supported" in output(await ask(made, {"server": "raw"}, "echo")).lower()


async def test_a_server_that_no_longer_listens_does_not_hold_up_the_next_call_for_long():
    async with tools(raw=raw("deaf")) as made:
        assert output(await ask(made, {"server": "raw"}, "echo")) == "heard"
        large = {"x": "y" * (1 << 20)}
        assert failure(await ask(made, {"server": "raw"}, "echo", large, timeout_s=0.3))[0] == "Timeout"


async def test_a_server_that_died_is_started_again_for_the_next_call():
    async with tools(raw=raw("dies-later")) as made:
        outcomes = [await ask(made, {"server": "raw"}, "echo") for _ in range(4)]
    assert [type(outcome).__name__ for outcome in outcomes] == ["ToolSucceeded", "ToolFailed"] * 2


@pytest.mark.parametrize("generation", ["2026", "2025"])
async def test_a_server_at_a_url_that_was_started_again_is_called_again(generation: str):
    def made_new() -> App:
        from mcp.server.mcpserver import MCPServer  # noqa: PLC0415 - a server runs once

        server = MCPServer("again")
        server.add_tool(lambda: "here", name="here", structured_output=False)
        return of_2025(server.streamable_http_app()) if generation == "2025" else server.streamable_http_app()

    async with tools("127.0.0.1") as made:
        async with serving(made_new()) as port:
            place = {"url": f"http://127.0.0.1:{port}/mcp"}
            assert output(await ask(made, place, "here")) == "here"
        kind, text = failure(await ask(made, place, "here"))
        assert (kind, text) == ("ConnectionFailed", "The server takes no connections.")
        async with serving(made_new(), port):
            assert output(await ask(made, place, "here")) == "here"


async def test_a_cancelled_call_is_cancelled_at_the_server(tmp_path: Path):
    started, cancelled = tmp_path / "started", tmp_path / "cancelled"
    arguments = {"started": str(started), "cancelled": str(cancelled)}
    app = good.streamable_http_app()
    async with serving(app) as port, tools("127.0.0.1", raw=raw("waits")) as made:
        for place in ({"server": "raw"}, {"url": f"http://127.0.0.1:{port}/mcp"}):
            calling = asyncio.create_task(ask(made, place, "wait", arguments))
            await until(started.exists)
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            await until(cancelled.exists)
            started.unlink()
            cancelled.unlink()


@pytest.mark.parametrize(
    ("sent", "kind", "words"),
    [
        (answer("no json"), "ServerUnavailable", "JSON"),
        (answer("x" * (5 << 20)), "ServerUnavailable", "4194304 bytes"),
        (answer("", "401 Unauthorized"), "ServerUnavailable", "status 401"),
        (answer("", "500 Oops"), "ServerUnavailable", "error"),
        (answer("", "302 Found", Location="http://169.254.169.254/"), "ServerUnavailable", "not followed"),
        (answer("data: " + "x" * (2 << 20) + "\n\n", Content_Type="text/event-stream"), "ServerUnavailable", ""),
        (answer(": x\n\n" * (1 << 20), Content_Type="text/event-stream"), "ServerUnavailable", ""),
        (answer("data: {}\n\n" * 2000, Content_Type="text/event-stream"), "ServerUnavailable", ""),
    ],
)
async def test_a_web_server_that_is_none_of_mcp_is_a_failure(sent: bytes, kind: str, words: str):
    async def answering(_asked: Asked) -> bytes:
        return sent

    async with web(answering) as server, tools("127.0.0.1") as made:
        found = failure(await ask(made, {"url": f"{server.url}/mcp"}, "x", timeout_s=20))
        assert found[0] == kind
        assert words in found[1]


async def test_a_web_server_that_hangs_is_given_up_and_does_not_hold_up_the_end():
    async def answering(_asked: Asked) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with web(answering) as server, tools("127.0.0.1") as made:
        assert failure(await ask(made, {"url": f"{server.url}/mcp"}, "x", timeout_s=0.2))[0] == "Timeout"
        with pytest.raises(CallFailed):
            await made.offer("org", McpPlace(url=f"{server.url}/mcp", timeout_s=0.1), {})


async def test_a_server_has_a_time_to_be_ready(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mcp_sessions, "START_S", 0.2)
    async with tools(raw=raw("never-ready")) as made:
        assert failure(await ask(made, {"server": "raw"}, "x")) == (
            "ServerUnavailable",
            "The MCP server was not ready within 0.2 s.",
        )
