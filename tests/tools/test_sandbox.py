"""A tool in code is called in its sandbox: the input goes in, the answer comes out, and nothing stays."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from support import sandboxes
from support.waiting import until
from tertulia.tools.host import Host
from tertulia.tools.sandbox import Sandbox
from tertulia.tools.values import ToolCall, ToolFailed, ToolOutcome, ToolSucceeded

LEVELS = sandboxes.levels()
PLAIN = LEVELS[min(LEVELS)]

pytestmark = pytest.mark.skipif(not PLAIN.confines, reason="this machine confines no tools")


@pytest.fixture(params=sorted(LEVELS))
def host(request: pytest.FixtureRequest) -> Host:
    return LEVELS[request.param]


async def outcome_of(code: str, host: Host = PLAIN, toml: str = "", connect: Any = None, **given: Any) -> ToolOutcome:
    archive, program = sandboxes.packed(sandboxes.project(code, toml))
    async with sandboxes.opened(host, archive, connect=connect or sandboxes.no_connection) as sandbox:
        return await sandbox.call(program, sandboxes.arguments(**given))


def output(outcome: ToolOutcome) -> str:
    assert isinstance(outcome, ToolSucceeded), outcome
    return outcome.output


def failure(outcome: ToolOutcome) -> ToolFailed:
    assert isinstance(outcome, ToolFailed), outcome
    return outcome


ECHO = """
import os
def run(input, context):
    return {
        "input": input, "key": context.idempotency_key, "mode": context.mode, "environment": context.environment,
        "region": os.environ["REGION"], "user": context.user_variables, "secret": context.secret_user_variables,
        "server": sorted(name for name in os.environ if name.startswith(("TERTULIA", "SECRET"))),
    }
"""


async def test_a_tool_is_given_its_input_its_key_and_its_variables_and_nothing_of_the_server(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_SERVER", "x")
    archive, program = sandboxes.packed(sandboxes.project(ECHO))
    call = ToolCall(
        {"city": "Zürich"}, "key-7", {"REGION": "eu"}, {"user_id": "u"}, {"pin": "1"}, "conversation-simulation"
    )

    async with sandboxes.opened(host, archive) as sandbox:
        told = json.loads(output(await sandbox.call(program, call)))

    assert told == {
        "input": {"city": "Zürich"},
        "key": "key-7",
        "mode": "conversation-simulation",
        "environment": {"REGION": "eu"},
        "region": "eu",
        "user": {"user_id": "u"},
        "secret": {"pin": "1"},
        "server": [],
    }


async def test_a_text_is_told_as_it_is_and_a_coroutine_is_awaited() -> None:
    code = "import asyncio\nasync def run(input, context):\n    await asyncio.sleep(0)\n    return 'Über \\U0001f600'"

    assert output(await outcome_of(code)) == "Über \U0001f600"


async def test_a_tool_may_call_its_files_as_the_standard_library_does() -> None:
    files = sandboxes.project("def run(input, context):\n    return {'is': ['ours']}\n", **{"json.py": "1 / 0"})
    archive, program = sandboxes.packed(files)
    async with sandboxes.opened(PLAIN, archive) as sandbox:
        told = [output(await sandbox.call(program, sandboxes.arguments())) for _ in range(2)]
    assert told == ['{"is": ["ours"]}'] * 2


async def test_what_a_tool_prints_is_not_its_answer() -> None:
    code = "def run(input, context):\n    print('noise', flush=True)\n    return 'answer'"

    assert output(await outcome_of(code)) == "answer"


async def test_a_failure_names_the_tools_own_lines_alone() -> None:
    code = "import json\ndef run(input, context):\n    return inner()\ndef inner():\n    json.loads('{')"

    failed = failure(await outcome_of(code))

    assert failed.exception_type == "JSONDecodeError"
    assert failed.exception_stack_trace == ("tool.py, line 3, in run", "tool.py, line 5, in inner")


async def test_an_answer_tells_no_key_of_the_tool_and_else_what_the_tool_gives() -> None:
    code = """
def run(input, context):
    return {**context.environment, **context.secret_user_variables}
"""
    toml = '[environment]\nplain = ["REGION"]\nsecret = ["API_KEY", "SHORT"]'
    archive, program = sandboxes.packed(sandboxes.project(code, toml))
    environment = {"REGION": "europe-west", "API_KEY": 'hush"hush\n', "SHORT": "rope"}
    async with sandboxes.opened(PLAIN, archive) as sandbox:
        told = output(await sandbox.call(program, ToolCall({}, "key", environment, {}, {"pin": "4711-0815"})))

    assert json.loads(told) == {
        "REGION": "europe-west", "API_KEY": "***", "SHORT": "rope", "pin": "4711-0815"
    }  # fmt: skip


async def test_a_failure_tells_no_secret_that_the_tool_was_given() -> None:
    code = (
        "def run(input, context):\n    raise ValueError(str(context.environment) + str(context.secret_user_variables))"
    )
    toml = '[environment]\nplain = ["REGION"]\nsecret = ["API_KEY"]'
    archive, program = sandboxes.packed(sandboxes.project(code, toml))
    call = ToolCall({}, "key", {"REGION": "europe", "API_KEY": "hush-hush"}, {}, {"pin": "4711-0815"})

    async with sandboxes.opened(PLAIN, archive) as sandbox:
        failed = failure(await sandbox.call(program, call))

    assert failed.exception_message == "{'REGION': 'europe', 'API_KEY': '***'}{'pin': '***'}"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("def run(:", "SyntaxError"),
        ("import missing_package", "ModuleNotFoundError"),
        ("run = 5", "AttributeError"),
        ("raise SystemExit(1)", "SystemExit"),
        ("import os\nos._exit(1)", "ToolDied"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "ToolDied"),
        ("import tertulia.settings", "ModuleNotFoundError"),
        ("while True: pass", "CpuTimeExceeded"),
        ("import time\ntime.sleep(60)", "TimeLimitExceeded"),
        ("import os, time\nif os.fork() == 0: time.sleep(60)\ndef run(i, c): return 1", "ProcessesExceeded"),
        ("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", "ProcessesExceeded"),
    ],
)
async def test_a_tool_that_cannot_be_loaded_says_why(code: str, kind: str) -> None:
    wall_s = 60 if kind == "CpuTimeExceeded" else 2
    toml = f"[limits]\nwall_seconds = {wall_s}\ncpu_seconds = 1"
    failed = failure(await outcome_of(code, toml=toml))

    assert confined() == []
    assert failed.exception_type == kind


async def test_calls_of_one_version_share_nothing_but_the_loaded_code(host: Host) -> None:
    code = """
import os, pathlib
seen = []
def run(input, context):
    pathlib.Path("mine").write_text(input["name"])
    seen.append(input["name"])
    return [seen, os.listdir(), os.path.basename(os.getcwd())]
"""
    archive, program = sandboxes.packed(sandboxes.project(code))
    async with sandboxes.opened(host, archive) as sandbox:
        names = [str(number) for number in range(8)]
        calls = [sandbox.call(program, sandboxes.arguments(name=name)) for name in names]
        told = [json.loads(output(outcome)) for outcome in await asyncio.gather(*calls)]

    assert [seen for seen, _, _ in told] == [[name] for name in names]
    assert all(files == ["mine"] for _, files, _ in told)
    assert len({folder for _, _, folder in told}) == len(names)


async def test_a_cancelled_call_is_gone_within_a_second_and_the_next_is_answered(host: Host) -> None:
    code = "import time\ndef run(input, context):\n    time.sleep(input['s'])\n    return 'rested'"
    archive, program = sandboxes.packed(sandboxes.project(code))
    async with sandboxes.opened(host, archive) as sandbox:
        assert output(await sandbox.call(program, sandboxes.arguments(s=0))) == "rested"
        await until(lambda: not sandbox._ending)
        before = confined()
        task = asyncio.create_task(sandbox.call(program, sandboxes.arguments(s=60)))
        await until(lambda: len(confined()) > len(before))
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: confined() == before)
        assert time.monotonic() - began < 5  # a second, on a machine that does nothing else
        assert output(await sandbox.call(program, sandboxes.arguments(s=0))) == "rested"
    assert confined() == []


async def test_a_call_that_is_cancelled_at_any_moment_leaves_nothing(host: Host) -> None:
    code = "import time\ndef run(input, context):\n    time.sleep(input['s'])\n    return 'rested'"
    archive, program = sandboxes.packed(sandboxes.project(code))
    before = orphans()
    async with sandboxes.opened(host, archive) as sandbox:
        for steps in (1, 3, 6, 10, 20, 50, 100):
            task = asyncio.create_task(sandbox.call(program, sandboxes.arguments(s=60)))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert output(await sandbox.call(program, sandboxes.arguments(s=0))) == "rested"
    await until(lambda: confined() == [] and orphans() <= before)


async def test_a_process_that_was_killed_from_outside_is_replaced(host: Host) -> None:
    code = "def run(input, context):\n    return 'here'"
    archive, program = sandboxes.packed(sandboxes.project(code))
    async with sandboxes.opened(host, archive) as sandbox:
        for _ in range(3):
            assert output(await sandbox.call(program, sandboxes.arguments())) == "here"
            for pid in confined():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


FORKS = """
import os, subprocess, sys, time
def run(input, context):
    return globals()[input["what"]]()
def python():
    return subprocess.run([sys.executable, "-I", "-S", "-c", "print(6 * 7)"], capture_output=True, text=True).stdout
def shell():
    return subprocess.run("echo $((6 * 7)); cat /etc/shadow", shell=True, capture_output=True, text=True).stdout
def bomb():
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.01)
def orphans():
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    return "left"
"""


@pytest.mark.parametrize(
    ("what", "told"), [("python", "42\n"), ("shell", "42\n"), ("bomb", "ProcessesExceeded"), ("orphans", "left")]
)
async def test_several_processes_run_if_the_manifest_says_so_and_all_end_with_the_call(
    host: Host, what: str, told: str
) -> None:
    toml = "[limits]\nprocesses = 4\nwall_seconds = 10"
    outcome = await outcome_of(FORKS, host, toml, what=what)

    assert (outcome.output if isinstance(outcome, ToolSucceeded) else outcome.exception_type) == told
    await until(lambda: confined() == [])


CLIENT = """
import urllib.request, socket
def run(input, context):
    if input.get("raw"):
        with socket.create_connection((input["host"], input["port"]), 5) as opened:
            opened.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            opened.connect((input["host"], 1))
    with urllib.request.urlopen(f"http://{input['host']}:{input['port']}/", timeout=5) as answer:
        return answer.read().decode()
"""


async def test_a_tool_reaches_the_hosts_of_its_manifest_by_the_servers_hand_and_no_others(host: Host) -> None:
    asked: list[tuple[str, int]] = []

    async def connect(name: str, port: int) -> socket.socket:
        asked.append((name, port))
        if port == 81:
            raise PermissionError("That address is not to be reached.")
        opened = socket.socket()
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", listening))
        return opened

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    listening = server.sockets[0].getsockname()[1]
    archive, program = sandboxes.packed(
        sandboxes.project(CLIENT, '[network]\nhosts = ["weather.example:80", "inside.example:81"]')
    )
    async with server, sandboxes.opened(host, archive, connect=connect) as sandbox:
        answers = [
            await sandbox.call(program, sandboxes.arguments(host=name, port=port))
            for name, port in [("Weather.Example", 80), ("inside.example", 81), ("other.example", 80)]
        ]
        again = await sandbox.call(program, sandboxes.arguments(host="weather.example", port=80, raw=True))

    assert output(answers[0]) == "hello"
    assert "not to be reached" in failure(answers[1]).exception_message
    assert "other.example:80 is not among the network.hosts" in failure(answers[2]).exception_message
    assert "weather.example:1 is not among" in failure(again).exception_message
    assert asked == [("weather.example", 80), ("inside.example", 81), ("weather.example", 80)]


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    await writer.drain()
    writer.close()


async def test_without_confinement_tool_code_is_refused_in_one_line() -> None:
    bare = Host(0, True, "", PLAIN.python, PLAIN.prefix, PLAIN.stdlib)

    failed = failure(await outcome_of("def run(input, context):\n    return 'ran'", bare))

    assert failed.exception_type == "SandboxUnavailable"
    assert "tertulia doctor" in failed.exception_message
    assert "\n" not in failed.exception_message


async def test_an_archive_that_is_not_the_published_one_is_not_run() -> None:
    made, program = sandboxes.packed(sandboxes.project("def run(input, context):\n    return 'ran'"))

    async with sandboxes.opened(PLAIN, made) as sandbox:

        async def other(_: str) -> bytes:
            return made + b"x"

        sandbox._load = other
        failed = failure(await sandbox.call(program, sandboxes.arguments()))

    assert (failed.exception_type, failed.exception_message) == (
        "ToolNotPrepared",
        "The archive of this version is damaged.",
    )


SERVER = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from support import sandboxes
from tertulia.tools.sandbox import Sandbox
async def main():
    made, program = sandboxes.packed(sandboxes.project("import time\\ndef run(input, context):\\n    time.sleep(60)"))
    async def load(_):
        return made
    sandbox = Sandbox(Path(sys.argv[1]), load, sandboxes.no_connection)
    asyncio.get_running_loop().call_later(0.3, os.write, 1, b"running\\n")
    await sandbox.call(program, sandboxes.arguments())
asyncio.run(main())
"""


async def test_nothing_of_a_tool_outlives_a_server_that_is_killed_and_the_next_server_cleans_up(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    before = orphans()
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs
        [sys.executable, "-c", SERVER, str(tmp_path), str(tests)], stdout=subprocess.PIPE, start_new_session=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"running\n"
        await until(lambda: len(confined(server.pid)) >= 2)
        server.kill()
    await until(lambda: orphans() <= before)
    left = list((tmp_path / "scratch").glob("*/"))
    made, program = sandboxes.packed(sandboxes.project("def run(input, context):\n    return 'ran'"))

    async def load(_: str) -> bytes:
        return made

    sandbox = Sandbox(tmp_path, load, sandboxes.no_connection)
    assert output(await sandbox.call(program, sandboxes.arguments())) == "ran"
    await sandbox.aclose()

    assert len(left) == 1
    assert list((tmp_path / "scratch").iterdir()) == []


def confined(parent: int | None = None) -> list[int]:
    """List the confined processes below this one, or below another."""
    found: list[int] = []
    with suppress(psutil.Error):
        for process in psutil.Process(parent or os.getpid()).children(recursive=True):
            with suppress(psutil.Error):
                if "confinement import boot" in " ".join(process.cmdline()):
                    found.append(process.pid)
    return sorted(found)


def orphans() -> set[int]:
    """List the confined processes whose server is gone, and those that bubblewrap has left alone."""
    found: set[int] = set()
    for process in psutil.Process(1).children():
        with suppress(psutil.Error):
            if "confinement import boot" in " ".join(process.cmdline()):
                found.add(process.pid)
    return found
