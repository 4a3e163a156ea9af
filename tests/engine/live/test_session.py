"""A live session without a network or a clock: when it ends, what it sends, and what it leaves behind."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from support.fake_timer import FakeTimer, settle
from tertulia import events
from tertulia.audio.pcm import HEARING_RATE
from tertulia.engine.agent.scene import Incoming
from tertulia.engine.live import messages as wire
from tertulia.engine.live.ports import IDLE, NORMAL, POLICY, RESTART, ClientGone, Closing
from tertulia.engine.live.session import MOST_WAITING, Pace, Session
from tertulia.engine.speech.ahead import HeardAhead, result_of
from tertulia.engine.speech.wishes import AudioFormat, VoiceWish
from tertulia.engine.turns.log import Stream
from tertulia.errors import Forbidden, ModelUnavailable, NothingHeard, TertuliaError, Unauthorized, Unavailable
from tertulia.events import Event
from tertulia.providers.base import Transcript
from tertulia.settings import LimitSettings

PACE = Pace(idle_s=300, alone_s=2)
CONVERSATION = "a" * 24
INTERACTION = "b" * 24
COMPLETE = events.InteractionComplete("c" * 24, INTERACTION, "Hello", conversation_completed=False)


class Log:
    """A turn's log, which the test writes."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def tell(self, *told: Event) -> None:
        for event in told:
            self._lines.put_nowait(events.encode(event))

    def end(self, last: Event = COMPLETE) -> None:
        self.tell(last)
        self._lines.put_nowait(None)

    async def follow(self, after: int = 0) -> AsyncGenerator[bytes, None]:
        while (line := await self._lines.get()) is not None:
            yield line


@dataclass
class FakeCaller:
    """Begins turns whose logs the test writes, unless there is an error to raise."""

    said: list[Incoming] = field(default_factory=list)
    aloud: list[VoiceWish | None] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    errors: list[TertuliaError] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    heard: dict[bytes, "asyncio.Future[HeardAhead | None]"] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    closing: bool = False

    def __post_init__(self) -> None:
        self.gate.set()

    async def _begin(self, aloud: VoiceWish | None) -> Stream:
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.aloud.append(aloud)
        self.logs.append(Log())
        return Stream(CONVERSATION, INTERACTION, self.logs[-1])

    async def start(self, opening: wire.StartConversation, aloud: VoiceWish | None) -> Stream:
        return await self._begin(aloud)

    async def resume(self, conversation_id: str) -> None:
        if self.errors:
            raise self.errors.pop(0)

    async def interact(self, conversation_id: str, incoming: Incoming, aloud: VoiceWish | None) -> Stream:
        assert conversation_id == CONVERSATION
        self.said.append(incoming)
        return await self._begin(aloud)

    async def hear_ahead(self, conversation_id: str, pcm: bytes) -> HeardAhead | None:
        assert conversation_id == CONVERSATION
        self.heard[pcm] = asyncio.get_running_loop().create_future()
        return await self.heard[pcm]

    async def finish(self, conversation_id: str) -> None:
        self.finished.append(conversation_id)

    def detector(self) -> "Loudness":
        return Loudness()


class Loudness:
    """Takes every sample that is not zero for speech."""

    frame_ms = 30

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, pcm: bytes) -> Sequence[float]:
        pcm, size = self._rest + pcm, FRAME_BYTES
        whole = len(pcm) // size * size
        self._rest = pcm[whole:]
        return [float(any(pcm[start : start + size])) for start in range(0, whole, size)]


FRAME_BYTES = HEARING_RATE * Loudness.frame_ms // 1000 * 2


def frames(count: int, *, loud: bool) -> bytes:
    return bytes([1] if loud else [0]) * FRAME_BYTES * count


class Pipe:
    """A client that the test plays."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self._received: asyncio.Queue[str | Exception] = asyncio.Queue()
        self.broken = False

    async def receive(self) -> wire.AnyClientMessage:
        received = await self._received.get()
        if isinstance(received, Exception):
            raise received
        return wire.decode(received)

    async def send(self, message: bytes) -> None:
        if self.broken:
            raise ClientGone
        self.sent.append(json.loads(message))

    def leave(self) -> None:
        self._received.put_nowait(ClientGone())

    async def say(self, kind: str, **fields: Any) -> None:
        self._received.put_nowait(json.dumps({"type": f"client.{kind}", **fields}))
        await settle()

    def flood(self, count: int) -> None:
        """Send so many messages at once."""
        for _ in range(count):
            self._received.put_nowait('{"type": "client.extend-timeout"}')

    @property
    def untaken(self) -> int:
        return self._received.qsize()

    async def write(self, text: str) -> None:
        await self.say("new-text-message", text=text)

    async def happen(self, text: str) -> None:
        await self.say("new-text-message", text=text, message_type="external-event")

    async def stream(self, pcm: bytes) -> None:
        await self.say("new-audio-message", audio=base64.b64encode(pcm).decode())

    def types(self) -> list[str]:
        """Of what was sent since the last time."""
        sent, self.sent = self.sent, []
        return [message["type"].removeprefix("server.") for message in sent]


@dataclass
class World:
    caller: FakeCaller
    pipe: Pipe
    timer: FakeTimer
    task: "asyncio.Task[Closing | None]"

    async def begin(self) -> None:
        """Have a conversation, of which nothing has been said."""
        await self.pipe.say("continue-conversation", conversation_id=CONVERSATION)
        assert self.pipe.types() == ["conversation-created"]

    @property
    def log(self) -> Log:
        return self.caller.logs[-1]

    async def end(self, last: Event = COMPLETE) -> None:
        """End the turn that runs."""
        self.log.end(last)
        await settle()


Open = Callable[..., World]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Opens sessions; with an audio format, the agent speaks."""
    worlds: list[World] = []

    def make(audio_format: AudioFormat | None = None, **limits: Any) -> World:
        caller, pipe, timer = FakeCaller(), Pipe(), FakeTimer()
        session = Session(caller, pipe, audio_format, LimitSettings(**limits), PACE, timer)
        worlds.append(World(caller, pipe, timer, asyncio.create_task(session.run())))
        return worlds[-1]

    before = len(asyncio.all_tasks())
    yield make
    for world in worlds:
        world.caller.gate.set()
        world.pipe.leave()
        await asyncio.wait_for(world.task, 5)
        assert world.timer.waiting == 0
    assert len(asyncio.all_tasks()) == before


# --- When nothing happens --------------------------------------------------------------------------------------------


async def test_a_session_in_which_nothing_happens_ends(opened: Open):
    world = opened()
    await world.timer.advance(299)
    assert not world.task.done()
    await world.timer.advance(1)
    assert (await world.task) == Closing(IDLE, "nothing has happened for too long")


async def test_the_timeout_can_be_extended(opened: Open):
    world = opened()
    await world.timer.advance(299)
    await world.pipe.say("extend-timeout")
    await world.timer.advance(299)
    assert not world.task.done()


async def test_a_turn_is_not_idle_however_long_it_takes(opened: Open):
    world = opened()
    await world.begin()
    await world.pipe.write("Think")
    await world.timer.advance(10_000)
    await world.end()
    await world.timer.advance(299)
    assert not world.task.done()
    await world.timer.advance(302)
    assert world.task.done()


async def test_silence_that_is_streamed_is_nothing_that_happens(opened: Open):
    world = opened()
    await world.begin()
    await world.pipe.say("switch-vad-mode", vad_mode_on=True)
    for _ in range(30):
        await world.pipe.stream(frames(10, loud=False))
        await world.timer.advance(10)
    assert world.task.done()


async def test_who_speaks_is_not_idle(opened: Open):
    world = opened()
    await world.begin()
    await world.pipe.say("switch-vad-mode", vad_mode_on=True)
    for _ in range(10):
        await world.pipe.stream(frames(10, loud=True))
        await world.timer.advance(200)
    assert not world.task.done()


@pytest.mark.parametrize("vad_mode_on", [True, False])
async def test_who_stops_in_the_middle_of_what_is_said_and_sends_no_more_is_idle(opened: Open, vad_mode_on: bool):
    world = opened()
    await world.begin()
    await world.pipe.say("switch-vad-mode", vad_mode_on=vad_mode_on)
    await world.pipe.stream(frames(10, loud=True))
    await world.timer.advance(299)
    assert not world.task.done()
    await world.timer.advance(1)
    assert world.task.done()


# --- External events -------------------------------------------------------------------------------------------------


def told(incoming: Incoming) -> list[str]:
    return [*(event.content for event in incoming.external_events), incoming.text]


async def test_an_event_waits_a_little_for_a_message(opened: Open):
    world = opened()
    await world.begin()
    await world.pipe.happen("It rains")
    await world.timer.advance(1.9)
    await world.pipe.write("Look")
    assert [told(incoming) for incoming in world.caller.said] == [["It rains", "Look"]]


async def test_without_a_message_it_is_told_alone(opened: Open):
    world = opened()
    await world.begin()
    await world.pipe.happen("It rains")
    await world.timer.advance(1)
    await world.pipe.happen("It pours")
    await world.timer.advance(1.9)
    assert world.caller.said == []
    await world.timer.advance(0.1)
    [incoming] = world.caller.said
    assert (incoming.type, told(incoming)) == ("external-event", ["It rains", "It pours"])


async def test_what_happens_during_a_turn_is_told_after_it(opened: Open):
    world = opened()
    await world.begin()
    await world.pipe.write("One")
    await world.pipe.happen("It rains")
    await world.timer.advance(10)
    assert len(world.caller.said) == 1
    await world.end()
    await world.timer.advance(2)
    assert told(world.caller.said[1]) == ["It rains"]


async def test_while_somebody_speaks_events_wait(opened: Open):
    world = opened()
    await world.begin()
    await world.pipe.say("switch-vad-mode", vad_mode_on=True)
    await world.pipe.stream(frames(10, loud=True))
    await world.pipe.happen("It rains")
    await world.timer.advance(10)
    assert world.caller.said == []
    await world.pipe.stream(frames(40, loud=False))
    [incoming] = world.caller.said
    assert incoming.decode is not None
    assert told(incoming) == ["It rains", ""]


@pytest.mark.parametrize("void", [True, False])
async def test_events_of_a_void_turn_wait_for_the_next_message_and_are_not_told_again_alone(opened: Open, void: bool):
    world = opened()
    await world.begin()
    if not void:
        world.caller.errors.append(ModelUnavailable())
    await world.pipe.happen("It rains")
    await world.timer.advance(2)
    if void:
        await world.end(events.Error(503, "The language model failed."))
    assert world.pipe.types() == ["error"]
    await world.timer.advance(100)
    assert len(world.caller.said) == 1
    await world.pipe.write("Again")
    assert told(world.caller.said[1]) == ["It rains", "Again"]


async def test_only_so_many_events_wait(opened: Open):
    world = opened()
    await world.begin()
    for number in range(51):
        await world.pipe.happen(f"Event {number}")
    assert [message["http_error_code"] for message in world.pipe.sent] == [429]


async def test_only_so_much_sound_waits(opened: Open):
    world = opened(audio_bytes=10_000)
    await world.begin()
    await world.pipe.write("Think")
    for size in (6000, 6000, 3000):
        await world.pipe.stream(bytes(size))
        await world.pipe.say("new-audio-message", audio=None)
    await world.pipe.write("Text has room")
    assert [message["http_error_code"] for message in world.pipe.sent] == [429]
    for _ in range(3):
        await world.end()
    assert [incoming.decode is not None for incoming in world.caller.said] == [False, True, True, False]


async def test_text_has_room_however_much_sound_waits(opened: Open):
    world = opened(audio_bytes=2000)
    await world.begin()
    await world.pipe.write("Think")
    await world.pipe.say("switch-vad-mode", vad_mode_on=True)
    await world.pipe.stream(frames(10, loud=True) + frames(30, loud=False))
    await world.pipe.write("Text has room")
    assert "error" not in world.pipe.types()


async def test_an_utterance_for_which_there_is_no_room_takes_nothing_with_it_of_what_follows(opened: Open):
    world = opened()
    await world.begin()
    await world.pipe.say("switch-vad-mode", vad_mode_on=True)
    for number in range(1 + MOST_WAITING):
        await world.pipe.write(f"{number}")
    await world.pipe.stream((frames(10, loud=True) + frames(30, loud=False)) * 3)
    marks = ["vad-speech-started", "vad-speech-ended", "error"]
    assert world.pipe.types() == ["vad-mode-switched", *marks * 3]


async def test_only_so_much_text_of_events_waits(opened: Open):
    world = opened(body_bytes=2000)
    await world.begin()
    for size in (900, 900, 900, 100):
        await world.pipe.happen("a" * size)
    assert [message["http_error_code"] for message in world.pipe.sent] == [429]
    await world.pipe.write("Look")
    assert [len(text) for text in told(world.caller.said[0])] == [900, 900, 100, 4]


# --- Both speak ------------------------------------------------------------------------------------------------------


def piece(number: int, *, stop: bool = False) -> events.NewMessage:
    return events.NewMessage("AAAA", stop, number, "c" * 24, [(0, "a")])


async def test_after_the_mark_of_speech_no_sound_is_sent(opened: Open):
    world = opened("pcm")
    await world.begin()
    await world.pipe.say("switch-vad-mode", vad_mode_on=True)
    await world.pipe.write("Talk")
    world.log.tell(piece(1), piece(2))
    await settle()
    await world.pipe.stream(frames(3, loud=True))
    assert world.pipe.types() == ["vad-mode-switched", "new-message", "new-message", "vad-speech-started"]
    world.log.tell(piece(3), piece(4, stop=True))
    await world.end()
    [last, complete] = world.pipe.sent
    assert (last["type"], last["message"], last["transcript_alignment"]) == ("server.new-message", "", None)
    assert (last["stop"], last["sequence_number"]) == (True, 4)
    assert complete["type"] == "server.interaction-complete"


async def test_no_filler_is_sent_to_who_speaks(opened: Open):
    world = opened("pcm")
    await world.begin()
    await world.pipe.write("Think")
    filler = events.CurrentAgentAction(events.ActionTooLong("UklGRg==", events.DecisionStarted()))
    world.log.tell(filler)
    await settle()
    assert world.pipe.types() == ["current-agent-action"]
    await world.pipe.write("Never mind")
    world.log.tell(filler)
    await world.end()
    assert world.pipe.types() == ["interaction-complete"]


async def test_speech_is_marked_within_a_fifth_of_a_second(opened: Open):
    world = opened("pcm")
    await world.begin()
    await world.pipe.say("switch-vad-mode", vad_mode_on=True)
    await world.pipe.stream(frames(100, loud=False))
    world.pipe.types()
    for _ in range(100 // Loudness.frame_ms):
        await world.pipe.stream(frames(1, loud=True))
    assert world.pipe.types() == ["vad-speech-started"]


async def test_an_answer_that_begins_while_the_user_speaks_again_is_not_heard(opened: Open):
    world = opened("pcm")
    await world.begin()
    await world.pipe.say("switch-vad-mode", vad_mode_on=True)
    world.caller.gate.clear()
    await world.pipe.stream(frames(10, loud=True) + frames(30, loud=False) + frames(10, loud=True))
    world.caller.gate.set()
    await settle()
    [aloud] = world.caller.aloud
    assert aloud is not None
    assert aloud.playback is not None
    assert aloud.playback.interrupted


async def test_text_does_not_silence_an_agent_that_writes(opened: Open):
    world = opened()
    await world.begin()
    await world.pipe.write("One")
    world.log.tell(piece(1))
    await world.pipe.write("Two")
    world.log.tell(piece(2, stop=True))
    await world.end()
    assert world.pipe.types() == ["new-message", "new-message", "interaction-complete"]
    assert [incoming.text for incoming in world.caller.said] == ["One", "Two"]


async def test_noise_is_no_error_but_a_silent_utterance_is(opened: Open):
    world = opened()
    await world.begin()
    world.caller.errors += [NothingHeard("nothing"), NothingHeard("nothing")]
    await world.pipe.stream(frames(10, loud=True))
    await world.pipe.say("new-audio-message", audio=None)
    assert world.pipe.types() == ["error"]
    await world.pipe.say("switch-vad-mode", vad_mode_on=True)
    await world.pipe.stream(frames(10, loud=True) + frames(30, loud=False))
    assert world.pipe.types() == ["vad-mode-switched", "vad-speech-started", "vad-speech-ended", "vad-reset-zero"]


def words(text: str) -> HeardAhead:
    return HeardAhead("eng", [], Transcript(text))


async def pause(world: World) -> "asyncio.Future[HeardAhead | None]":
    """Speak, and pause. Return what is to be heard of it."""
    await world.begin()
    await world.pipe.say("switch-vad-mode", vad_mode_on=True)
    await world.pipe.stream(frames(10, loud=True) + frames(8, loud=False))
    [heard] = world.caller.heard.values()
    return heard


async def test_who_has_said_a_whole_sentence_is_answered_after_a_shorter_silence(opened: Open):
    world = opened()
    heard = await pause(world)
    heard.set_result(words("It is open."))
    await settle()
    await world.pipe.stream(frames(5, loud=False))
    assert world.caller.said == []
    await world.pipe.stream(frames(1, loud=False))
    [incoming] = world.caller.said
    assert incoming.hearing is not None
    assert result_of(incoming.hearing) == words("It is open.")


@pytest.mark.parametrize("found", [words("Well, I would like to..."), words("I would like"), words(""), None])
async def test_who_has_not_is_waited_for_but_not_heard_again(opened: Open, found: HeardAhead | None):
    world = opened()
    heard = await pause(world)
    heard.set_result(found)
    await settle()
    await world.pipe.stream(frames(11, loud=False))
    assert world.caller.said == []
    await world.pipe.stream(frames(1, loud=False))
    [incoming] = world.caller.said
    assert incoming.hearing is not None
    assert result_of(incoming.hearing) == found


async def test_who_goes_on_is_heard_anew_after_the_next_pause(opened: Open):
    world = opened()
    heard = await pause(world)
    await world.pipe.stream(frames(10, loud=True))
    assert heard.cancelled()
    await world.pipe.stream(frames(20, loud=False))
    (first, second) = world.caller.heard
    assert len(second) > len(first)
    [incoming] = world.caller.said
    assert incoming.hearing is not None
    assert not incoming.hearing.done()


async def test_who_leaves_in_a_pause_is_not_heard_to_the_end(opened: Open):
    world = opened()
    heard = await pause(world)
    world.pipe.leave()
    await world.task
    assert heard.cancelled()


async def test_who_sends_many_messages_at_once_keeps_nobody_else_waiting(opened: Open):
    world = opened()
    await settle()
    world.pipe.flood(1000)
    await settle()
    assert 0 < world.pipe.untaken < 1000
    while world.pipe.untaken:
        await settle()


# --- How it ends -----------------------------------------------------------------------------------------------------


async def test_a_user_who_is_gone_is_shown_out(opened: Open):
    world = opened()
    await world.begin()
    world.caller.errors.append(Unauthorized("The user of this token does not exist."))
    await world.pipe.write("Hello")
    assert world.pipe.types() == ["error"]
    closing = await world.task
    assert closing is not None
    assert closing.code == POLICY


async def test_a_missing_permission_is_told(opened: Open):
    world = opened()
    await world.begin()
    world.caller.errors.append(Forbidden("You need a permission."))
    await world.pipe.write("Hello")
    assert [message["http_error_code"] for message in world.pipe.sent] == [403]
    assert not world.task.done()


@pytest.mark.parametrize("stopping", [True, False])
async def test_where_there_will_be_no_more_turns_the_session_ends(opened: Open, stopping: bool):
    world = opened()
    await world.begin()
    world.caller.closing = stopping
    world.caller.errors.append(Unavailable("Not now."))
    await world.pipe.write("Hello")
    assert world.pipe.types() == ["error"]
    assert world.task.done() == stopping
    if stopping:
        closing = await world.task
        assert closing is not None
        assert closing.code == RESTART


async def test_what_has_begun_to_begin_is_not_left_half_done(opened: Open):
    world = opened("pcm")
    await world.begin()
    world.caller.gate.clear()
    await world.pipe.write("Hello")
    world.pipe.leave()
    await settle()
    assert not world.task.done()
    world.caller.gate.set()
    assert (await world.task) is None
    [aloud] = world.caller.aloud
    assert aloud is not None
    assert aloud.playback is not None
    assert aloud.playback.interrupted


async def test_an_agent_falls_silent_also_where_its_sound_is_the_first_to_find_that_the_client_has_left(opened: Open):
    world = opened("pcm")
    await world.begin()
    await world.pipe.write("Hello")
    world.pipe.broken = True
    world.log.tell(piece(1))
    assert (await world.task) is None
    [aloud] = world.caller.aloud
    assert aloud is not None
    assert aloud.playback is not None
    assert aloud.playback.interrupted


async def test_finishing_waits_for_the_turn_that_runs(opened: Open):
    world = opened()
    await world.begin()
    await world.pipe.write("Hello")
    await world.pipe.say("finish-conversation")
    assert world.caller.finished == []
    await world.end()
    assert world.caller.finished == [CONVERSATION]
    assert (await world.task) == Closing(NORMAL, "the conversation is finished")


async def test_what_nobody_foresaw_ends_the_session_with_its_cause(opened: Open):
    world = opened()
    await world.begin()
    del world.caller.said
    await world.pipe.write("Hello")
    with pytest.raises(AttributeError):
        await world.task
    world.task = asyncio.create_task(asyncio.sleep(0))


# --- Messages --------------------------------------------------------------------------------------------------------


def test_an_event_is_told_with_another_name_and_nothing_else():
    event = events.UserMessageAvailable("c" * 24, 'She said "hi"\n')
    line = events.encode(event)
    assert json.loads(wire.told(line)) == {**json.loads(line), "type": "server.user-message-available"}
