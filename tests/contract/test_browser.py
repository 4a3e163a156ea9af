"""A real browser talks with the server: its WebSocket, its subprotocol, its decoder. Skipped where there is none."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from support.live import address
from support.server import Server
from tertulia.auth.credentials import SUBPROTOCOL

pytestmark = pytest.mark.heavy

PATIENCE_S = 60
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-port=0 about:blank"
)

# What a page would do: a spoken conversation, a message in text, and the end of it.
TALK = """
(async (address, subprotocol, service) => {
  const socket = new WebSocket(address, [subprotocol]);
  const seen = { types: [], said: [], replies: [] };
  let sound = [], characters = "";
  socket.onopen = () => {
    seen.subprotocol = socket.protocol;
    socket.send(JSON.stringify({ type: "client.start-conversation", service_id: service }));
  };
  const closed = new Promise((resolve) => { socket.onclose = (event) => resolve(event.code); });
  socket.onmessage = async ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "server.new-message") {
      sound.push(...Uint8Array.from(atob(message.message), (character) => character.charCodeAt(0)));
      characters += (message.transcript_alignment ?? []).map((pair) => pair[1]).join("");
      return;
    }
    seen.types.push(message.type);
    if (message.type === "server.interaction-complete") {
      const decoder = new OfflineAudioContext(1, 24000, 24000);
      const decoded = await decoder.decodeAudioData(new Uint8Array(sound).buffer);
      seen.replies.push({ seconds: decoded.duration, characters, full: message.full_message });
      sound = []; characters = "";
      const next = seen.replies.length === 1
        ? { type: "client.new-text-message", text: "Goodbye.", message_type: "user-message" }
        : { type: "client.close-connection" };
      socket.send(JSON.stringify(next));
    }
  };
  seen.code = await closed;
  return JSON.stringify(seen);
})
"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[ClientConnection]:
    """A page of a browser, by its debugging protocol."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no browser here")
    process = subprocess.Popen(
        [program, *OPTIONS.split(), f"--user-data-dir={tmp_path}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with connect(_page(process), max_size=None, proxy=None) as page:
            yield page
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _page(process: subprocess.Popen[str]) -> str:
    """The address of its one page."""
    assert process.stderr
    line = next(line for line in process.stderr if line.startswith("DevTools listening on "))
    whole = line.rsplit(maxsplit=1)[-1].strip()
    until = time.monotonic() + PATIENCE_S
    with connect(whole, max_size=None, proxy=None) as connection:
        while time.monotonic() < until:
            targets = _call(connection, "Target.getTargets")["targetInfos"]
            for target in targets:
                if target["type"] == "page":
                    return f"{whole.partition('/devtools/')[0]}/devtools/page/{target['targetId']}"
    raise AssertionError("the browser has no page")


def _call(connection: ClientConnection, method: str, **parameters: object) -> dict[str, Any]:
    connection.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    while (answer := json.loads(connection.recv(PATIENCE_S))).get("id") != 1:
        pass
    return answer["result"]


def test_a_browser_has_a_spoken_conversation(tertulia: Server, browser: ClientConnection) -> None:
    token = tertulia.as_user.headers["Authorization"].removeprefix("Bearer ")
    arguments = [
        address(tertulia, "response_format=voice&audio_format=mp3"),
        f"{SUBPROTOCOL}{token}",
        tertulia.demo.service_id,
    ]

    expression = f"{TALK}(...{json.dumps(arguments)})"
    result = _call(browser, "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)

    seen = json.loads(result["result"]["value"])
    assert seen["subprotocol"] == arguments[1]
    assert seen["code"] == 1000
    assert [kind for kind in seen["types"] if kind != "server.current-agent-action"] == [
        "server.conversation-created",
        "server.interaction-complete",
        "server.user-message-available",
        "server.interaction-complete",
    ]
    for reply in seen["replies"]:
        assert reply["characters"] == reply["full"]
        assert reply["seconds"] > 1
