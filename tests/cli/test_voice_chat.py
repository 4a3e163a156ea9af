"""`tertulia chat --voice`: a real server, and a microphone and a loudspeaker that are the test's."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from importlib.abc import MetaPathFinder
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest
from rich.console import Console

from support import samples, spoken, talk
from support.commands import TERTULIA, Command, Process
from support.puppet import PATIENCE_S, Puppet
from support.server import Serve
from support.stage import Stage, Switch
from support.terminal import Terminal, at_a_terminal
from tertulia.audio.pcm import HEARING_RATE
from tertulia.cli.client import Api, ApiError, Session
from tertulia.cli.failure import CommandFailed
from tertulia.cli.voice_chat import VoiceChat
from tertulia.cli.welcome import client_settings as client_settings_of
from tertulia.engine.live.endpointing import SILENCE_MS
from tertulia.providers.base import Prompt
from tertulia.providers.models.registry import Models

BLOCK = HEARING_RATE * 30 // 1000 * 2
SILENCE = bytes(HEARING_RATE * (SILENCE_MS + 100) // 1000 * 2)
FAKE_SOUND = Path(__file__).parents[1] / "support" / "fake_sound"
LONG = "A sentence that takes more than two seconds to say, word by word by word."


async def said(text: str) -> bytes:
    return await asyncio.to_thread(spoken.said, text)


async def heard(pcm: bytes | bytearray) -> str:
    return await asyncio.to_thread(spoken.heard, bytes(pcm))


class FakeDevice:
    """A microphone that hears what `speak` says, and a loudspeaker whose sound is kept."""

    def __init__(self) -> None:
        self.played = bytearray()
        self.stops: list[int] = []
        """Bytes that had been played at each stop."""
        self._blocks: asyncio.Queue[bytes] = asyncio.Queue()
        self._more = asyncio.Event()

    async def speak(self, text: str) -> None:
        pcm = await asyncio.to_thread(spoken.said_to_be_heard, text) + SILENCE
        for start in range(0, len(pcm), BLOCK):
            self._blocks.put_nowait(pcm[start : start + BLOCK])

    async def read(self) -> bytes:
        return await self._blocks.get()

    def play(self, pcm: bytes) -> None:
        self.played += pcm
        self._more.set()

    async def until(self, size: int) -> None:
        """Wait until so many bytes have been played."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.played) < size:
                self._more.clear()
                await self._more.wait()

    def stop(self) -> None:
        self.stops.append(len(self.played))


class Screen(StringIO):
    """A terminal; a test waits until it shows something."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def write(self, text: str, /) -> int:
        self._changed.set()
        return super().write(text)

    async def until(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while text not in self.getvalue():
                self._changed.clear()
                await self._changed.wait()


class Caller:
    """Somebody who talks with an agent, and types; `call` is until they hang up."""

    def __init__(self, service_id: str, stage: Stage, client: httpx2.Client | None = None) -> None:
        self.client = client or stage.user()
        self.device = FakeDevice()
        self.screen = Screen()
        self._service_id = service_id
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        token = self.client.headers["Authorization"].removeprefix("Bearer ")
        api = Api(stage.server.url, stage.server.demo.organization_id, lambda: token)
        self._chat = VoiceChat(Console(file=self.screen, width=200), Session(api, "the token's"), self.device)

    def call(self, conversation_id: str = "") -> "asyncio.Task[None]":
        return asyncio.create_task(self._chat.run(self._service_id, conversation_id, self._typed()))

    def type(self, line: str) -> None:
        self._lines.put_nowait(line)

    @property
    def shown(self) -> str:
        return self.screen.getvalue()

    async def conversation_id(self) -> str:
        """Their only conversation, once it has been settled."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := await asyncio.to_thread(talk.conversations, self.client)):
                pass
        return str(found[0]["id"])

    async def said(self, count: int) -> list[str]:
        """So many messages of it, once they have been settled."""
        conversation_id = await self.conversation_id()
        async with asyncio.timeout(PATIENCE_S):
            while len(found := await asyncio.to_thread(talk.messages, self.client, conversation_id)) < count:
                pass
        return [message["message"] for message in found]

    async def _typed(self) -> AsyncGenerator[str]:
        while True:
            yield await self._lines.get()


@pytest.fixture(scope="module")
def stage(serve: Serve) -> Stage:
    switch = Switch()
    return Stage(serve(models=Models(switch)), switch)


@pytest.fixture(scope="module")
def service_id(stage: Stage) -> str:
    return speaking_service(stage)


def speaking_service(stage: Stage, graph: dict[str, Any] | None = None) -> str:
    return stage.service(graph, agent_id=samples.make_agent(stage.admin, voice_config={"voice_id": "default"}))


@pytest.fixture
async def caller(stage: Stage, service_id: str) -> Caller:
    return Caller(service_id, stage)


async def ended(call: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(PATIENCE_S):
        await call


async def hang_up(call: "asyncio.Task[None]") -> None:
    """As Ctrl-C does."""
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


# --- The call --------------------------------------------------------------------------------------------------------


async def test_the_greeting_is_heard_and_read(stage: Stage, caller: Caller) -> None:
    stage.play(Puppet("Good evening. ", "Sit down."))
    call = caller.call()
    await caller.screen.until("\nGood evening. Sit down.\n")
    await hang_up(call)
    assert await heard(caller.device.played) == "Good evening. Sit down."


async def test_an_utterance_is_written_down_and_answered(stage: Stage, caller: Caller) -> None:
    stage.play(Puppet("Yes?"))
    call = caller.call()
    await caller.screen.until("Yes?\n")
    stage.play(Puppet("Fine."))
    await caller.device.speak("A table for two")
    await caller.screen.until("\nyou A table for two\n")
    await caller.screen.until("\nFine.\n")
    await hang_up(call)
    assert (await heard(caller.device.played)).endswith("Fine.")


async def test_who_speaks_stops_the_sound(stage: Stage, caller: Caller) -> None:
    stage.play(Puppet(LONG))
    call = caller.call()
    await caller.screen.until("A sentence")
    stage.play(Puppet("Sorry."))
    await caller.device.speak("Stop")
    await caller.screen.until("Sorry.")
    await hang_up(call)
    stopped_at = caller.device.stops[0]
    assert stopped_at < len(await said(LONG)) * 3 / 4
    assert await heard(caller.device.played[stopped_at:]) == "Sorry."
    assert " ...\n" in caller.shown
    assert LONG not in caller.shown


async def test_what_is_typed_is_a_message_too_and_stands_there_once(stage: Stage, caller: Caller) -> None:
    stage.play(Puppet(LONG))
    call = caller.call()
    await caller.screen.until("A sentence")
    stage.play(Puppet("Sorry."))
    caller.type("Stop, please")
    await caller.screen.until("Sorry.\n")
    await hang_up(call)
    assert "Stop, please" not in caller.shown
    assert (await caller.said(3))[1:] == ["Stop, please", "Sorry."]


class Ponderer(Puppet):
    """Decides when it is told to."""

    def __init__(self, *pieces: str) -> None:
        super().__init__(*pieces, choice="exit-1")
        self.decide = threading.Event()

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        if prompt.interaction == "SelectNextActionForDecisionState":
            await asyncio.to_thread(self.decide.wait, PATIENCE_S)
        return await super().choose(prompt, schema)


async def test_fillers_are_heard(stage: Stage) -> None:
    choice = samples.decision("choice", "end", "start")
    choice |= {"audio_fillers": ["One moment."], "audio_filler_triggered_after": 0.01}
    graph = samples.graph(samples.action("start", "choice"), choice, samples.action("end"))
    caller = Caller(speaking_service(stage, graph), stage, stage.admin)  # who sees actions
    stage.play(Puppet("Yes?"))
    call = caller.call()
    await caller.screen.until("Yes?\n")
    greeted = len(caller.device.played)
    ponderer = Ponderer("Done.")
    stage.play(ponderer)
    caller.type("Think")
    await caller.device.until(greeted + 1)
    ponderer.decide.set()
    await caller.screen.until("Done.\n")
    await hang_up(call)
    assert await heard(caller.device.played[greeted:]) == "One moment. Done."


# --- Its end ---------------------------------------------------------------------------------------------------------


async def test_who_hangs_up_comes_back_later(stage: Stage, caller: Caller) -> None:
    stage.play(Puppet("Yes?"))
    call = caller.call()
    await caller.screen.until("Yes?\n")
    caller.type("/quit")
    await ended(call)
    call = caller.call(await caller.conversation_id())
    stage.play(Puppet("Welcome back."))
    await caller.device.speak("It is me")
    await caller.screen.until("Welcome back.\n")
    await hang_up(call)
    assert await caller.said(3) == ["Yes?", "It is me", "Welcome back."]


async def test_who_finishes_has_finished_the_conversation(stage: Stage, caller: Caller) -> None:
    stage.play(Puppet("Yes?"))
    call = caller.call()
    await caller.screen.until("Yes?\n")
    caller.type("/finish")
    await ended(call)
    assert talk.conversations(caller.client, is_finished=False) == []
    assert caller.shown.endswith("The call is over: the conversation is finished.\n")


async def test_an_agent_without_a_voice_cannot_be_called(stage: Stage) -> None:
    caller = Caller(stage.service(), stage)
    with pytest.raises(ApiError, match=r"HTTP 400: .*the agent has no voice"):
        await ended(caller.call())


async def test_a_server_that_hears_nothing_is_talked_to_no_longer(
    stage: Stage, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tertulia.audio.find_spec", lambda _name: None)
    call = caller.call()
    await caller.device.speak("Is anybody there?")
    with pytest.raises(ApiError, match=r"HTTP 400: audio: This server has no codecs"):
        await ended(call)


async def test_whoever_may_not_talk_is_told(stage: Stage) -> None:
    api = Api(stage.server.url, stage.server.demo.organization_id, lambda: "nonsense")
    with pytest.raises(ApiError, match="HTTP 401: "):
        async with api.talk():
            pass


async def test_a_server_that_is_not_there_is_said_to_be_none() -> None:
    with pytest.raises(CommandFailed, match=r"Cannot talk with http://127\.0\.0\.1:9"):
        async with Api("http://127.0.0.1:9", "demo", lambda: "token").talk():
            pass


# --- The command -----------------------------------------------------------------------------------------------------


class FakePortAudio(ModuleType):
    """The library where there is a microphone, a loudspeaker, both, or neither."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self, *kinds: str) -> None:
        super().__init__("sounddevice")
        self._kinds = kinds

    def query_devices(self, kind: str) -> None:
        if kind not in self._kinds:
            raise self.PortAudioError


class NoPortAudio(MetaPathFinder):
    """Python's package is there, the system's library is not."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "sounddevice":
            raise OSError("PortAudio library not found")


Refused = Callable[[], tuple[int, str]]


@pytest.fixture
def client_settings(stage: Stage) -> dict[str, str]:
    """The variables by which a command is the demo user."""
    demo = stage.server.demo
    return dict(client_settings_of(demo, stage.server.url))


@pytest.fixture
def refused(command: Command, client_settings: dict[str, str]) -> Refused:
    """Tries to call; the exit status and the line that says why it cannot be done."""

    def call() -> tuple[int, str]:
        done = command("chat", "--voice", **client_settings)
        assert done.stdout == ""
        return done.returncode, done.stderr

    return call


def test_without_the_extra_one_line_says_so(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert refused() == (2, "tertulia: To talk by voice, install the extra `sound`.\n")


def test_without_portaudio_one_line_says_so(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoPortAudio(), *sys.meta_path])
    status, line = refused()
    assert status == 2
    assert line.startswith("tertulia: To talk by voice, install the library PortAudio ")


@pytest.mark.parametrize(("there", "missing"), [((), "microphone"), (("input",), "loudspeaker")])
def test_without_a_device_one_line_says_which(
    monkeypatch: pytest.MonkeyPatch, refused: Refused, there: tuple[str, ...], missing: str
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakePortAudio(*there))
    assert refused() == (1, f"tertulia: There is no {missing}.\n")


@pytest.fixture
def terminal(server: Process, shared: Path, tmp_path: Path, command: Command) -> Iterator[Terminal]:
    """A first call in a terminal, in a folder whose files are its sound devices."""
    assert command("finish", "--data", shared, "--url", server.url).returncode == 0
    chat = [TERTULIA, "chat", "--voice", "--data", str(shared), "--url", server.url]
    with at_a_terminal(chat, tmp_path, {**os.environ, "PYTHONPATH": str(FAKE_SOUND), "COLUMNS": "200"}) as opened:
        yield opened


def test_a_person_calls_and_hangs_up_with_ctrl_c(terminal: Terminal, tmp_path: Path) -> None:
    terminal.until("Hello! ")
    file = tmp_path / "said.raw"
    file.write_bytes(spoken.said_to_be_heard("Which book?"))
    file.rename(tmp_path / "microphone.raw")
    terminal.until("Which book?\r\n")
    terminal.until('You said: "Wh')
    assert terminal.leave() == 0
    assert "You have hung up; the conversation stays open." in terminal.shown
    assert "Traceback" not in terminal.shown
    assert spoken.heard((tmp_path / "loudspeaker.raw").read_bytes()).startswith("Hello!")


def test_a_microphone_that_is_gone_ends_the_call_with_one_line(terminal: Terminal, tmp_path: Path) -> None:
    terminal.until("ends it")
    (tmp_path / "unplugged").touch()
    assert terminal.end() == 1
    assert terminal.shown.endswith("The microphone is gone.\r\n")
    assert "Traceback" not in terminal.shown
