"""Replies that are spoken."""

import asyncio
import base64
import io
import json
import threading
import wave
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx2
import pytest

from support import samples, spoken, talk
from support.puppet import PATIENCE_S, Puppet
from support.server import Serve
from support.stage import Stage, Switch
from tertulia.audio.pcm import RATE, duration_ms
from tertulia.engine.speech.fillers import FILLER_RATE
from tertulia.errors import ModelUnavailable
from tertulia.providers.base import Prompt, Sound, Voice
from tertulia.providers.models.registry import Models
from tertulia.providers.voices.base import Provider
from tertulia.providers.voices.fallback import Voices
from tertulia.providers.voices.scripted import ScriptedDetector, ScriptedTranscriber, ScriptedVoice

VOICE = {"response_format": "voice"}
MP3 = {**VOICE, "audio_format": "mp3"}
REPLY = ("Good evening. W", "hich **book** do you", " like? Perhaps 1 of ", "these.")
WRITTEN = "".join(REPLY)


@pytest.fixture(scope="module")
def service_id(_stage: Stage) -> str:
    return speaking_service(_stage)


def speaking_service(stage: Stage, graph: dict[str, Any] | None = None) -> str:
    agent_id = samples.make_agent(stage.admin, voice_config={"voice_id": "default"})
    return stage.service(graph, agent_id=agent_id)


def voices_of(*voices: Voice) -> Voices:
    return Voices(
        [(str(n), Provider(voice, ScriptedTranscriber(), ScriptedDetector)) for n, voice in enumerate(voices)], 20
    )


@pytest.fixture(scope="module")
def stage_of(serve: Serve) -> Any:
    """Makes a stage of a server with other voices."""

    def make(*voices: Voice, **settings: Any) -> Stage:
        switch = Switch()
        return Stage(serve(models=Models(switch), voices=voices_of(*voices), **settings), switch)

    return make


# --- What is said ----------------------------------------------------------------------------------------------------


def test_a_spoken_reply_is_heard_as_it_was_written(stage: Stage, service_id: str) -> None:
    stage.play(Puppet("The tea is ready. ", "Come, and sit down!"))

    answer = talk.create(stage.user(), service_id, VOICE)

    assert answer.headers["x-tertulia-audio-rate"] == "24000"
    events = talk.lines(answer)
    assert talk.types(events)[-1] == "interaction-complete"
    assert spoken.heard(spoken.sound(events)) == "The tea is ready. Come, and sit down!"


def test_all_characters_of_all_pieces_are_the_full_message(stage: Stage, service_id: str) -> None:
    stage.play(Puppet(*REPLY))

    events = talk.lines(talk.create(stage.user(), service_id, VOICE))

    times = [ms for ms, _ in spoken.characters(events)]
    assert spoken.text(events) == events[-1]["full_message"] == WRITTEN
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= duration_ms(spoken.sound(events), RATE)


def test_pieces_are_numbered_from_one_and_only_the_last_says_stop(stage: Stage, service_id: str) -> None:
    stage.play(Puppet(*REPLY))

    events = talk.lines(talk.create(stage.user(), service_id, VOICE))

    pieces = spoken.pieces(events)
    assert [piece["sequence_number"] for piece in pieces] == list(range(1, len(pieces) + 1))
    assert [piece["stop"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert {piece["message_id"] for piece in pieces} == {events[-1]["message_id"]}
    assert all(piece["transcript_alignment"] != [] for piece in pieces)


def test_mp3_is_one_stream_that_any_decoder_plays(stage: Stage, service_id: str) -> None:
    stage.play(Puppet("The tea is ready. ", "Come, and sit down!"))

    events = talk.lines(talk.create(stage.user(), service_id, MP3))

    pcm = spoken.decoded(spoken.sound(events))
    assert spoken.heard(pcm) == events[-1]["full_message"] == spoken.text(events)
    assert spoken.characters(events)[-1][0] <= duration_ms(pcm, RATE)


def test_both_formats_say_the_same_at_the_same_times_but_for_the_encoders_delay(stage: Stage, service_id: str) -> None:
    def times(query: dict[str, str]) -> list[int]:
        stage.play(Puppet(*REPLY))
        return [ms for ms, _ in spoken.characters(talk.lines(talk.create(stage.user(), service_id, query)))]

    delays = {mp3 - pcm for mp3, pcm in zip(times(MP3), times(VOICE), strict=True)}
    assert delays == {46}


def test_what_cannot_be_spoken_is_in_the_transcript_all_the_same(stage: Stage, service_id: str) -> None:
    stage.play(Puppet("\U0001f642\n\n"))

    events = talk.lines(talk.create(stage.user(), service_id, VOICE))

    assert (spoken.sound(events), spoken.text(events)) == (b"", "\U0001f642\n\n")
    assert len(spoken.pieces(events)) == 1


def test_written_and_spoken_turns_follow_one_another(stage: Stage, service_id: str) -> None:
    user = stage.user()
    conversation_id = talk.id_of(talk.begin(user, service_id))

    aloud = talk.go_on(user, conversation_id, query=VOICE)
    written = talk.go_on(user, conversation_id)

    assert spoken.heard(spoken.sound(aloud)) == aloud[-1]["full_message"]
    assert "".join(piece["message"] for piece in spoken.pieces(written)) == written[-1]["full_message"]
    formats = [(message["message_type"], message["format"]) for message in talk.messages(user, conversation_id)]
    assert formats == [
        ("agent-message", "text"),
        ("user-message", "text"),
        ("agent-message", "voice"),
        ("user-message", "text"),
        ("agent-message", "text"),
    ]


def test_only_spoken_replies_name_a_rate(stage: Stage, service_id: str) -> None:
    assert "x-tertulia-audio-rate" not in talk.create(stage.user(), service_id).headers


def test_the_model_knows_whether_its_reply_will_be_spoken(stage: Stage, service_id: str) -> None:
    puppet = stage.play(Puppet("Good evening."))
    questions: list[str] = []
    for query in ({}, VOICE):
        talk.create(stage.user(), service_id, query)
        questions.append(puppet.prompts[-1].question)

    assert ["spoken aloud" in question for question in questions] == [False, True]


# --- When it is said -------------------------------------------------------------------------------------------------


def test_the_first_sentence_sounds_before_the_model_has_finished(stage: Stage, service_id: str) -> None:
    puppet = stage.play(Puppet("Good evening. W", "hat do you read?"))
    puppet.hold()
    request: dict[str, Any] = {"params": VOICE, "json": {"service_id": service_id}}

    with stage.user().stream("POST", "/conversation/", **request) as answer:
        lines = answer.iter_lines()
        puppet.release()
        early = [json.loads(next(lines))]
        while early[-1]["type"] != "new-message":
            early.append(json.loads(next(lines)))
        finished = puppet.closed.is_set()
        puppet.release(2)
        events = [*early, *map(json.loads, lines)]

    assert not finished
    assert events[-1]["full_message"] == "Good evening. What do you read?"


# --- Refused ---------------------------------------------------------------------------------------------------------


def refused(user: httpx2.Client, service_id: str) -> str:
    """Why a spoken create is refused; it left nothing."""
    answer = talk.create(user, service_id, VOICE)
    assert answer.status_code == 400, answer.text
    assert talk.conversations(user) == []
    assert talk.create(user, service_id).status_code == 201
    return str(answer.json()["detail"])


def test_an_agent_without_a_voice_speaks_not(stage: Stage) -> None:
    assert refused(stage.user(), stage.service()) == "response_format: the agent has no voice."


def test_a_language_without_a_voice_is_not_spoken(stage: Stage, service_id: str) -> None:
    user = stage.user(user_preferences={"preferred_language": "grc"})
    assert refused(user, service_id) == "response_format: there is no voice for the language grc."


def test_without_any_voice_nothing_is_spoken(serve: Serve) -> None:
    server = serve(voice=("off",))
    assert "no voice" in refused(server.as_user, server.demo.service_id)


def test_an_agent_whose_voice_this_server_does_not_know_speaks_in_another(stage_of: Any, serve: Serve) -> None:
    class Stranger(ScriptedVoice):
        async def knows(self, voice_id: str) -> bool:
            return voice_id == "nobody else's"

    stage = stage_of(ScriptedVoice())
    agent_id = samples.make_agent(stage.admin, voice_config={"voice_id": "tone"})
    service_id = stage.service(agent_id=agent_id)
    other = serve(
        voices=voices_of(Stranger()), data=stage.server.settings.data, database=stage.server.settings.database
    )

    answer = talk.create(other.as_user, service_id, VOICE)

    assert answer.status_code == 201, answer.text
    assert spoken.heard(spoken.sound(talk.lines(answer))).startswith("Hello! Action one of start.")


def test_a_refused_turn_leaves_its_conversation_and_its_key_free(stage: Stage) -> None:
    user, key = stage.user(), {"Idempotency-Key": "once"}
    conversation_id = talk.id_of(talk.begin(user, stage.service()))
    path, parts = (
        f"/conversation/{conversation_id}/interact",
        [
            ("initial_message_type", (None, "user-message")),
            ("recorded_message", (None, "Hello")),
        ],
    )

    def ask(response_format: str) -> httpx2.Response:
        params = {"request_format": "text", "response_format": response_format}
        return user.post(path, params=params, files=parts, headers=key)

    assert ask("voice").status_code == 400
    assert ask("text").status_code == 200
    assert len(talk.messages(user, conversation_id)) == 3


# --- Failures --------------------------------------------------------------------------------------------------------


def test_another_voice_takes_over_before_the_first_sound(stage_of: Any) -> None:
    stage = stage_of(ScriptedVoice(fail_after=0), ScriptedVoice())

    events = talk.lines(talk.create(stage.user(), speaking_service(stage), VOICE))

    assert spoken.heard(spoken.sound(events)) == events[-1]["full_message"]


def test_no_other_voice_takes_over_once_one_has_sounded(stage_of: Any) -> None:
    stage = stage_of(ScriptedVoice(fail_after=2), ScriptedVoice())
    user, service_id = stage.user(), speaking_service(stage)

    events = talk.lines(talk.create(user, service_id, VOICE))

    assert spoken.sound(events)
    assert events[-1] == {"type": "error", "http_error_code": 503, "error_description": "The voice failed."}
    assert talk.conversations(user) == []
    assert talk.create(user, service_id).status_code == 201


class OneSentence(ScriptedVoice):
    """A voice that fails from its second sentence on."""

    def __init__(self) -> None:
        super().__init__()
        self._spoken = 0

    async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
        self._spoken += 1
        failing = ScriptedVoice(fail_after=0 if self._spoken > 1 else None)
        async for sound in failing.speak(text, voice_id, language):
            yield sound


def test_a_second_sentence_is_not_said_by_another_voice(stage_of: Any) -> None:
    stage = stage_of(OneSentence(), ScriptedVoice())
    stage.play(Puppet("One. ", "Two. ", "Three."))

    events = talk.lines(talk.create(stage.user(), speaking_service(stage), VOICE))

    assert spoken.heard(spoken.sound(events)) == "One."
    assert events[-1]["http_error_code"] == 503


def test_a_model_that_fails_ends_what_is_being_said(stage: Stage, service_id: str) -> None:
    user = stage.user()
    stage.play(Puppet("One. ", "Two.", fails=ModelUnavailable("gone")))

    events = talk.lines(talk.create(user, service_id, VOICE))

    assert events[-1]["type"] == "error"
    assert talk.conversations(user) == []


def test_a_voice_that_stalls_ends_the_turn(stage_of: Any) -> None:
    class Stalled(ScriptedVoice):
        async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
            await asyncio.Event().wait()
            yield Sound(b"")

    stage = stage_of(Stalled(), turn={"stall_s": 0.2})

    events = talk.lines(talk.create(stage.user(), speaking_service(stage), VOICE))

    assert events[-1]["http_error_code"] == 503


# --- Repeated --------------------------------------------------------------------------------------------------------


def test_a_spoken_reply_is_replayed_byte_for_byte(stage: Stage, service_id: str) -> None:
    user, key = stage.user(), {"Idempotency-Key": "evening"}

    def ask(**query: str) -> httpx2.Response:
        return user.post("/conversation/", params={**VOICE, **query}, json={"service_id": service_id}, headers=key)

    first, second = ask(), ask()

    assert second.content == first.content
    assert (second.headers["idempotent-replayed"], second.headers["x-tertulia-audio-rate"]) == ("true", "24000")
    assert ask(audio_format="mp3").status_code == 422


def test_a_spoken_turn_can_be_followed_from_the_middle(stage: Stage, service_id: str) -> None:
    user = stage.user()
    whole = talk.create(user, service_id, VOICE)
    conversation_id, interaction_id = talk.id_of(talk.lines(whole)), talk.lines(whole)[-1]["interaction_id"]

    path = f"/conversation/{conversation_id}/interaction/{interaction_id}/stream"
    rest = user.get(path, params={"after": 3})

    assert rest.content == b"".join(whole.content.splitlines(keepends=True)[3:])


def test_a_spoken_turn_that_is_cancelled_leaves_nothing(stage: Stage, service_id: str) -> None:
    user, puppet = stage.user(), stage.play(Puppet("Good evening. W", "hat do you read?"))
    puppet.hold()

    with user.stream("POST", "/conversation/", params=VOICE, json={"service_id": service_id}) as answer:
        lines = answer.iter_lines()
        puppet.release()
        while '"new-message"' not in next(lines):
            pass
        headers = answer.headers
        path = f"/conversation/{headers['x-tertulia-conversation-id']}"
        cancel = f"{path}/interaction/{headers['x-tertulia-interaction-id']}/cancel"
        assert user.post(cancel).status_code == 204
        *_, last = lines

    assert json.loads(last)["http_error_code"] == 409
    assert user.get(f"{path}/messages/").status_code == 404
    puppet.release(5)


# --- Fillers ---------------------------------------------------------------------------------------------------------


class Ponderer(Puppet):
    """Decides when it is told to."""

    def __init__(self) -> None:
        super().__init__("Well.")
        self.decide = threading.Event()

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        if "decision" in prompt.interaction.lower():
            await asyncio.to_thread(self.decide.wait, PATIENCE_S)
        return await super().choose(prompt, schema)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        if "reflection" in prompt.interaction.lower():
            await asyncio.to_thread(self.decide.wait, PATIENCE_S)
        async with aclosing(super().stream(prompt)) as pieces:
            async for piece in pieces:
                yield piece


def pondering_graph(*fillers: str, state: dict[str, Any] | None = None) -> dict[str, Any]:
    slow = state or samples.decision("choice", "end", "start")
    slow |= {"audio_fillers": list(fillers), "audio_filler_triggered_after": 0.01}
    return samples.graph(
        samples.action("start", "choice", actions=1),
        slow,
        samples.action("end"),
    )


def ponder(stage: Stage, user: httpx2.Client, conversation_id: str, query: dict[str, str]) -> list[talk.Event]:
    """A turn whose decision takes until a filler has come, or where none comes, until it is due."""
    ponderer = Ponderer()
    ponderer.choice = "exit-1"
    stage.play(ponderer)
    params = {"request_format": "text", "response_format": "text", **query}
    parts = [("initial_message_type", (None, "user-message")), ("recorded_message", (None, "Hello"))]
    events: list[talk.Event] = []
    path = f"/conversation/{conversation_id}/interact"
    with user.stream("POST", path, params=params, files=parts) as answer:
        for line in answer.iter_lines():
            events.append(json.loads(line))
            kind = talk.types(events)[-1]
            expects = "voice" in query.values()
            if kind == "action-too-long" or (kind.endswith("decision-started") and not expects):
                ponderer.decide.set()
    return events


@pytest.fixture
def pondering(stage: Stage) -> tuple[httpx2.Client, str]:
    """An administrator, who sees actions, and a conversation whose next turn has to decide something."""
    service_id = speaking_service(stage, pondering_graph("Let me think.", "One moment."))
    return stage.admin, talk.id_of(talk.begin(stage.admin, service_id))


def fillers(events: list[talk.Event]) -> list[Any]:
    return [event["action"] for event in events if event.get("action", {}).get("type") == "action-too-long"]


def test_a_decision_that_takes_long_is_filled(stage: Stage, pondering: tuple[httpx2.Client, str]) -> None:
    events = ponder(stage, *pondering, VOICE)

    (filler,) = fillers(events)
    assert filler["previously_started_event"] == {"type": "navigate-state-machine-decision-state-decision-started"}
    with wave.open(io.BytesIO(base64.b64decode(filler["filler"]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (FILLER_RATE, 1, 2)
        assert spoken.heard(file.readframes(file.getnframes()), FILLER_RATE) == "One moment."
    assert events[-1]["type"] == "interaction-complete"


def test_a_reflection_that_takes_long_is_filled(stage: Stage) -> None:
    weighing = pondering_graph("Let me think.", "One moment.", state=samples.reflection("choice", "end"))
    conversation_id = talk.id_of(talk.begin(stage.admin, speaking_service(stage, weighing)))

    events = ponder(stage, stage.admin, conversation_id, VOICE)

    (filler,) = fillers(events)
    assert filler["previously_started_event"] == {
        "type": "navigate-state-machine-reflection-state-prompt-retrieved",
        "prompt": "Problem of choice",
    }
    assert events[-1]["type"] == "interaction-complete"


def test_a_written_reply_has_no_fillers(stage: Stage, pondering: tuple[httpx2.Client, str]) -> None:
    assert fillers(ponder(stage, *pondering, {})) == []


def test_a_filler_that_cannot_be_spoken_is_its_text(stage_of: Any) -> None:
    class NoMoment(ScriptedVoice):
        async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
            async for sound in ScriptedVoice(fail_after=0 if text == "One moment." else None).speak(
                text, voice_id, language
            ):
                yield sound

    stage: Stage = stage_of(NoMoment())
    service_id = speaking_service(stage, pondering_graph("Let me think.", "One moment."))

    events = ponder(stage, stage.admin, talk.id_of(talk.begin(stage.admin, service_id)), VOICE)

    assert [filler["filler"] for filler in fillers(events)] == ["One moment."]
    assert events[-1]["type"] == "interaction-complete"
