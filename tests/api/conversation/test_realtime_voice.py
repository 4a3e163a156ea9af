"""Live conversations in speech: what is said, what is heard, and who falls silent when both speak."""

import base64
from collections.abc import Generator, Sequence

import httpx2
import pytest

from support import samples, sounds, spoken, talk
from support.live import Live, Message, live, patiently, types
from support.puppet import Puppet
from support.server import Serve
from support.stage import Stage, Switch
from tertulia.audio.pcm import HEARING_RATE, RATE, duration_ms
from tertulia.engine.live.endpointing import SILENCE_MS
from tertulia.providers.base import Transcript
from tertulia.providers.models.registry import Models
from tertulia.providers.voices.base import Provider
from tertulia.providers.voices.fallback import Voices
from tertulia.providers.voices.scripted import ScriptedDetector, ScriptedTranscriber, ScriptedVoice

VOICE = "response_format=voice"
TEXT = "response_format=text"
MP3 = "response_format=voice&audio_format=mp3"

LONG = "A sentence that takes more than two seconds to say, word by word by word."
SILENCE = bytes(2 * RATE * (SILENCE_MS + 100) // 1000)


@pytest.fixture(scope="module")
def service_id(_stage: Stage) -> str:
    agent_id = samples.make_agent(_stage.admin, voice_config={"voice_id": "default"})
    return _stage.service(agent_id=agent_id)


@pytest.fixture
def user(stage: Stage) -> httpx2.Client:
    return stage.user()


@pytest.fixture
def opened(stage: Stage, user: httpx2.Client, query: str) -> Generator[Live]:
    with live(stage.server, user.headers["Authorization"].removeprefix("Bearer "), query) as connection:
        yield connection


@pytest.fixture
def query() -> str:
    return VOICE


def sound(messages: Sequence[Message]) -> bytes:
    pieces = [message["message"] for message in messages if message["type"] == "server.new-message"]
    return b"".join(base64.b64decode(piece) for piece in pieces)


def listen(opened: Live) -> None:
    """Let the server find speech; what it is told by the first piece holds for the others."""
    opened.send("switch-vad-mode", vad_mode_on=True)
    assert opened.receive() == {"type": "server.vad-mode-switched", "vad_mode_on": True}


def stream(opened: Live, pcm: bytes) -> None:
    """Send sound as a microphone does, 100 ms at a time, but faster."""
    size = RATE // 10 * 2
    for start in range(0, len(pcm), size):
        opened.speak(pcm[start : start + size], audio_config=spoken.BARE)


def said_in(client: httpx2.Client, conversation_id: str) -> list[tuple[str, str]]:
    return [(message["format"], message["message"]) for message in talk.messages(client, conversation_id)]


# --- The agent speaks ------------------------------------------------------------------------------------------------


def test_the_agent_is_heard_before_the_turn_is_complete(stage: Stage, service_id: str, opened: Live):
    stage.play(Puppet("Good evening. ", "Sit down."))
    messages = opened.start(service_id)
    assert spoken.heard(sound(messages)) == messages[-1]["full_message"] == "Good evening. Sit down."
    aligned = [char for message in messages for _, char in message.get("transcript_alignment") or ()]
    assert "".join(aligned) == "Good evening. Sit down."


@pytest.mark.parametrize("query", [MP3])
def test_the_agent_speaks_mp3_where_that_is_wanted(stage: Stage, service_id: str, opened: Live):
    stage.play(Puppet("Good evening."))
    messages = opened.start(service_id)
    assert spoken.heard(spoken.decoded(sound(messages))) == "Good evening."


def test_an_agent_without_a_voice_cannot_speak(stage: Stage, user: httpx2.Client, opened: Live):
    opened.send("start-conversation", service_id=stage.service())
    assert opened.refused()[0] == 400
    assert talk.conversations(user) == []


# --- The user speaks -------------------------------------------------------------------------------------------------


def test_an_utterance_is_what_comes_before_the_null(service_id: str, user: httpx2.Client, opened: Live):
    [created, *_] = opened.start(service_id)
    pcm = spoken.said("A table for two")
    opened.speak(pcm[:5001], audio_config=spoken.BARE)
    opened.speak(pcm[5001:])
    opened.speak(None)
    answer = opened.until("interaction-complete")
    assert types(answer)[0] == "user-message-available"
    assert answer[0]["user_message"] == "A table for two"
    assert said_in(user, created["conversation_id"])[1] == ("voice", "A table for two")


@pytest.mark.parametrize("query", [TEXT])
def test_an_utterance_may_be_a_file_and_its_answer_text(service_id: str, opened: Live):
    opened.start(service_id)
    file = sounds.mp3(spoken.said("A table for two"))
    opened.speak(file, audio_config={"type": "mp3"})
    opened.speak(None)
    answer = opened.until("interaction-complete")
    assert answer[0]["user_message"] == "A table for two"
    assert answer[-2]["message"] == ""
    assert answer[1]["message"] == "Hello"


def test_silence_is_no_message(service_id: str, opened: Live):
    opened.start(service_id)
    opened.speak(bytes(HEARING_RATE))
    opened.speak(None)
    assert opened.refused() == (400, "audio: There is no speech in the recording.")


def test_what_cannot_be_heard_is_told_by_the_name_that_it_came_by(service_id: str, opened: Live):
    opened.start(service_id)
    opened.speak(b"This is a letter.", audio_config={"type": "mp3"})
    opened.speak(None)
    status, text = opened.refused()
    assert status == 415
    assert text.startswith("audio: ")


def test_an_utterance_that_is_too_long_is_refused_once(serve: Serve):
    server = serve(limit={"audio_bytes": 4000})
    with live(server, server.sign_in(server.demo.user_id), TEXT) as opened:
        opened.start(server.demo.service_id)
        for _ in range(3):
            opened.speak(bytes(3000))
        assert opened.refused()[0] == 413
        opened.speak(None)
        opened.say("Then in writing")
        assert opened.until("interaction-complete")[0]["user_message"] == "Then in writing"


def test_an_utterances_config_cannot_change(service_id: str, opened: Live):
    opened.start(service_id)
    opened.speak(bytes(100))
    opened.speak(bytes(100), audio_config={"type": "mp3"})
    assert opened.refused()[0] == 400


def test_speech_and_text_mix(service_id: str, user: httpx2.Client, opened: Live):
    [created, *_] = opened.start(service_id)
    opened.say("In writing")
    opened.until("interaction-complete")
    opened.speak(spoken.said("Aloud"), audio_config=spoken.BARE)
    opened.speak(None)
    opened.until("interaction-complete")
    formats = [message_format for message_format, _ in said_in(user, created["conversation_id"])]
    assert formats == ["voice", "text", "voice", "voice", "voice"]


# --- Finding speech --------------------------------------------------------------------------------------------------


def test_speech_is_found_in_a_stream(stage: Stage, service_id: str, opened: Live):
    opened.start(service_id)
    stage.play(Puppet("Fine."))
    listen(opened)
    stream(opened, SILENCE + spoken.said("A table for two") + SILENCE)
    messages = opened.until("interaction-complete")
    assert types(messages)[:3] == ["vad-speech-started", "vad-speech-ended", "user-message-available"]
    assert messages[2]["user_message"] == "A table for two"
    assert spoken.heard(sound(messages)) == "Fine."


def test_a_null_ends_what_is_being_said(service_id: str, opened: Live):
    opened.start(service_id)
    listen(opened)
    stream(opened, spoken.said("No more"))
    opened.speak(None)
    assert opened.until("user-message-available")[-1]["user_message"] == "No more"


def test_what_was_being_said_is_forgotten_when_the_mode_is_switched(service_id: str, opened: Live):
    opened.start(service_id)
    listen(opened)
    stream(opened, spoken.said("Forget this"))
    opened.until("vad-speech-started")
    opened.send("switch-vad-mode", vad_mode_on=False)
    opened.until("vad-mode-switched")
    opened.speak(None)
    opened.say("This counts")
    assert opened.until("user-message-available")[-1]["user_message"] == "This counts"


def test_speech_is_found_in_samples_only(service_id: str, opened: Live):
    opened.start(service_id)
    listen(opened)
    opened.speak(b"ID3", audio_config={"type": "mp3"})
    assert opened.refused()[0] == 400


def test_the_microphones_config_cannot_change_within_speech(service_id: str, opened: Live):
    opened.start(service_id)
    listen(opened)
    stream(opened, spoken.said("Half of it"))
    opened.until("vad-speech-started")
    opened.speak(bytes(100), audio_config={**spoken.BARE, "frame_rate": 8000})
    assert opened.refused()[0] == 400


@pytest.mark.parametrize("query", [TEXT])
def test_samples_may_be_wide(service_id: str, opened: Live):
    opened.start(service_id)
    listen(opened)
    pcm = spoken.said("Wide") + SILENCE
    wide = b"".join(b"\0\0" + pcm[at : at + 2] for at in range(0, len(pcm), 2))
    for start in range(0, len(wide), 4999):
        opened.speak(wide[start : start + 4999], audio_config={**spoken.BARE, "sample_width": 4})
    assert opened.until("user-message-available")[-1]["user_message"] == "Wide"


@pytest.mark.parametrize("query", [TEXT])
def test_events_during_speech_belong_to_it(service_id: str, user: httpx2.Client, opened: Live):
    [created, *_] = opened.start(service_id)
    listen(opened)
    stream(opened, spoken.said("Is it dry"))
    opened.happen("It rains")
    stream(opened, SILENCE)
    opened.until("interaction-complete")
    assert said_in(user, created["conversation_id"])[1:3] == [("text", "It rains"), ("voice", "Is it dry")]


class _Strict(ScriptedTranscriber):
    """Hears words, and nothing in any other sound."""

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        heard = await super().transcribe(pcm, language, keyterms)
        return Transcript("") if heard.text.startswith("(") else heard


class _Counting(ScriptedTranscriber):
    """Notes the length of each recording that it hears, in ms."""

    def __init__(self) -> None:
        self.heard_ms: list[float] = []

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        transcript = await super().transcribe(pcm, language, keyterms)
        self.heard_ms.append(duration_ms(pcm, HEARING_RATE))
        return transcript


@pytest.mark.parametrize("ahead", [True, False])
def test_whole_sentences_are_answered_after_a_shorter_silence_and_heard_once(serve: Serve, ahead: bool):
    switch, counting = Switch(), _Counting()
    provider = Provider(ScriptedVoice(), counting, ScriptedDetector, hears_ahead=lambda: ahead)
    stage = Stage(serve(models=Models(switch), voices=Voices([("counting", provider)], 20)), switch)
    user = stage.user()
    with live(stage.server, user.headers["Authorization"].removeprefix("Bearer "), TEXT) as opened:
        listen(opened)
        stage.play(Puppet("Hello."))
        [created, *_] = opened.start(stage.service())
        stage.play(Puppet("Yes."))
        stream(opened, spoken.said("Is it") + bytes(2 * RATE * 300 // 1000))
        patiently(lambda: len(counting.heard_ms) == int(ahead))
        stream(opened, bytes(2 * RATE * 150 // 1000) + spoken.said("open?") + bytes(2 * RATE * 300 // 1000))
        patiently(lambda: len(counting.heard_ms) == 2 * int(ahead))
        stream(opened, bytes(2 * RATE * (150 if ahead else 400) // 1000))
        opened.until("interaction-complete")
        whole = counting.heard_ms[-1]
        assert len(counting.heard_ms) == (2 if ahead else 1)
        assert all(part < whole for part in counting.heard_ms[:-1])
        assert said_in(user, created["conversation_id"])[1][1].endswith("?")


def test_noise_begins_no_turn_but_the_agent_has_fallen_silent(serve: Serve):
    switch = Switch()
    strict = Voices([("strict", Provider(ScriptedVoice(), _Strict(), ScriptedDetector))], 20)
    stage = Stage(serve(models=Models(switch), voices=strict), switch)
    stage.play(Puppet(LONG))
    user = stage.user()
    agent_id = samples.make_agent(stage.admin, voice_config={"voice_id": "default"})
    with live(stage.server, user.headers["Authorization"].removeprefix("Bearer "), VOICE) as opened:
        listen(opened)
        opened.send("start-conversation", service_id=stage.service(agent_id=agent_id))
        opened.until("new-message")
        stream(opened, sounds.tone(RATE, 0.3, 4321) + SILENCE)
        messages = opened.until("vad-reset-zero")
        assert {"vad-speech-started", "vad-speech-ended", "interaction-complete"} <= set(types(messages))
        [created, *_] = [message for message in opened.received if message["type"] == "server.conversation-created"]
        assert len(said_in(user, created["conversation_id"])) == 1
        stage.play(Puppet("Yes."))
        stream(opened, spoken.said("Go on") + SILENCE)
        assert opened.until("interaction-complete")[-1]["full_message"] == "Yes."


# --- Both speak ------------------------------------------------------------------------------------------------------


def pieces_of(messages: Sequence[Message]) -> list[Message]:
    return [message for message in messages if message["type"] == "server.new-message"]


def test_who_speaks_silences_the_agent_and_history_has_what_was_heard(
    stage: Stage, service_id: str, user: httpx2.Client, opened: Live
):
    stage.play(Puppet(LONG))
    listen(opened)
    opened.send("start-conversation", service_id=service_id)
    [created, *_] = before = opened.until("new-message")
    while duration_ms(sound(before), RATE) < 700:
        before.append(opened.receive())
    stream(opened, spoken.said("Stop")[: RATE // 5 * 2])
    before += opened.until("vad-speech-started")
    after = opened.until("interaction-complete")

    assert sound(after) == b""
    assert [piece["stop"] for piece in pieces_of(after)] == [True]
    full_message = after[-1]["full_message"]
    assert LONG.startswith(full_message)
    assert LONG[len(full_message)] in " ,"
    heard_at_most_ms = duration_ms(sound(before), RATE)
    characters = [char for message in before for _ms, char in message.get("transcript_alignment") or ()]
    assert 0 < len(full_message) <= len(characters)
    assert len(full_message) * 40 <= heard_at_most_ms
    assert said_in(user, created["conversation_id"]) == [("voice", full_message)]

    stage.play(Puppet("Sorry."))
    stream(opened, spoken.said("Stop")[RATE // 5 * 2 :] + SILENCE)
    answer = opened.until("interaction-complete")
    assert types(answer)[:2] == ["vad-speech-ended", "user-message-available"]
    assert spoken.heard(sound(answer)) == "Sorry."


def test_who_writes_silences_the_agent_too(stage: Stage, service_id: str, user: httpx2.Client, opened: Live):
    stage.play(Puppet(LONG))
    opened.send("start-conversation", service_id=service_id)
    [created, *_] = opened.until("new-message")
    opened.say("Stop")
    first = opened.until("interaction-complete")
    assert len(first[-1]["full_message"]) < len(LONG) / 2
    stage.play(Puppet("Sorry."))
    second = opened.until("interaction-complete")
    assert second[0]["user_message"] == "Stop"
    texts = [text for _, text in said_in(user, created["conversation_id"])]
    assert texts == [first[-1]["full_message"], "Stop", second[-1]["full_message"]]


def test_a_button_that_is_pressed_silences_the_agent(stage: Stage, service_id: str, opened: Live):
    stage.play(Puppet(LONG))
    opened.send("start-conversation", service_id=service_id)
    opened.until("new-message")
    opened.speak(bytes(100))
    assert len(opened.until("interaction-complete")[-1]["full_message"]) < len(LONG) / 2


def test_who_leaves_has_heard_no_more(stage: Stage, service_id: str, user: httpx2.Client, opened: Live):
    stage.play(Puppet(LONG))
    opened.send("start-conversation", service_id=service_id)
    [created, *_] = opened.until("new-message")
    opened.connection.close()
    said = patiently(lambda: said_in(user, created["conversation_id"]))
    assert len(said[0][1]) < len(LONG) / 2


def test_who_finishes_while_the_agent_speaks_has_heard_enough(stage: Stage, service_id: str, opened: Live):
    stage.play(Puppet(LONG))
    opened.send("start-conversation", service_id=service_id)
    opened.until("new-message")
    opened.send("finish-conversation")
    assert len(opened.until("interaction-complete")[-1]["full_message"]) < len(LONG) / 2
    assert opened.closed()[0] == 1000
