"""The voices that the settings name, and what happens when one fails."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from providers.chat_server import sends
from providers.vendor_server import streams, vendor_server
from tertulia.audio.pcm import RATE, duration_ms
from tertulia.errors import TranscriptionFailed, VoiceFailed
from tertulia.providers.base import DEFAULT_VOICE, ProviderError, Sound, Transcript, VoiceInfo, Word
from tertulia.providers.voices import registry as opening
from tertulia.providers.voices.local.silero import SileroDetector
from tertulia.providers.voices.registry import Provider, Voices, open_voices
from tertulia.providers.voices.scripted import ScriptedDetector, ScriptedTranscriber, ScriptedVoice
from tertulia.settings import CartesiaSettings, OpenAISettings, Settings

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

    monkeypatch.setattr("tertulia.providers.voices.registry._LOOKUP_S", 0.05)
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
    recording = pcm(await say(joined(SCRIPTED), "Hi"))[: RATE // 100]
    voices = joined(Provider(None, Deaf(stalls=stalls)), SCRIPTED, stall_s=0.5)
    assert (await voices.transcribe(recording, "eng", ())).text == "(1 second of sound)"
    with pytest.raises(TranscriptionFailed):
        await joined(Provider(None, Deaf(stalls=stalls)), stall_s=0.05).transcribe(recording, "eng", ())


def settings(tmp_path: Path, *voice: str, **groups: Any) -> Settings:
    return Settings(data=tmp_path, voice=voice, **groups)


async def test_the_scripted_voice_is_the_default(tmp_path: Path):
    voices = open_voices(Settings(data=tmp_path))
    await voices.start()
    assert voices.speaks("eng")
    assert voices.hears("deu")
    assert not voices.speaks("tlh")
    assert pcm(await say(voices))
    assert isinstance(voices.detector(), ScriptedDetector)
    await voices.aclose()


async def test_off_speaks_and_hears_nothing(tmp_path: Path):
    voices = open_voices(settings(tmp_path, "off"))
    assert not voices.speaks("eng")
    assert not voices.hears("eng")
    assert await voices.voices() == []
    assert not await voices.knows(DEFAULT_VOICE)
    with pytest.raises(VoiceFailed):
        await say(voices)


@pytest.mark.parametrize("name", ["nobody", "nobody:x", "scripted:x", "local:x", "off,scripted", "scripted,off"])
def test_a_voice_that_is_none_is_named(tmp_path: Path, name: str):
    with pytest.raises(ProviderError, match=r"There is no voice '(nobody|nobody:x|scripted:x|local:x|off)'"):
        open_voices(settings(tmp_path, *name.split(",")))


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


async def test_without_its_packages_the_log_says_so_and_the_scripted_voice_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "tertulia.providers.voices.local.speech", None)
    with capture_logs() as logs:
        voices = open_voices(settings(tmp_path, "local"))
    assert logs[0]["event"].startswith("A local voice needs the extras `local` and `voice`")
    assert [voice.id for voice in await voices.voices()] == ["tone", "tone-soft"]


@pytest.mark.parametrize("failure", [OSError("no such library"), RuntimeError("no such model")])
def test_where_silero_cannot_be_loaded_speech_is_found_by_its_loudness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
):
    def fail(_rate: int) -> NoReturn:
        raise failure

    monkeypatch.setattr("tertulia.providers.voices.local.silero.SileroVAD", fail)
    monkeypatch.setattr(opening, "_silero", cache(opening._silero.__wrapped__))
    with capture_logs() as logs:
        voices = open_voices(settings(tmp_path, "openai", openai=OpenAISettings(api_key=SecretStr("sk-key"))))
    assert logs[0]["event"].endswith(f"the extra `voice` cannot be used: {failure}.")
    assert isinstance(voices.detector(), ScriptedDetector)


async def test_a_vendor_speaks_and_hears_over_http(tmp_path: Path):
    async with vendor_server(streams(b"\1\0" * 240), sends(b'{"text": "Hi"}')) as server:
        openai = OpenAISettings(base_url=server.url, api_key=SecretStr("sk-key"), transcription_model="ears")
        voices = open_voices(settings(tmp_path, "openai:tts", "scripted", openai=openai))
        assert pcm(await say(voices, voice_id="af_heart")) == b"\1\0" * 240
        assert (await voices.transcribe(bytes(3200), "eng", ())).text == "Hi"
        assert isinstance(voices.detector(), SileroDetector)
        await voices.aclose()
    assert server.requests[0].json["model"] == "tts"
    assert server.requests[1].form["model"] == b"ears"
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-key"}


async def test_a_vendor_that_is_down_is_replaced(tmp_path: Path):
    async with vendor_server(sends(b"", "503 Service Unavailable")) as server:
        cartesia = CartesiaSettings(base_url=server.url, api_key=SecretStr("sk-key"))
        voices = open_voices(settings(tmp_path, "cartesia", "scripted", cartesia=cartesia))
        sounds = await say(voices, "Hi")
        await voices.aclose()
    assert [word for sound in sounds for word in sound.words] == [Word(0, 2, 20, 100)]
    assert server.requests[0].headers["cartesia-version"] == "2026-03-01"


@pytest.mark.parametrize("name", ["openai", "cartesia"])
def test_a_vendor_needs_a_key_and_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "CARTESIA_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ProviderError, match=f"TERTULIA_{name.upper()}_API_KEY is missing"):
        open_voices(settings(tmp_path, name))
    for address in ("ftp://nowhere", "http://", "http://nowhere:99999", "http://[::1]:x", "http://\x01"):
        with pytest.raises(ProviderError, match=f"TERTULIA_{name.upper()}_BASE_URL is not"):
            open_voices(settings(tmp_path, name, **{name: {"base_url": address, "api_key": "sk-key"}}))


def test_a_proxy_that_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", "nothing://nowhere")
    with pytest.raises(ProviderError, match="The proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names"):
        open_voices(settings(tmp_path, "openai", openai=OpenAISettings(api_key=SecretStr("sk-key"))))


@pytest.mark.parametrize("name", ["openai", "cartesia"])
@pytest.mark.parametrize("key", ["sk-key\n", "sk-key\r", "sk-key\r\nX-More: 1", "sk-schlüssel"])
def test_a_key_that_no_header_can_hold_is_refused_at_once_and_not_repeated(tmp_path: Path, name: str, key: str):
    with pytest.raises(ProviderError, match=f"TERTULIA_{name.upper()}_API_KEY has a line break") as caught:
        open_voices(settings(tmp_path, name, **{name: {"api_key": key}}))
    assert "sk-" not in str(caught.value)
