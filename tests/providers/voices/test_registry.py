"""The voices that the settings name, opened."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from providers.chat_server import sends
from providers.vendor_server import streams, vendor_server
from support import human
from tertulia.errors import VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import ProviderError, Sound, Word
from tertulia.providers.voices.fallback import Voices
from tertulia.providers.voices.local.silero import SileroDetector
from tertulia.providers.voices.registry import open_voices
from tertulia.providers.voices.scripted import ScriptedDetector
from tertulia.settings import CartesiaSettings, OpenAISettings, Settings


async def say(voices: Voices, text: str = "Hello, Ana.", voice_id: str = DEFAULT_VOICE) -> list[Sound]:
    return [sound async for sound in voices.speak(text, voice_id, "eng")]


def pcm(sounds: Sequence[Sound]) -> bytes:
    return b"".join(sound.pcm for sound in sounds)


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
    assert await voices.knows(DEFAULT_VOICE)
    assert not await voices.knows("tone")
    with pytest.raises(VoiceFailed):
        await say(voices)


@pytest.mark.parametrize("name", ["nobody", "nobody:x", "scripted:x", "local:x", "off,scripted", "scripted,off"])
def test_a_voice_that_is_none_is_named(tmp_path: Path, name: str):
    with pytest.raises(ProviderError, match=r"There is no voice '(nobody|nobody:x|scripted:x|local:x|off)'"):
        open_voices(settings(tmp_path, *name.split(",")))


async def test_without_its_packages_the_log_says_so_and_the_scripted_voice_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "tertulia.providers.voices.local.speech", None)
    with capture_logs() as logs:
        voices = open_voices(settings(tmp_path, "local"))
    assert logs[0]["event"].startswith("The voice local needs the extras `local` and `voice`: ")
    assert [voice.id for voice in await voices.voices()] == ["tone", "tone-soft"]


@pytest.mark.parametrize("failure", [OSError("no such library"), RuntimeError("no such model")])
async def test_where_silero_cannot_be_loaded_speech_is_found_by_its_loudness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
):
    def fail(_rate: int) -> NoReturn:
        raise failure

    monkeypatch.setattr("tertulia.providers.voices.local.silero.SileroVAD", fail)
    with capture_logs() as logs:
        voices = open_voices(settings(tmp_path, "openai", openai=OpenAISettings(api_key=SecretStr("sk-key"))))
        await voices.start()
    assert logs[0]["event"].endswith(f"the extra `voice` cannot be used: {failure}.")
    assert isinstance(voices.detector(), ScriptedDetector)


async def test_a_vendor_speaks_and_hears_over_http(tmp_path: Path):
    async with vendor_server(streams(b"\1\0" * 240), sends(b'{"text": "Hi"}')) as server:
        openai = OpenAISettings(base_url=server.url, api_key=SecretStr("sk-key"), transcription_model="ears")
        voices = open_voices(settings(tmp_path, "openai:tts", "scripted", openai=openai))
        assert pcm(await say(voices, voice_id="af_heart")) == b"\1\0" * 240
        assert (await voices.transcribe(human.speech(), "eng", ())).text == "Hi"
        assert isinstance(voices.detector(), SileroDetector)
        await voices.aclose()
    assert server.requests[0].json["model"] == "tts"
    assert server.requests[1].form["model"] == b"ears"
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-key"}


@pytest.mark.parametrize("noise", human.NOISES)
async def test_a_vendor_that_makes_up_words_of_noise_is_not_asked(tmp_path: Path, noise: str):
    async with vendor_server(sends(b'{"text": "Thanks for watching!"}')) as server:
        openai = OpenAISettings(base_url=server.url, api_key=SecretStr("sk-key"))
        voices = open_voices(settings(tmp_path, "openai", openai=openai))
        assert (await voices.transcribe(human.NOISES[noise], "eng", ())).text == ""
        await voices.aclose()
    assert server.requests == []


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


async def test_an_id_of_another_vendor_is_a_voice_of_here_if_the_settings_say_so(tmp_path: Path):
    voices = open_voices(settings(tmp_path, "scripted", speech={"voice_ids": {"21m00Tcm4TlvDq8ikWAM": "tone-soft"}}))
    assert await voices.knows("21m00Tcm4TlvDq8ikWAM")
    assert pcm(await say(voices, voice_id="21m00Tcm4TlvDq8ikWAM")) == pcm(await say(voices, voice_id="tone-soft"))


async def test_each_process_has_detectors_of_its_own_and_gives_them_back(tmp_path: Path):
    openai = OpenAISettings(api_key=SecretStr("sk-key"))
    one, other = (open_voices(settings(tmp_path, "openai", openai=openai)) for _ in range(2))
    await one.start()
    detector = one.detector()
    await one.aclose()
    assert len(detector.feed(human.speech())) == len(other.detector().feed(human.speech()))
    await other.aclose()
