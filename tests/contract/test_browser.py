"""A real browser talks with the server: its WebSocket, its subprotocol, its decoder. Skipped where there is none."""

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from support.live import address
from support.server import Serve, Server
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


# What a page of another origin would do: sign in, stream a conversation, and read an error and its headers.
CALL = """
(async (base, key, service) => {
  const signedIn = await fetch(`${base}/user/signin_with_api_key`, { method: "POST", headers: key });
  const { id_token } = await signedIn.json();
  const headers = { "Authorization": `Bearer ${id_token}`, "Content-Type": "application/json" };
  const create = (body) => fetch(`${base}/conversation/?response_format=text`,
    { method: "POST", headers, body: JSON.stringify(body) });
  const stream = await create({ service_id: service, srvice: 1 });
  const lines = (await stream.text()).trim().split("\\n").map((line) => JSON.parse(line).type);
  const refused = await create({});
  const unknown = await fetch(`${base}/service/`);
  return JSON.stringify({
    origin: location.origin, lines, first: lines[0], last: lines[lines.length - 1],
    conversation: stream.headers.get("X-Tertulia-Conversation-Id"),
    warning: stream.headers.get("X-Tertulia-Warning"),
    request: refused.headers.get("X-Request-Id"),
    message: (await refused.json()).message,
    statuses: [signedIn.status, stream.status, refused.status, unknown.status],
  });
})
"""

NOTHING_ALLOWED = "fetch(%s).then((answer) => 'read', (error) => error.name)"


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """The origin of a page that another server serves."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


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


def open_page(browser: ClientConnection, address: str) -> None:
    """Go to a page, and wait until it is there."""
    _call(browser, "Page.navigate", url=address)
    while evaluate(browser, "location.href + document.readyState") != f"{address}/complete":
        pass


def evaluate(browser: ClientConnection, expression: str) -> str:
    result = _call(browser, "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
    return str(result["result"]["value"])


def test_a_page_of_another_origin_has_a_conversation(serve: Serve, origin: str, browser: ClientConnection) -> None:
    server = serve(cors_origins=(origin,))
    demo = server.demo
    key = {"x-api-key": demo.api_key, "x-api-key-id": demo.api_key_id, "x-user-id": demo.user_id}
    open_page(browser, origin)

    seen = json.loads(evaluate(browser, f"{CALL}(...{json.dumps([server.base, key, demo.service_id])})"))

    assert seen["origin"] == origin
    assert seen["statuses"] == [200, 201, 422, 401]
    assert (seen["first"], seen["last"]) == ("conversation-created", "interaction-complete")
    assert re.fullmatch("[0-9a-f]{24}", seen["conversation"])
    assert seen["warning"] == "srvice: this field is not known and was ignored."
    assert seen["message"] == "service_id: This field is required."
    assert seen["request"]


def test_a_page_of_an_origin_that_is_not_allowed_reads_nothing(
    tertulia: Server, origin: str, browser: ClientConnection
) -> None:
    open_page(browser, origin)
    assert evaluate(browser, NOTHING_ALLOWED % json.dumps(f"{tertulia.base}/organization/")) == "TypeError"
