"""Other servers of conversations, each in an environment of its own: `make bench-peers` makes them.

A folder for each: `requirements.txt`, and `server.py`, a stub with a model that takes no time.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.machine import ROOT

ENVIRONMENTS = ROOT / ".peers"
STUBS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Peer:
    """How a server is asked to create a conversation and stream its first reply: one request, never the same twice."""

    title: str
    requests: Callable[[], Iterator[bytes]]
    piece: bytes
    """What the first piece of the reply is known by."""
    end: bytes
    """What a whole reply has in it."""


def python_of(name: str) -> Path | None:
    """The interpreter of a peer's environment, if there is one."""
    path = ENVIRONMENTS / name / "bin" / "python"
    return path if (ENVIRONMENTS / name / ".done").exists() else None


def _post(path: str, body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    return head.encode() + b"\r\n\r\n" + content


def _chatkit() -> Iterator[bytes]:
    message = {"content": [{"type": "input_text", "text": "Hello"}], "attachments": [], "inference_options": {}}
    while True:
        yield _post("/chatkit", {"type": "threads.create", "params": {"input": message}})


def _adk() -> Iterator[bytes]:
    message = {"role": "user", "parts": [{"text": "Hello"}]}
    while True:
        session = {"app_name": "stub", "user_id": "reader", "session_id": str(uuid.uuid4())}
        yield _post("/run_sse", {**session, "streaming": True, "new_message": message})


def _langgraph() -> Iterator[bytes]:
    run = {
        "assistant_id": "stub",
        "input": {"messages": [{"role": "user", "content": "Hello"}]},
        "stream_mode": ["messages-tuple"],
        "if_not_exists": "create",
    }
    while True:
        yield _post(f"/threads/{uuid.uuid4()}/runs/stream", run)


PEERS = {
    "chatkit": Peer("ChatKit 1.6.5", _chatkit, b"word00", b"word19"),
    "adk": Peer("ADK 2.13.0", _adk, b"word00", b"word19"),
    "langgraph": Peer("LangGraph dev 0.16.7", _langgraph, b"word00", b"word19"),
}
