"""Messages that are spoken."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from support import human, samples, sounds, spoken, talk
from support.puppet import Puppet
from support.server import Serve, Server
from support.stage import Stage, Switch
from tertulia.api.conversation.form import InteractForm
from tertulia.audio.pcm import HEARING_RATE, RATE
from tertulia.errors import TranscriptionFailed
from tertulia.providers.base import Detector, Transcript
from tertulia.providers.models.registry import Models
from tertulia.providers.voices.base import Provider
from tertulia.providers.voices.fallback import Voices
from tertulia.providers.voices.scripted import ScriptedDetector, ScriptedTranscriber, ScriptedVoice

MP3 = {"type": "mp3"}
WORDS = "Is there a book about tea?"


@pytest.fixture
def user(stage: Stage) -> httpx2.Client:
    return stage.user()


@pytest.fixture
def conversation_id(stage: Stage, user: httpx2.Client) -> str:
    return talk.id_of(talk.begin(user, stage.service()))


def heard(answer: httpx2.Response) -> list[talk.Event]:
    assert answer.status_code == 200, answer.text
    return talk.lines(answer)


# --- Heard -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recording", "config"),
    [
        (spoken.said(WORDS), spoken.BARE),
        (spoken.said_wav(WORDS), spoken.BARE),
        (spoken.said_wav(WORDS), {"type": "wav"}),
        (sounds.mp3(spoken.said(WORDS)), MP3),
        (sounds.file_of(spoken.said(WORDS), RATE, "mono", "flac", "flac"), {"type": "flac"}),
    ],
    ids=["bare", "wav as pcm", "wav", "mp3", "flac"],
)
def test_what_was_said_is_what_the_turn_answers(
    stage: Stage, user: httpx2.Client, conversation_id: str, recording: bytes, config: dict[str, Any]
) -> None:
    puppet = stage.play(Puppet())

    events = heard(spoken.send(user, conversation_id, recording, config))

    assert events[0] == {"type": "user-message-available", "message_id": events[0]["message_id"], "user_message": WORDS}
    assert puppet.prompts[-1].turns[-1].content == WORDS
    stored = talk.messages(user, conversation_id, id=events[0]["message_id"])
    assert [(message["message"], message["format"]) for message in stored] == [(WORDS, "voice")]


def test_the_recording_may_come_as_a_plain_field(user: httpx2.Client, conversation_id: str) -> None:
    answer = user.post(
        f"/conversation/{conversation_id}/interact",
        params={"request_format": "voice", "response_format": "text", "request_audio_config": '{"type":"mp3"}'},
        files=[
            ("initial_message_type", (None, "user-message")),
            ("recorded_message", (None, sounds.mp3(spoken.said(WORDS)))),
        ],
    )

    assert heard(answer)[0]["user_message"] == WORDS


def test_what_the_agent_said_can_be_said_back(stage: Stage, user: httpx2.Client) -> None:
    service_id = stage.service(agent_id=samples.make_agent(stage.admin, voice_config={"voice_id": "default"}))
    reply = talk.lines(talk.create(user, service_id, {"response_format": "voice"}))

    events = heard(spoken.send(user, talk.id_of(reply), spoken.sound(reply), spoken.BARE, response_format="voice"))

    assert events[0]["user_message"] == reply[-1]["full_message"]
    assert spoken.heard(spoken.sound(events)) == events[-1]["full_message"]


def test_a_turn_without_a_message_takes_no_recording(user: httpx2.Client, conversation_id: str) -> None:
    query = {"request_format": "voice", "request_audio_config": '{"type":"mp3"}'}
    assert talk.interact(user, conversation_id, "", query=query, type="skip").status_code == 200
    assert talk.interact(user, conversation_id, "sound", query=query, type="skip").status_code == 422


def test_likely_words_are_those_of_the_service_the_organization_and_the_user(serve: Serve) -> None:
    terms: list[Sequence[str]] = []

    class Listener(ScriptedTranscriber):
        async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
            terms.append(keyterms)
            return await super().transcribe(pcm, language, keyterms)

    stage = stage_of(serve, Listener())
    user = stage.user(user_preferences={"audio_keyterms": ["darjeeling", "earl grey"]})
    conversation_id = talk.id_of(talk.begin(user, stage.service(keyterms=["oolong", "earl grey"])))

    heard(spoken.send(user, conversation_id, spoken.said(WORDS), spoken.BARE))

    assert terms == [["oolong", "earl grey", "darjeeling"]]


def stage_of(
    serve: Serve, transcriber: ScriptedTranscriber, detector: Callable[[], Detector] | None = ScriptedDetector
) -> Stage:
    switch = Switch()
    voices = Voices([("scripted", Provider(ScriptedVoice(), transcriber, detector))])
    return Stage(serve(models=Models(switch), voices=voices), switch)


# --- Not heard -------------------------------------------------------------------------------------------------------


def untouched(user: httpx2.Client, conversation_id: str) -> bool:
    """Tell if a conversation has but its first message, and goes on."""
    return len(talk.messages(user, conversation_id)) == 1 and bool(talk.go_on(user, conversation_id))


def test_noise_is_no_message_whatever_a_transcriber_would_make_of_it(serve: Serve) -> None:
    class Parrot(ScriptedTranscriber):
        async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
            return Transcript("Thanks for watching!")

    stage = stage_of(serve, Parrot(), detector=None)
    user = stage.user()
    conversation_id = talk.id_of(talk.begin(user, stage.service()))

    for noise, pcm in human.NOISES.items():
        answer = spoken.send(user, conversation_id, pcm, {**spoken.BARE, "frame_rate": HEARING_RATE})
        assert (answer.status_code, "no speech" in answer.text) == (400, True), noise
    assert untouched(user, conversation_id)

    events = heard(spoken.send(user, conversation_id, human.speech(), {**spoken.BARE, "frame_rate": HEARING_RATE}))
    assert events[0]["user_message"] == "Thanks for watching!"


@pytest.mark.parametrize("recording", [bytes(RATE), b"\0\0"], ids=["silence", "an instant"])
def test_silence_is_no_message(user: httpx2.Client, conversation_id: str, recording: bytes) -> None:
    answer = spoken.send(user, conversation_id, recording, spoken.BARE)

    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "recorded_message: There is no speech in the recording.",
    )
    assert untouched(user, conversation_id)


@pytest.mark.parametrize(
    ("recording", "config"),
    [(b"This is a letter.", MP3), (spoken.said_wav(WORDS), MP3), (sounds.mp3(spoken.said(WORDS)), {"type": "ogg"})],
)
def test_what_is_not_what_was_announced_is_415(
    user: httpx2.Client, conversation_id: str, recording: bytes, config: dict[str, Any]
) -> None:
    answer = spoken.send(user, conversation_id, recording, config)

    assert answer.status_code == 415, answer.text
    assert untouched(user, conversation_id)


@pytest.mark.parametrize(
    "config",
    [
        None,
        "mp3",
        {"type": "midi"},
        {"type": "pcm"},
        {**spoken.BARE, "frame_rate": 3999},
        {**spoken.BARE, "n_channels": 2},
        {**spoken.BARE, "sample_width": 3},
    ],
)
def test_the_recording_has_to_be_described(user: httpx2.Client, conversation_id: str, config: Any) -> None:
    answer = spoken.send(user, conversation_id, spoken.said(WORDS), config)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["query", "request_audio_config"]


def test_an_empty_recording_is_422(user: httpx2.Client, conversation_id: str) -> None:
    answer = spoken.send(user, conversation_id, b"", MP3)

    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "recorded_message"])


def test_a_language_that_is_not_understood_is_400(stage: Stage) -> None:
    user = stage.user(user_preferences={"preferred_language": "grc"})
    conversation_id = talk.id_of(talk.begin(user, stage.service()))

    answer = spoken.send(user, conversation_id, spoken.said(WORDS), spoken.BARE)

    assert (answer.status_code, "grc" in answer.json()["detail"]) == (400, True)
    assert untouched(user, conversation_id)


def test_who_may_not_interact_hears_that_before_the_recording_is_looked_at(stage: Stage, conversation_id: str) -> None:
    stranger = stage.user()
    assert spoken.send(stranger, conversation_id, b"This is a letter.", MP3).status_code == 403
    assert spoken.send(stranger, "0" * 24, b"This is a letter.", MP3).status_code == 404


def test_what_hears_may_fail_and_nothing_is_left(serve: Serve) -> None:
    class Deaf(ScriptedTranscriber):
        async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
            raise TranscriptionFailed("it is deaf")

    stage = stage_of(serve, Deaf())
    user = stage.user()
    conversation_id = talk.id_of(talk.begin(user, stage.service()))

    answer = spoken.send(user, conversation_id, spoken.said(WORDS), spoken.BARE)

    assert (answer.status_code, answer.json()) == (503, {"detail": "The recording could not be transcribed."})
    assert untouched(user, conversation_id)


def test_a_transcriber_that_stalls_ends_the_turn(serve: Serve) -> None:
    class Lost(ScriptedTranscriber):
        async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
            await asyncio.Event().wait()
            raise AssertionError

    switch = Switch()
    voices = Voices([("scripted", Provider(ScriptedVoice(), Lost(), ScriptedDetector))])
    stage = Stage(serve(models=Models(switch), voices=voices, turn={"stall_s": 0.1}), switch)
    user = stage.user()
    conversation_id = talk.id_of(talk.begin(user, stage.service()))

    answer = spoken.send(user, conversation_id, spoken.said("Hi"), spoken.BARE)

    assert answer.status_code == 503
    assert untouched(user, conversation_id)


# --- Bounds ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(serve: Serve) -> Server:
    return serve(limit={"audio_bytes": 100_000, "audio_s": 1, "body_bytes": 50_000, "body_stall_s": 0.2})


@pytest.fixture
def small_conversation(small: Server) -> Any:
    begun = talk.begin(small.as_user, small.demo.service_id)
    yield talk.id_of(begun)
    talk.finish(small.as_user, talk.id_of(begun))


def test_a_recording_may_be_larger_than_a_text_but_not_too_large(small: Server, small_conversation: str) -> None:
    user = small.as_user

    assert spoken.send(user, small_conversation, bytes(99_000), {"type": "wav"}).status_code == 415
    assert spoken.send(user, small_conversation, bytes(100_001), {"type": "wav"}).status_code == 413
    assert talk.interact(user, small_conversation, "a" * 50_001).status_code == 413
    both = {"request_format": ["voice", "text"]}
    assert talk.interact(user, small_conversation, "a" * 50_001, query=both).status_code == 413
    assert talk.interact(user, small_conversation, "a" * 40_000).status_code == 200


def test_text_beside_a_recording_is_bounded_as_all_text_is(small: Server, small_conversation: str) -> None:
    parts = [
        ("initial_message_type", (None, "user-message")),
        ("recorded_message", ("audio", bytes(1000), "audio/wav")),
        ("external_event_message_content", (None, "a" * 30_000)),
        ("external_event_message_content", (None, "b" * 30_000)),
    ]
    query = {"request_format": "voice", "response_format": "text", "request_audio_config": '{"type": "wav"}'}

    answer = small.as_user.post(f"/conversation/{small_conversation}/interact", params=query, files=parts)

    assert answer.status_code == 413
    assert answer.json()["detail"].startswith("external_event_message_content: ")


def test_a_recording_that_is_too_long_is_400(small: Server, small_conversation: str) -> None:
    slow = {"type": "pcm", "frame_rate": 4000, "n_channels": 1, "sample_width": 2}

    answer = spoken.send(small.as_user, small_conversation, bytes(9000), slow)

    assert answer.status_code == 400
    assert untouched(small.as_user, small_conversation)


def test_a_recording_that_stalls_is_408(small: Server, small_conversation: str) -> None:
    address = urlsplit(small.url)
    head = (
        f"POST /v1/{small.demo.organization_id}/conversation/{small_conversation}/interact"
        "?request_format=voice&response_format=text&request_audio_config=%7B%22type%22%3A%22mp3%22%7D HTTP/1.1\r\n"
        f"Host: {address.netloc}\r\nAuthorization: {small.as_user.headers['authorization']}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 5000\r\n\r\n--b\r\n"
    )
    with socket.create_connection((str(address.hostname), address.port or 80), timeout=20) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
    assert untouched(small.as_user, small_conversation)


# --- Repeated --------------------------------------------------------------------------------------------------------


def test_a_spoken_message_that_is_sent_again_is_heard_once(user: httpx2.Client, conversation_id: str) -> None:
    key = {"Idempotency-Key": "once"}

    first = spoken.send(user, conversation_id, spoken.said(WORDS), spoken.BARE, key)
    again = spoken.send(user, conversation_id, spoken.said(WORDS), spoken.BARE, key)
    other = spoken.send(user, conversation_id, spoken.said("Another."), spoken.BARE, key)

    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert other.status_code == 422
    assert len(talk.messages(user, conversation_id)) == 3


def test_to_compare_requests_a_recording_is_not_copied() -> None:
    one, other = (
        InteractForm(initial_message_type="user-message", recorded_message=sound * 1000).model_dump(mode="json")
        for sound in (b"\xff", b"\xfe")
    )

    assert one != other
    assert len(one["recorded_message"]) < 100


def test_the_key_of_a_message_that_was_not_heard_is_free(user: httpx2.Client, conversation_id: str) -> None:
    key = {"Idempotency-Key": "again"}

    assert spoken.send(user, conversation_id, bytes(RATE), spoken.BARE, key).status_code == 400
    assert spoken.send(user, conversation_id, spoken.said(WORDS), spoken.BARE, key).status_code == 200
