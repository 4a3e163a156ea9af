"""Other servers of conversations, each in an environment of its own: `make bench-peers` makes them.

A folder for each: `requirements.txt`, and `server.py`, a stub with a model that takes no time.
"""

import json
import re
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from bench.http import Answer
from bench.machine import ROOT

ENVIRONMENTS = ROOT / ".peers"
STUBS = Path(__file__).parent


Talk = Generator[bytes, Answer, None]
"""The requests of one create, one after the other; each is sent the answer of the one before."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The request that makes a server create a conversation and stream its first reply."""

    title: str
    talk: Callable[[], Talk]
    piece: bytes
    """A mark that the first piece of the reply is known by."""
    end: bytes
    """A mark that a whole reply has in it."""


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


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def _chatkit() -> Talk:
    message: dict[str, object] = {
        "content": [{"type": "input_text", "text": "Hello"}],
        "attachments": [],
        "inference_options": {},
    }
    yield _post("/chatkit", {"type": "threads.create", "params": {"input": message}})


def _adk() -> Talk:
    session = {"app_name": "stub", "user_id": "reader", "session_id": str(uuid.uuid4()), "streaming": True}
    yield _post("/run_sse", {**session, "new_message": {"role": "user", "parts": [{"text": "Hello"}]}})


def _langgraph() -> Talk:
    run: dict[str, object] = {
        "assistant_id": "stub",
        "input": {"messages": [{"role": "user", "content": "Hello"}]},
        "stream_mode": ["messages-tuple"],
        "if_not_exists": "create",
    }
    yield _post(f"/threads/{uuid.uuid4()}/runs/stream", run)


def _parlant() -> Talk:
    session = yield _post("/sessions?allow_greeting=false", {"agent_id": "stub"})
    events = f"/sessions/{_id_of(session)}/events"
    yield _post(events, {"kind": "message", "source": "customer", "message": "Hello"})
    begun = yield _get(f"{events}?min_offset=1&kinds=message&source=ai_agent&wait_for_data=30")
    yield _get(f"{events}/{_id_of(begun)}?sse=true")


def _id_of(answer: Answer) -> str:
    found = _ID.search(answer.received)
    assert found, answer.received
    return found[1].decode()


_ID = re.compile(rb'"id":"([^"]+)"')

PEERS = {
    "chatkit": Peer("ChatKit 1.6.5", _chatkit, b"word00", b"word19"),
    "adk": Peer("ADK 2.13.0", _adk, b"word00", b"word19"),
    "langgraph": Peer("LangGraph dev 0.16.7", _langgraph, b"word00", b"word19"),
    "parlant": Peer("Parlant 3.3.2", _parlant, b"word00", b"word19"),
}
