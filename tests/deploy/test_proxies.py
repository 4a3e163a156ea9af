"""The proxies of `deploy/` with the real nginx and Caddy in front of `tertulia serve`."""

import asyncio
import json
import shutil
import subprocess
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

from providers.chat_server import DONE, HEAD, Answer, ChatServer, chat_server_beside, chunked, completes, event
from support import proxies
from support.commands import PATIENCE_S, Process, Starter, run_here
from support.live import Live
from support.pages import ROOT, read
from support.proxies import Certificate, make_certificate
from tertulia.auth.credentials import SUBPROTOCOL

pytestmark = pytest.mark.heavy

LARGE = 20_000_000
"""Bytes of a body that the proxies have to let through."""


class HeldModel:
    """A model's server that gives the first piece of a reply, and the second once it is let go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()

    def decide(self, request: dict[str, Any]) -> Answer:
        if request["stream"]:
            return self._reply
        schema = request["response_format"]["json_schema"]["schema"]
        return completes(json.dumps({"choice": schema["properties"]["choice"]["enum"][0]}))

    async def _reply(self, writer: Any) -> None:
        writer.write(HEAD + b"\r\n" + chunked(event("The first piece")))
        await writer.drain()
        await asyncio.to_thread(self.go_on.wait, PATIENCE_S)
        writer.write(chunked(event(" and the last.")) + chunked(DONE) + b"0\r\n\r\n")


@dataclass(frozen=True)
class Behind:
    """A server behind a proxy, as its clients have it."""

    url: str
    service_id: str
    trust: Certificate
    model: HeldModel
    token: str

    @contextmanager
    def client(self, source: str = "127.0.0.1", **headers: str) -> Generator[httpx2.Client]:
        """A client whose address is `source`."""
        transport = httpx2.HTTPTransport(verify=self.trust.trust, local_address=source)
        base = f"{self.url}/v1/demo"
        with httpx2.Client(transport=transport, base_url=base, headers=headers, timeout=PATIENCE_S) as client:
            yield client


@pytest.fixture(scope="module")
def model() -> HeldModel:
    return HeldModel()


@pytest.fixture(scope="module")
def models_server(model: HeldModel) -> Iterator[ChatServer]:
    with chat_server_beside(decide=model.decide) as server:
        yield server


@pytest.fixture(scope="module")
def served(shared: Path, models_server: ChatServer) -> Iterator[Process]:
    starter = Starter(shared.parent)
    yield starter(
        "serve",
        "--data",
        shared,
        "--port",
        "0",
        TERTULIA_MODEL="openai:held",
        OPENAI_API_KEY="none",
        OPENAI_BASE_URL=models_server.url,
        TERTULIA_LIMIT_AUDIO_BYTES=str(LARGE * 2),
    )
    starter.end()


@pytest.fixture(scope="module", params=proxies.PROGRAMS)
def behind(
    request: pytest.FixtureRequest,
    served: Process,
    shared: Path,
    model: HeldModel,
    installation: tuple[Path, dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Behind]:
    """A proxy, and for each of them another user: limits count users."""
    if not proxies.is_here(request.param):
        pytest.skip(f"{request.param} is not installed: see .ci/packages")
    folder = tmp_path_factory.mktemp(request.param)
    certificate = make_certificate(folder)
    with proxies.running(request.param, folder, certificate, served.url.removeprefix("http://")) as url:
        user = ["--admin"] if request.param == "caddy" else []
        token = run_here(["token", "--data", str(shared), *user], "", {}).stdout.strip()
        yield Behind(url, installation[1]["service_id"], certificate, model, token)


@pytest.fixture
def caller(behind: Behind) -> Iterator[httpx2.Client]:
    """A signed-in client, who leaves nothing unfinished."""
    with behind.client(Authorization=f"Bearer {behind.token}") as client:
        yield client
        for unfinished in client.get("/conversation/", params={"is_finished": False}).json()["conversations"]:
            client.post(f"/conversation/{unfinished['id']}/finish/")


def _create(client: httpx2.Client, service_id: str, response_format: str = "text") -> Any:
    query = {"response_format": response_format, "current_agent_action_type": "^$"}
    return client.stream("POST", "/conversation/", params=query, json={"service_id": service_id})


def test_the_first_piece_arrives_while_the_model_still_speaks(behind: Behind, caller: httpx2.Client) -> None:
    behind.model.go_on.clear()
    try:
        with _create(caller, behind.service_id) as response:
            lines = (json.loads(line) for line in response.iter_lines())
            assert next(lines)["type"] == "conversation-created"
            assert next(lines)["message"] == "The first piece"
            behind.model.go_on.set()
            rest = list(lines)
    finally:
        behind.model.go_on.set()
    assert response.status_code == 201
    assert rest[-1]["full_message"] == "The first piece and the last."


@pytest.mark.usefixtures("caller")
def test_a_live_conversation_goes_through(behind: Behind) -> None:
    address = f"{behind.url}/v1/demo/conversation/converse_realtime?response_format=text".replace("https", "wss", 1)
    subprotocol: Any = f"{SUBPROTOCOL}{behind.token}"
    with connect(
        address, ssl=behind.trust.trust, subprotocols=[subprotocol], user_agent_header="a browser", proxy=None
    ) as connection:
        live = Live(connection)
        assert live.start(behind.service_id)[-1]["full_message"] == "The first piece and the last."
        live.say("And now?")
        assert live.until("interaction-complete")[-1]["full_message"] == "The first piece and the last."
        live.send("finish-conversation")
        live.closed()


def test_a_body_of_20_mb_reaches_the_server(behind: Behind, caller: httpx2.Client) -> None:
    with _create(caller, behind.service_id) as response:
        created = [json.loads(line) for line in response.iter_lines()]
    audio = json.dumps({"type": "pcm", "frame_rate": 44_100, "n_channels": 1, "sample_width": 2})
    query = {"request_format": "voice", "response_format": "text", "request_audio_config": audio}
    answer = caller.post(
        f"/conversation/{created[0]['conversation_id']}/interact",
        params=query,
        data={"initial_message_type": "user-message"},
        files={"recorded_message": ("audio.wav", bytes(LARGE), "audio/wav")},
    )
    assert (answer.status_code, answer.json()) == (
        400,
        {"detail": "recorded_message: The recording is longer than 120 seconds."},
    )


def test_a_refusal_of_a_large_body_is_the_server_s_own(behind: Behind, caller: httpx2.Client) -> None:
    answer = caller.post("/conversation/", params={"response_format": "text"}, content=bytes(LARGE))
    assert (answer.status_code, list(answer.json())) == (413, ["detail"])


def test_an_address_of_a_client_is_its_own_and_no_header_changes_it(behind: Behind) -> None:
    def fail(client: httpx2.Client, number: int) -> int:
        """Sign in with a wrong key, as another user each time; failures of a key are counted for each address."""
        keys = {"x-api-key": "wrong", "x-api-key-id": f"of {behind.url}", "x-user-id": f"user {number}"}
        headers = {**keys, "X-Forwarded-For": f"203.0.113.{number}"}
        return client.post("/user/signin_with_api_key", headers=headers).status_code

    with behind.client(source="127.0.0.2") as client, behind.client(source="127.0.0.3") as another:
        assert [fail(client, number) for number in range(21)] == [401] * 20 + [429]
        assert fail(another, 21) == 401


def test_a_link_to_a_recording_leads_through_the_proxy(behind: Behind, caller: httpx2.Client) -> None:
    with _create(caller, behind.service_id, "voice") as response:
        spoken = [json.loads(line) for line in response.iter_lines()]
    place = f"/conversation/{spoken[0]['conversation_id']}/messages/{spoken[-1]['message_id']}/source"
    link = caller.get(place).json()["url"]
    assert link.startswith(f"{behind.url}/")
    assert caller.get(link).headers["content-type"] == "audio/wav"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_pages_of_operators_are_not_for_everybody(behind: Behind, path: str) -> None:
    with behind.client() as client:
        assert client.get(f"{behind.url}{path}").status_code == 404


def test_the_guide_names_every_file_of_deploy() -> None:
    guide = read("docs/guide/running.md")
    assert all(f"](../../deploy/{path.name})" in guide for path in (ROOT / "deploy").iterdir())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_the_unit_is_one_of_systemd(tmp_path: Path) -> None:
    unit = tmp_path / "tertulia.service"
    here = (ROOT / "deploy/tertulia.service").read_text().replace("/opt/tertulia/.venv/bin/tertulia", "/bin/true")
    unit.write_text(here)
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
