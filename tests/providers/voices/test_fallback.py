"""Voices and transcribers of several vendors as one, and the end of one that fails."""

import array
import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from structlog.testing import capture_logs

from support import human
from tertulia.audio.pcm import RATE, duration_ms
from tertulia.errors import TranscriptionFailed, VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import Sound, Transcript, VoiceInfo, Word
from tertulia.providers.voices.base import Provider
from tertulia.providers.voices.fallback import Voices
from tertulia.providers.voices.scripted import ScriptedDetector, ScriptedTranscriber, ScriptedVoice

SCRIPTED = Provider(ScriptedVoice(), ScriptedTranscriber(), ScriptedDetector)
BROKEN = Provider(ScriptedVoice(fail_after=0))
CUT_OFF = Provider(ScriptedVoice(fail_after=1))


class Played(ScriptedVoice):
    """A voice that gives sounds made elsewhere, at a rate of its own, and then stalls where it is told to."""

    def __init__(self, *sounds: Sound, rate: int = RATE, ids: Sequence[str] = (), stalls: bool = False) -> None:
        super().__init__()
        self.rate = rate
        self.asked: list[str] = []
        self._sounds = sounds
        self._ids = ids
        self._stalls = stalls

    async def knows(self, voice_id: str) -> bool:
        if voice_id == "down":
            raise VoiceFailed("it cannot be asked")
        return voice_id in (*self._ids, DEFAULT_VOICE)

    async def voices(self) -> Sequence[VoiceInfo]:
        if not self._ids:
            raise VoiceFailed("it cannot be asked")
        return [VoiceInfo(voice_id, voice_id.upper()) for voice_id in self._ids]

    async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
        self.asked.append(voice_id)
        for sound in self._sounds:
            yield sound
        if self._stalls:
            await asyncio.Event().wait()


class Deaf(ScriptedTranscriber):
    """A transcriber that fails, or that never ends."""

    def __init__(self, *, stalls: bool = False) -> None:
        self._stalls = stalls

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        if self._stalls:
            await asyncio.Event().wait()
        raise TranscriptionFailed("it is deaf")


def joined(*providers: Provider, stall_s: float = 5) -> Voices:
    return Voices([(f"voice-{number}", provider) for number, provider in enumerate(providers)], stall_s)


async def say(voices: Voices, text: str = "Hello, Ana.", voice_id: str = DEFAULT_VOICE) -> list[Sound]:
    return [sound async for sound in voices.speak(text, voice_id, "eng")]


def pcm(sounds: Sequence[Sound]) -> bytes:
    return b"".join(sound.pcm for sound in sounds)


SCRIPT = [Sound(b"\1\0" * 240), Sound(b"", [Word(0, 6, 0, 5)]), Sound(b"\2\0" * 240, [Word(7, 11, 5, 10)])]


async def test_a_sentence_comes_as_the_voice_makes_it():
    assert await say(joined(Provider(Played(*SCRIPT)))) == [
        Sound(b"\1\0" * 240),
        Sound(b"", (Word(0, 6, 0, 5),)),
        Sound(b"\2\0" * 240, (Word(7, 11, 5, 10),)),
    ]


async def test_words_before_the_first_sound_come_with_it():
    sounds = await say(joined(Provider(Played(Sound(b"", SCRIPT[1].words), *SCRIPT[::2]))))
    assert sounds[0] == Sound(b"\1\0" * 240, (Word(0, 6, 0, 5),))


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(BROKEN, id="fails"),
        pytest.param(Provider(Played()), id="makes no sound"),
        pytest.param(Provider(Played(Sound(b""))), id="makes an empty sound"),
        pytest.param(Provider(Played(Sound(b"", SCRIPT[1].words))), id="tells words only"),
        pytest.param(Provider(Played(stalls=True)), id="stalls"),
        pytest.param(Provider(None, ScriptedTranscriber()), id="has no voice"),
    ],
)
async def test_a_voice_that_fails_before_its_first_sound_is_replaced(broken: Provider):
    assert pcm(await say(joined(broken, Provider(Played(*SCRIPT)), stall_s=0.05))) == pcm(SCRIPT)


@pytest.mark.parametrize("broken", [CUT_OFF, Provider(Played(SCRIPT[0], stalls=True))], ids=["fails", "stalls"])
async def test_a_voice_that_fails_after_its_first_sound_is_not_replaced(broken: Provider):
    sounds = joined(broken, SCRIPTED, stall_s=0.05).speak("Hello.", DEFAULT_VOICE, "eng")
    assert (await anext(sounds)).pcm
    with pytest.raises(VoiceFailed):
        await anext(sounds)


async def test_a_message_keeps_the_voice_that_has_sounded():
    first, second = Played(stalls=True), Played(*SCRIPT)
    speaker = joined(Provider(first), Provider(second), stall_s=0.05).speaker(DEFAULT_VOICE, "eng")
    for _ in range(3):
        assert pcm([sound async for sound in speaker.speak("Hello.")]) == pcm(SCRIPT)
    assert (len(first.asked), len(second.asked)) == (1, 3)


async def test_when_all_fail_the_last_reason_is_raised_and_each_is_logged():
    with capture_logs() as logs, pytest.raises(VoiceFailed, match="The voice failed"):
        await say(joined(BROKEN, Provider(Played())))
    assert [(log["voice"], log["reason"]) for log in logs] == [
        ("voice-0", "it was told to fail"),
        ("voice-1", "it made no sound"),
    ]


async def test_the_provider_that_knows_a_voice_speaks_first_and_the_others_with_their_own():
    stranger, friend = Played(*SCRIPT), Played(ids=["ana"])
    await say(joined(Provider(stranger), Provider(friend)), voice_id="ana")
    assert (stranger.asked, friend.asked) == ([DEFAULT_VOICE], ["ana"])


async def test_a_voice_of_another_rate_is_resampled():
    sounds = await say(joined(Provider(Played(Sound(bytes(16000), SCRIPT[1].words), rate=16000))))
    assert duration_ms(pcm(sounds), RATE) == pytest.approx(500, abs=5)
    assert [word for sound in sounds for word in sound.words] == SCRIPT[1].words


async def test_whoever_stops_early_stops_the_voice():
    closed = asyncio.Event()

    class Endless(Played):
        async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
            try:
                while True:
                    yield SCRIPT[0]
            finally:
                closed.set()

    sounds = joined(Provider(Endless())).speak("Hello.", DEFAULT_VOICE, "eng")
    await anext(sounds)
    await sounds.aclose()
    assert closed.is_set()


async def test_a_voice_is_known_when_any_provider_has_it():
    voices = joined(SCRIPTED, Provider(Played(ids=["ana"])))
    assert await voices.knows("ana")
    assert await voices.knows("tone")
    assert await voices.knows(DEFAULT_VOICE)
    assert not await voices.knows("nobody")
    with pytest.raises(VoiceFailed):
        await voices.knows("down")


async def test_a_provider_that_does_not_say_whether_it_has_a_voice_speaks_last(monkeypatch: pytest.MonkeyPatch):
    class Silent(Played):
        async def knows(self, voice_id: str) -> bool:
            await asyncio.Event().wait()
            return True

    monkeypatch.setattr("tertulia.providers.voices.fallback._LOOKUP_S", 0.05)
    silent, friend = Silent(*SCRIPT), Played(*SCRIPT, ids=["ana"])
    voices = joined(Provider(silent), Provider(friend))
    assert await voices.knows("ana")
    await say(voices, voice_id="ana")
    assert (silent.asked, friend.asked) == ([], ["ana"])


async def test_the_voices_of_all_that_can_be_asked_are_listed():
    listed = await joined(Provider(Played()), Provider(Played(ids=["ana"])), SCRIPTED).voices()
    assert [voice.id for voice in listed] == ["ana", "tone", "tone-soft"]


@pytest.mark.parametrize("stalls", [False, True])
async def test_what_hears_nothing_is_replaced(stalls: bool):
    voices = joined(Provider(None, Deaf(stalls=stalls)), SCRIPTED, stall_s=0.5)
    assert (await voices.transcribe(human.speech(), "eng", ())).text == "(1 second of sound)"
    with pytest.raises(TranscriptionFailed):
        await joined(Provider(None, Deaf(stalls=stalls)), stall_s=0.05).transcribe(human.speech(), "eng", ())


class Parrot(ScriptedTranscriber):
    """A transcriber that makes a sentence of whatever it is given, as those of vendors do of noise."""

    def __init__(self, text: str = "Thanks for watching!") -> None:
        self.asked = 0
        self._text = text

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        self.asked += 1
        return Transcript(self._text)


@pytest.mark.parametrize("noise", human.NOISES)
async def test_no_transcriber_is_asked_for_the_words_of_noise(noise: str):
    parrot = Parrot()
    assert await joined(Provider(None, parrot)).transcribe(human.NOISES[noise], "eng", ()) == Transcript("")
    assert parrot.asked == 0


@pytest.mark.parametrize("loudness", [1, 1 / 10, 1 / 100])
@pytest.mark.parametrize("text", ["No.", human.HELLO])
async def test_speech_is_heard_however_quiet_it_is(text: str, loudness: float):
    samples = array.array("h", human.speech(text))
    quiet = array.array("h", [round(sample * loudness) for sample in samples]).tobytes()
    assert await joined(Provider(None, Parrot("Yes."))).transcribe(quiet, "eng", ()) == Transcript("Yes.")


async def test_speech_after_a_minute_of_noise_is_heard():
    sound = human.NOISES["a quiet hiss"] * 30 + human.speech()
    assert await joined(Provider(None, Parrot("Yes."))).transcribe(sound, "eng", ()) == Transcript("Yes.")


async def test_characters_that_no_database_takes_are_replaced_one_by_one():
    heard = await joined(Provider(None, Parrot("A\0b\ud83d c"))).transcribe(human.speech(), "eng", ())
    assert heard == Transcript("A\ufffdb\ufffd c")


async def test_a_voice_that_cannot_be_loaded_is_left_out():
    async def fail() -> None:
        raise VoiceFailed("it is broken")

    voices = joined(Provider(Played(*SCRIPT), start=fail))
    with capture_logs() as logs:
        await voices.start()
    assert logs[0]["reason"] == "it is broken"
    assert pcm(await say(voices)) != pcm(SCRIPT)


async def test_all_are_closed_even_where_one_fails_to():
    closed: list[int] = []

    def closing(number: int) -> Provider:
        async def aclose() -> None:
            closed.append(number)
            if number == 2:
                raise OSError("the process is gone")

        return Provider(Played(), aclose=aclose)

    with pytest.raises(OSError, match="the process is gone"):
        await joined(*map(closing, range(4))).aclose()
    assert closed == [3, 2, 1, 0]
