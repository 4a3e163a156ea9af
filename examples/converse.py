"""Hold the conversations of a file with the demo service of a running server, and write each down in a file of its own.

    TERTULIA_MODEL=local .venv/bin/tertulia serve
    TOKEN=$(.venv/bin/tertulia token --admin) python3 examples/converse.py examples/conversations/lines.toml FOLDER

Needs nothing but Python, and an administrator, who may see the states. A conversation whose file is there already is
left out, so a run that was stopped goes on.
`URL` is the address of the organization, `http://127.0.0.1:8000/v1/demo` unless the environment says otherwise.
"""

import json
import os
import secrets
import sys
import tomllib
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

URL = os.environ.get("URL", "http://127.0.0.1:8000/v1/demo")
PATIENCE_S = 1200
TEXT = "request_format=text&response_format=text"


def main(source: Path, folder: Path) -> None:
    """Hold every conversation of `source` that has no file in `folder` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (service,) = (found for found in ask("/service/")["services"] if found["name"] == "Reading circle")
    for conversation in tomllib.loads(source.read_text())["conversations"]:
        target = folder / f"demo-{conversation['name']}.md"
        if not target.exists():
            target.write_text("\n".join(converse(service["id"], conversation)) + "\n")
            print(target, flush=True)


def converse(service_id: str, conversation: Mapping[str, Any]) -> Iterator[str]:
    """Hold a conversation. Yields the lines of its page."""
    leave_open_conversations(service_id)
    body = json.dumps({"service_id": service_id}).encode()
    events = [*stream("/conversation/?response_format=text", body, "application/json")]
    conversation_id = events[0]["conversation_id"]
    yield f"# {conversation['name'].replace('-', ' ').capitalize()}\n"
    yield from said(conversation_id, events, "")
    for number, (line, states) in enumerate(zip(conversation["lines"], conversation["states"], strict=True), 1):
        body, kind = form({"initial_message_type": "user-message", "recorded_message": line})
        events = [*stream(f"/conversation/{conversation_id}/interact?{TEXT}", body, kind)]
        yield f"**{number}. User:** {line}\n"
        yield from said(conversation_id, events, states)
        if events[-1]["conversation_completed"]:
            break
    leave_open_conversations(service_id)


def said(conversation_id: str, events: Iterable[Mapping[str, Any]], expected: str) -> Iterator[str]:
    """Write down a turn's answer: the agent's words, and the state that the conversation came to."""
    last = [*events][-1]
    if last["type"] == "error":
        raise SystemExit(f"The turn failed: {last}")
    insights = ask(f"/conversation/{conversation_id}/interaction/{last['interaction_id']}/insights")
    state = insights["current_state_name"]
    right = "" if not expected or state in expected.split() else f", expected {' or '.join(expected.split())}"
    yield f"**Tula:** {last['full_message'].strip()}\n"
    yield f"*State: {state}{right}*\n"


def leave_open_conversations(service_id: str) -> None:
    """Finish what the user has open: there can be one conversation of a service at a time."""
    for open_ in ask(f"/conversation/?service_id={service_id}&is_finished=false")["conversations"]:
        ask(f"/conversation/{open_['id']}/finish/", b"")


def form(fields: Mapping[str, str]) -> tuple[bytes, str]:
    """Write the fields of a form. Returns its bytes, and their content type."""
    boundary = secrets.token_hex(16)
    parts = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return f"{''.join(parts)}--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def ask(path: str, body: bytes | None = None) -> Any:
    """Send a request. Returns its answer, None if it is empty."""
    with urllib.request.urlopen(request(path, body, "application/json"), timeout=PATIENCE_S) as answer:
        return json.loads(answer.read() or b"null")


def stream(path: str, body: bytes, content_type: str) -> Iterator[Any]:
    """Send a request that is answered line by line. Yields what the lines say."""
    with urllib.request.urlopen(request(path, body, content_type), timeout=PATIENCE_S) as answer:
        yield from map(json.loads, answer)


def request(path: str, body: bytes | None, content_type: str) -> urllib.request.Request:
    """Make a request of the signed-in user."""
    headers = {"Authorization": f"Bearer {os.environ['TOKEN']}", "Content-Type": content_type}
    return urllib.request.Request(f"{URL}{path}", body, headers, method="GET" if body is None else "POST")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
