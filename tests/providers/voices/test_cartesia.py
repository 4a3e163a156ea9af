"""The adapter for Cartesia's voices, against a server on loopback that behaves well and badly."""

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from providers.chat_server import Answer, sends
from providers.vendor_server import VendorServer, streams, vendor_server
from tertulia.errors import VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import Sound, VoiceInfo, Word
from tertulia.providers.remote import Remote, open_client
from tertulia.providers.voices.cartesia import HEADERS, CartesiaVoice

KEY = "sk_car_a-very-secret-key"
KATIE = "f786b574-daa5-4673-aa0c-cbe3e8534c02"
ANA = "00000000-0000-4000-8000-00000000000a"
PCM = bytes(range(200)) * 2


@asynccontextmanager
async def served(*answers: Answer, stall_s: float = 5) -> AsyncGenerator[tuple[CartesiaVoice, VendorServer]]:
    headers = {**HEADERS, "Authorization": f"Bearer {KEY}"}
    async with vendor_server(*answers) as server, open_client(server.url, headers, stall_s) as client:
        yield CartesiaVoice(Remote(client, VoiceFailed, stall_s, KEY), "sonic"), server


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, 'status_code': 206, **fields})}\n\n".encode()


def chunk(pcm: bytes) -> bytes:
    return event("chunk", data=base64.b64encode(pcm).decode(), done=False, step_time=1.5)


def times(*words: tuple[str, float, float]) -> bytes:
    found, starts, ends = zip(*words, strict=True)
    return event("timestamps", word_timestamps={"words": found, "start": starts, "end": ends})


DONE = event("done", done=True)


def speaks(*events: bytes, **how: Any) -> Answer:
    return streams(*events, kind="text/event-stream", **how)


async def say(voice: CartesiaVoice, voice_id: str = ANA, text: str = "Good day, Ana.") -> list[Sound]:
    return [sound async for sound in voice.speak(text, voice_id, "deu")]


def pcm(sounds: list[Sound]) -> bytes:
    return b"".join(sound.pcm for sound in sounds)


def words(sounds: list[Sound]) -> list[Word]:
    return [word for sound in sounds for word in sound.words]


async def test_sound_and_words_arrive_as_the_server_sends_them():
    spoken = [times(("Good", 0, 0.2), ("day,", 0.25, 0.5)), chunk(PCM), times(("Ana.", 0.5, 0.75)), chunk(PCM), DONE]
    async with served(speaks(*spoken)) as (voice, server):
        sounds = await say(voice)
    assert pcm(sounds) == PCM * 2
    assert words(sounds) == [Word(0, 4, 0, 200), Word(5, 9, 250, 500), Word(10, 14, 500, 750)]
    (request,) = server.requests
    assert request.line == "POST /v1/tts/sse HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["cartesia-version"] == "2026-03-01"
    assert request.json == {
        "model_id": "sonic",
        "transcript": "Good day, Ana.",
        "voice": {"mode": "id", "id": ANA},
        "language": "de",
        "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000},
        "add_timestamps": True,
    }


@pytest.mark.parametrize("each", [1, 7, 1000])
async def test_a_stream_may_be_cut_anywhere(each: int):
    stream = chunk(PCM) + b": still here\r\n\r\n" + times(("Good", 0, 1)) + event("flush_done") + DONE
    parts = [stream[start : start + each] for start in range(0, len(stream), each)]
    async with served(speaks(*parts)) as (voice, _):
        sounds = await say(voice)
    assert (pcm(sounds), words(sounds)) == (PCM, [Word(0, 4, 0, 1000)])


async def test_words_that_are_not_in_the_text_are_passed_over():
    told = times(("Guten", 0, 0.2), ("good", 0.3, 0.4), ("Tag", 0.4, 0.5), ("ana.", 0.35, 0.6), ("Ana.", 0.6, 0.7))
    async with served(speaks(chunk(PCM), told, DONE)) as (voice, _):
        assert words(await say(voice)) == [Word(0, 4, 300, 400), Word(10, 14, 400, 600)]


async def test_of_words_that_look_alike_each_is_the_next():
    told = times(*[(letter, number / 10, number / 10 + 0.1) for number, letter in enumerate("ははのはは")])
    async with served(speaks(chunk(PCM), told, DONE)) as (voice, _):
        placed = words(await say(voice, text="ははのはは。"))
    assert [(word.start, word.end) for word in placed] == [(number, number + 1) for number in range(5)]


async def test_the_first_sound_does_not_wait_for_the_last():
    async with served(speaks(chunk(PCM), hangs=True)) as (voice, server):
        async with aclosing(voice.speak("Good day.", ANA, "eng")) as sounds:
            assert (await anext(sounds)).pcm == PCM
            assert not server.closed.is_set()
        await server.closed.wait()


async def test_the_end_is_told_by_the_server_and_not_by_the_connection():
    async with served(speaks(chunk(PCM), DONE, chunk(PCM), hangs=True)) as (voice, server):
        assert pcm(await say(voice)) == PCM
        await server.closed.wait()


async def test_a_connection_is_used_again():
    async with served(speaks(chunk(PCM), DONE)) as (voice, server):
        await say(voice)
        await say(voice, DEFAULT_VOICE)
    assert server.connections == 1
    assert server.requests[1].json["voice"] == {"mode": "id", "id": KATIE}


REFUSAL = {"error_code": "model_not_found", "title": "Invalid model", "message": "No such model.", "request_id": "7"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(sends(b"wrong key", "401 Unauthorized"), "status 401: wrong key", id="wrong key"),
        pytest.param(sends(json.dumps(REFUSAL).encode(), "400 Bad Request"), "model_not_found", id="refused"),
        pytest.param(sends(b"slow down", "429 Too Many Requests"), "status 429: slow down", id="too many requests"),
        pytest.param(sends(b"oh", "500 Internal Server Error"), "status 500: oh", id="server error"),
        pytest.param(sends(b"", "302 Found", b"Location: http://127.0.0.1:9/\r\n"), "status 302:", id="moved"),
        pytest.param(speaks(chunk(PCM), event("error", **REFUSAL)), "Invalid model: No such model.", id="error"),
        pytest.param(speaks(event("error", error=f"key {KEY}")), "key ***", id="an error of older versions"),
        pytest.param(speaks(chunk(PCM)), "the stream broke off", id="no end"),
        pytest.param(speaks(chunk(PCM), end=b""), "RemoteProtocolError", id="cut off"),
        pytest.param(streams(b"<html>", kind="text/html"), "the stream broke off", id="a page"),
        pytest.param(speaks(b"data: garbage\n\n"), "not what its reference says", id="no JSON"),
        pytest.param(speaks(b'data: {"type": 7}\n\n'), "the stream broke off", id="wrong type"),
        pytest.param(speaks(b"data: " + b"[" * 100_000 + b"\n\n"), "not what its", id="nested too deeply"),
        pytest.param(speaks(event("chunk", data="no base64!")), "no base64", id="no base64"),
        pytest.param(speaks(event("chunk", data="\u00e9")), "no base64", id="no ASCII"),
        pytest.param(speaks(chunk(b"abc")), "half a sample", id="half a sample"),
        pytest.param(speaks(*[chunk(bytes(1 << 20))] * 30, DONE), "the sound is too long", id="too long"),
        pytest.param(speaks(*[b"data: " + b"x" * (1 << 20)] * 6), "a line is too long", id="endless line"),
    ],
)
async def test_what_is_no_speech_fails(answer: Answer, reason: str):
    async with served(answer) as (voice, _):
        with pytest.raises(VoiceFailed) as caught:
            await say(voice)
    assert reason in caught.value.reason
    assert KEY not in caught.value.reason


@pytest.mark.parametrize("events", [(), (chunk(PCM),)], ids=["before a sound", "after a sound"])
async def test_silence_of_the_server_is_a_failure(events: tuple[bytes, ...]):
    async with served(speaks(*events, hangs=True), stall_s=0.1) as (voice, _):
        with pytest.raises(VoiceFailed):
            await say(voice)


def page(*voices: tuple[str, str, str], more: bool) -> Answer:
    listed = [{"id": key, "name": name, "language": code, "is_public": True} for key, name, code in voices]
    return sends(json.dumps({"data": listed, "has_more": more}).encode())


async def test_voices_are_listed_page_by_page():
    pages = [page((KATIE, "Katie", "en"), more=True), page((ANA, "Ana", "es_MX"), more=False)]
    async with served(*pages) as (voice, server):
        assert await voice.voices() == [VoiceInfo(KATIE, "Katie", ["eng"]), VoiceInfo(ANA, "Ana", ["spa"])]
    assert [request.line.split()[1] for request in server.requests] == [
        "/v1/voices?limit=100",
        f"/v1/voices?limit=100&starting_after={KATIE}",
    ]


@pytest.mark.parametrize("answer", [sends(b"", "401 Unauthorized"), sends(b"[]"), sends(b'{"data": [{}]}')])
async def test_voices_that_cannot_be_listed_are_a_failure(answer: Answer):
    async with served(answer) as (voice, _):
        with pytest.raises(VoiceFailed):
            await voice.voices()


async def test_a_voice_is_looked_up_once():
    async with served(sends(b"{}")) as (voice, server):
        assert await voice.knows(ANA)
        assert await voice.knows(ANA)
        assert await voice.knows(DEFAULT_VOICE)
        assert not await voice.knows("no-id-of-theirs")
        assert not await voice.knows("../admin")
    assert [request.line for request in server.requests] == [f"GET /v1/voices/{ANA} HTTP/1.1"]


async def test_a_voice_that_is_not_there_is_looked_up_again():
    async with served(sends(b"{}", "404 Not Found"), sends(b"{}")) as (voice, _):
        assert not await voice.knows(ANA)
        assert await voice.knows(ANA)


async def test_a_voice_that_cannot_be_looked_up_is_a_failure():
    async with served(sends(b"", "500 Internal Server Error")) as (voice, _):
        with pytest.raises(VoiceFailed):
            await voice.knows(ANA)


async def test_languages_are_those_that_the_vendor_names():
    async with served(speaks(DONE)) as (voice, _):
        assert [code for code in ("eng", "arb", "fil", "cym", "tlh") if voice.speaks(code)] == ["eng", "arb", "fil"]
