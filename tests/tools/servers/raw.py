"""An MCP server of 2025-11-25 written by hand, good or bad as its first argument says."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODE = sys.argv[1]
TOOLS = [{"name": "echo", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object"}}]


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(asked: dict[str, Any], result: dict[str, Any]) -> None:
    send({"id": asked["id"], "result": result})


def text(asked: dict[str, Any], said: str) -> None:
    answer(asked, {"content": [{"type": "text", "text": said}]})


def no_line(_asked: dict[str, Any]) -> None:
    while True:
        sys.stdout.write("x" * 65536)


def flood(message: dict[str, Any]) -> None:
    while True:
        send(message)


def nonsense(asked: dict[str, Any]) -> None:
    sys.stdout.write("no json\n" * 10)
    answer(asked, {"content": "not a list"})


def deep(asked: dict[str, Any]) -> None:
    nested = "[" * 100_000 + "]" * 100_000
    sys.stdout.write(f'{{"jsonrpc": "2.0", "id": {asked["id"]}, "result": {{"content": {nested}}}}}\n')
    sys.stdout.flush()


def starts(asked: dict[str, Any]) -> None:
    """Start a process in a group of its own, name it and this one in a file, and hear nothing more."""
    left = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(asked["params"]["arguments"]["note"]).write_text(f"{os.getpid()} {left.pid}\n")
    time.sleep(3600)


def deaf(asked: dict[str, Any]) -> None:
    text(asked, "heard")
    time.sleep(3600)


def dies_later(asked: dict[str, Any]) -> None:
    text(asked, "once")
    sys.stdin.readline()
    os._exit(1)


def asks(asked: dict[str, Any]) -> None:
    send({"id": 7, "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}})
    text(asked, json.loads(sys.stdin.readline())["error"]["message"])


def good(asked: dict[str, Any]) -> None:
    arguments = asked["params"]["arguments"]
    answer(asked, {"content": [{"type": "text", "text": json.dumps(arguments)}], "structuredContent": arguments})


def waits(asked: dict[str, Any]) -> None:
    started, cancelled = (Path(asked["params"]["arguments"][name]) for name in ("started", "cancelled"))
    started.touch()
    if json.loads(sys.stdin.readline())["method"] == "notifications/cancelled":
        cancelled.touch()


NOISE = {"method": "notifications/message", "params": {"level": "info", "data": "noise"}}
CALLS: dict[str, Callable[[dict[str, Any]], object]] = {
    "good": good,
    "dies": lambda _asked: os._exit(1),
    "dies-later": dies_later,
    "hangs": lambda _asked: None,
    "long-line": lambda asked: text(asked, "x" * (8 << 20)),
    "no-line": no_line,
    "floods": lambda _asked: flood(NOISE),
    "floods-requests": lambda _asked: flood({"id": 1, "method": "ping"}),
    "floods-answers": lambda _asked: flood({"id": 99999, "result": {"content": []}}),
    "floods-errors": lambda _asked: flood({"id": None, "error": {"code": -1, "message": "noise"}}),
    "answers-another": lambda _asked: text({"id": 99999}, "not yours"),
    "half-character": lambda asked: text(asked, "\ud800"),
    "deep": deep,
    "many-parts": lambda asked: answer(asked, {"content": [{"type": "text", "text": "x"}] * 2001}),
    "nonsense": nonsense,
    "long-answer": lambda asked: text(asked, "x" * (1 << 20) + "y"),
    "error": lambda asked: send({"id": asked["id"], "error": {"code": -32602, "message": "no such tool"}}),
    "process": lambda asked: text(asked, str(os.getpid())),
    "waits": waits,
    "deaf": deaf,
    "starts": starts,
    "asks": asks,
}

if MODE == "never-ready":
    time.sleep(3600)
if MODE == "dies-at-once":
    sys.stderr.write("no licence\n")
    sys.exit(3)
for line in sys.stdin:
    message = json.loads(line)
    match message.get("method"):
        case "initialize":
            server = {"name": "raw", "version": "1"}
            answer(message, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": server})
        case "tools/list":
            answer(message, {"tools": TOOLS})
        case "tools/call":
            CALLS[MODE](message)
        case _ if "id" in message:
            send({"id": message["id"], "error": {"code": -32601, "message": "unknown method"}})
        case _:
            pass
