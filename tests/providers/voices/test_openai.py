"""The adapter for OpenAI's speech and transcriptions, against a server on loopback that behaves well and badly."""

import array
import gzip
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import httpx2
import pytest

from providers.chat_server import Answer, floods, sends
from providers.vendor_server import VendorServer, streams, vendor_server
from support import sounds
from support.sounds import loudness, tone, wave_file
from tertulia.audio.pcm import wav
from tertulia.errors import TranscriptionFailed, VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import HEARING_RATE, Sound, Transcript, Word
from tertulia.providers.remote import Remote, open_client
from tertulia.providers.voices.openai import OpenAITranscriber, OpenAIVoice

KEY = "sk-a-very-secret-key"
PCM = bytes(range(200)) * 2


@asynccontextmanager
async def voice_at(*answers: Answer, stall_s: float = 5) -> AsyncGenerator[tuple[OpenAIVoice, VendorServer]]:
    async with (
        vendor_server(*answers) as server,
        open_client(server.url, {"Authorization": f"Bearer {KEY}"}, stall_s) as client,
    ):
        yield OpenAIVoice(Remote(client, VoiceFailed, stall_s, KEY), "tiny-tts", any_voice=True), server


@asynccontextmanager
async def ears_at(
    *answers: Answer, stall_s: float = 5, model: str = "tiny-ears"
) -> AsyncGenerator[tuple[OpenAITranscriber, VendorServer]]:
    async with vendor_server(*answers) as server, open_client(server.url, {}, stall_s) as client:
        yield OpenAITranscriber(Remote(client, TranscriptionFailed, stall_s, KEY), model), server


async def say(voice: OpenAIVoice, voice_id: str = "coral") -> list[Sound]:
    return [sound async for sound in voice.speak("Good day.", voice_id, "eng")]


def pcm(sounds: list[Sound]) -> bytes:
    return b"".join(sound.pcm for sound in sounds)


async def test_samples_arrive_as_the_server_sends_them():
    async with voice_at(streams(PCM[:100], PCM[100:101], PCM[101:])) as (voice, server):
        sounds = await say(voice)
    assert pcm(sounds) == PCM
    assert all(len(sound.pcm) % 2 == 0 for sound in sounds)
    (request,) = server.requests
    assert request.line == "POST /v1/audio/speech HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.json == {"model": "tiny-tts", "input": "Good day.", "voice": "coral", "response_format": "pcm"}


async def test_the_first_samples_do_not_wait_for_the_last():
    async with voice_at(streams(PCM, hangs=True)) as (voice, server):
        async with aclosing(voice.speak("Good day.", "coral", "eng")) as sounds:
            assert (await anext(sounds)).pcm == PCM
            assert not server.closed.is_set()
        await server.closed.wait()


async def test_a_connection_is_used_again():
    async with voice_at(streams(PCM)) as (voice, server):
        await say(voice)
        await say(voice, DEFAULT_VOICE)
    assert server.connections == 1
    assert server.requests[1].json["voice"] == "alloy"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(sends(b"wrong key", "401 Unauthorized"), "status 401: wrong key", id="wrong key"),
        pytest.param(sends(b"slow down", "429 Too Many Requests"), "status 429: slow down", id="too many requests"),
        pytest.param(sends(b"oh", "500 Internal Server Error"), "status 500: oh", id="server error"),
        pytest.param(sends(b"", "302 Found", b"Location: http://127.0.0.1:9/\r\n"), "status 302:", id="moved"),
        pytest.param(streams(PCM, end=b""), "RemoteProtocolError", id="cut off"),
        pytest.param(streams(b"{}", kind="application/json"), "application/json in place of samples", id="JSON"),
        pytest.param(streams(b"<html>", kind="text/html; charset=utf-8"), "text/html in place", id="a page"),
        pytest.param(streams(b"ID3", kind="audio/mpeg"), "audio/mpeg in place of samples", id="another format"),
        pytest.param(streams(*[bytes(1 << 20)] * 30), "the sound is too long", id="too long"),
        pytest.param(
            sends(gzip.compress(bytes(64 << 20)), headers=b"Content-Encoding: gzip\r\n"), "too long", id="gzip bomb"
        ),
        pytest.param(sends(b"<html>", headers=b"Content-Encoding: gzip\r\n"), "DecodingError", id="broken gzip"),
    ],
)
async def test_what_is_no_speech_fails(answer: Answer, reason: str):
    async with voice_at(answer) as (voice, _):
        with pytest.raises(VoiceFailed) as caught:
            await say(voice)
    assert reason in caught.value.reason


TONE = tone(24_000, 0.5)


def stereo(pcm: bytes) -> bytes:
    return b"".join(pcm[at : at + 2] * 2 for at in range(0, len(pcm), 2))


def swapped(pcm: bytes) -> bytes:
    samples = array.array("h", pcm)
    samples.byteswap()
    return samples.tobytes()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("audio/pcm", TONE),
        ("audio/pcm;rate=24000;channels=1", TONE),
        ("Audio/PCM; Rate=16000", tone(16_000, 0.5)),
        ('audio/pcm; rate="8000"; bits=16', tone(8000, 0.5)),
        ("audio/pcm;rate=48000;channels=2", stereo(tone(48_000, 0.5))),
        ("audio/L16; rate=22050", swapped(tone(22_050, 0.5))),
        ("audio/L16;rate=24000;channels=1", swapped(TONE)),
        ("audio/l16;rate=16000;channels=2;endianness=little-endian", stereo(tone(16_000, 0.5))),
        ("audio/raw;encoding=s16be;rate=44100", swapped(tone(44_100, 0.5))),
        ("audio/wav", wav(TONE, 24_000)),
        ("audio/x-wav", wav(tone(16_000, 0.5), 16_000)),
        ("application/octet-stream", wav(tone(22_050, 0.5), 22_050)),
        ("audio/pcm", wav(tone(44_100, 0.5), 44_100)),
        ("audio/wav", wave_file(stereo(tone(24_000, 0.5)), 1, 2, 24_000, 16)),
        ("audio/wav", wave_file(tone(24_000, 0.5), 1, 1, 24_000, 16, size=0xFFFFFFFF)),
        ("audio/wav", wave_file(tone(24_000, 0.5), 1, 1, 24_000, 16, size=0)),
        ("audio/wav", wav(TONE, 24_000) + b"LIST\x40\0\0\0" + b"\x55\x66" * 32),
        ("", TONE),
    ],
)
@pytest.mark.parametrize("size", [1, 77, 1 << 20])
async def test_samples_of_every_form_that_a_header_tells_are_heard(kind: str, body: bytes, size: int):
    parts = [body[at : at + size] for at in range(0, min(len(body), 2000 * size), size)]
    async with voice_at(streams(*parts, kind=kind)) as (voice, _):
        heard = pcm(await say(voice))
    if size > 1:
        assert len(heard) == pytest.approx(len(TONE), abs=100)
        assert loudness(heard[2000:-2000], 24_000, 440) == pytest.approx(10_000, rel=0.02)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param("audio/pcm", sounds.mp3(TONE), id="MP3"),
        pytest.param("application/octet-stream", sounds.tagged_mp3(), id="MP3 with a tag"),
        pytest.param("audio/pcm;rate=24000", sounds.adts(), id="AAC"),
        pytest.param("audio/pcm", sounds.webm(), id="WebM"),
        pytest.param("audio/wav", sounds.ogg(), id="Ogg"),
        pytest.param("audio/wav", sounds.flac(), id="FLAC"),
        pytest.param("audio/wav", sounds.mp4(), id="MP4"),
        pytest.param("audio/wav", b"RF64" + wave_file(TONE, 1, 1, 24_000, 16)[4:], id="RF64"),
        pytest.param("audio/pcm", b"BW64" + wave_file(TONE, 1, 1, 24_000, 16)[4:], id="BW64 as samples"),
        pytest.param("audio/wav", b"BW64\xff\xff\xff\xffWAVEds64" + bytes(600), id="BW64"),
        pytest.param("audio/wav", wave_file(TONE, 1, 1, 24_000, 16) * 2, id="two WAV files"),
        pytest.param("audio/pcm", wave_file(TONE, 1, 1, 24_000, 16, size=0xFFFFFFFF) * 2, id="two WAV streams"),
        pytest.param("audio/wav", wave_file(TONE, 1, 1, 24_000, 16, size=0) * 3, id="WAV files without lengths"),
        pytest.param(
            "audio/wav",
            wave_file(TONE, 1, 1, 24_000, 16) + b"LIST\4\0\0\0INFO" + wave_file(TONE, 3, 1, 48_000, 32),
            id="another WAV file behind a list",
        ),
        pytest.param("audio/wav", TONE, id="no WAV"),
        pytest.param("audio/wav", b"RIFF\xff\xff\xff\xffWAVEfmt ", id="a WAV without an end of its head"),
        pytest.param("audio/wav", wave_file(TONE, 85, 1, 24_000, 16), id="MP3 in WAV"),
        pytest.param("audio/pcm", b'{"error": "out of memory"}', id="JSON"),
        pytest.param("audio/pcm", '{"fehler": "Speicher überfüllt, später noch einmal versuchen"}'.encode(), id="more"),
        pytest.param("audio/pcm", "\ufeff<!DOCTYPE html>".encode(), id="a page"),
        pytest.param("", b"Internal Server Error", id="text"),
        pytest.param("audio/pcm;rate=fast", TONE, id="a rate that is none"),
        pytest.param("audio/pcm;rate=0", TONE, id="no rate"),
        pytest.param("audio/pcm;channels=99", TONE, id="too many channels"),
        pytest.param("audio/pcm;bits=12", TONE, id="odd samples"),
        pytest.param("audio/pcm;encoding=adpcm", TONE, id="another coding"),
        pytest.param("audio/pcm;endianness=middle", TONE, id="another order"),
    ],
)
async def test_what_is_no_samples_is_the_voice_s_failure_and_never_noise(kind: str, body: bytes):
    async with voice_at(streams(body[:5], body[5:], kind=kind)) as (voice, _):
        with pytest.raises(VoiceFailed):
            await say(voice)


def floats(pcm: bytes) -> bytes:
    return array.array("f", (sample / 32_768 for sample in array.array("h", pcm))).tobytes()


def law(pcm: bytes, name: str) -> bytes:
    return sounds.file_of(pcm, 8000, "mono", name, f"pcm_{name}")


SPOKEN = tone(16_000, 0.5)
TELEPHONE = tone(8000, 0.5)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("audio/pcm;samplingrate=16000", SPOKEN),
        ("audio/pcm;sampleRateHertz=16000", SPOKEN),
        ("audio/pcm;sample_rate=16000", SPOKEN),
        ("audio/pcm; Sample-Rate=16000", SPOKEN),
        ("audio/L16;rate=24000.0", swapped(TONE)),
        ("audio/pcm;rate=24kHz", TONE),
        ("audio/pcm;rate=16000 Hz,", SPOKEN),
        ("audio/pcm;rate=44.1kHz", tone(44_100, 0.5)),
        ("audio/pcm;channels=mono", TONE),
        ("audio/pcm;channels=stereo", stereo(TONE)),
        ("audio/pcm;encoding=LINEAR_PCM", TONE),
        ("audio/pcm;encoding=LINEAR16", TONE),
        ("audio/pcm;encoding=float32", floats(TONE)),
        ("audio/pcm;encoding=float;bits=32", floats(TONE)),
        ("audio/pcm;encoding=pcm_f32le", floats(TONE)),
        ("audio/pcm;format=s16", TONE),
        ("audio/pcm;format=S16BE", swapped(TONE)),
        ("audio/pcm;format=pcm_16000", SPOKEN),
        ("audio/linear16;rate=16000", SPOKEN),
        ("audio/s16le;rate=16000", SPOKEN),
        ("audio/pcm16", TONE),
        ("audio/x-raw,format=S16LE,rate=16000,channels=1", SPOKEN),
        ("audio/x-raw,format=(string)S16LE,rate=(int)16000", SPOKEN),
        ("audio/basic", law(TELEPHONE, "mulaw")),
        ("audio/PCMU", law(TELEPHONE, "mulaw")),
        ("audio/PCMA;rate=8000", law(TELEPHONE, "alaw")),
        ("audio/x-mulaw;rate=16000", law(SPOKEN, "mulaw")),
        ("audio/pcm;encoding=mulaw;rate=8000", law(TELEPHONE, "mulaw")),
        ("audio/pcm;encoding=A-law", law(TELEPHONE, "alaw")),
        ("*/*", TONE),
        ("*/*", wav(SPOKEN, 16_000)),
        ("", wav(SPOKEN, 16_000)),
        ("audio/mpeg", wav(SPOKEN, 16_000)),
        ("audio/pcm;rate=fast", wav(SPOKEN, 16_000)),
    ],
)
async def test_a_header_is_understood_in_the_spellings_of_many_servers(kind: str, body: bytes):
    async with voice_at(streams(body[:999], body[999:], kind=kind)) as (voice, _):
        heard = pcm(await say(voice))
    assert len(heard) == pytest.approx(len(TONE), abs=100)
    assert loudness(heard[2000:-2000], 24_000, 440) == pytest.approx(10_000, rel=0.04)


TEXT = "Erreur : mémoire épuisée, réessayez plus tard."


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(gzip.compress(TONE), id="gzip"),
        pytest.param(b"FORM\0\0\x10\0AIFFCOMM" + TONE, id="AIFF"),
        pytest.param(b"BW64\xff\xff\xff\xffWAVEds64" + TONE, id="BW64"),
        pytest.param(b".snd\0\0\0\x18\0\0\x10\0\0\0\0\x03" + TONE, id="AU"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + TONE, id="PNG"),
        pytest.param(b"%PDF-1.7\n\xe2\xe3" + TONE, id="PDF"),
        pytest.param(b"PK\3\4" + TONE, id="zip"),
        pytest.param(b"#!AMR\n" + TONE, id="AMR"),
        pytest.param(b"caff\0\1\0\0desc" + TONE, id="CAF"),
        pytest.param(b"FLV\1\4\0\0\0\x09" + TONE, id="FLV"),
        pytest.param(TEXT.encode("latin-1"), id="text in Latin-1"),
        pytest.param(TEXT.encode("utf-16"), id="text in UTF-16"),
        pytest.param('{"error": "épuisée"}'.encode("utf-16-le"), id="JSON in UTF-16"),
        pytest.param('{"error": "mémoire épuisée"}'.encode("latin-1"), id="JSON in Latin-1"),
    ],
)
async def test_files_and_texts_of_other_kinds_are_never_heard_as_noise(body: bytes):
    async with voice_at(streams(body[:5], body[5:], kind="audio/pcm")) as (voice, _):
        with pytest.raises(VoiceFailed):
            await say(voice)


QUIET = array.array("h", [-1 - sample % 90 for sample in range(600)]).tobytes()


@pytest.mark.parametrize("body", [QUIET, bytes(600), b"\xff\xfe" + QUIET, b"\x1f\x8b" + QUIET])
async def test_samples_that_resemble_other_kinds_are_heard(body: bytes):
    async with voice_at(streams(body)) as (voice, _):
        assert pcm(await say(voice)) == body


@pytest.mark.parametrize("parts", [(), (PCM,)], ids=["before a sound", "after a sound"])
async def test_silence_of_the_server_is_a_failure(parts: tuple[bytes, ...]):
    async with voice_at(streams(*parts, hangs=True), stall_s=0.1) as (voice, _):
        with pytest.raises(VoiceFailed):
            await say(voice)


async def test_nobody_at_the_address_is_a_failure():
    async with vendor_server() as server:
        pass
    async with open_client(server.url, {}, 1) as client:
        with pytest.raises(VoiceFailed):
            await say(OpenAIVoice(Remote(client, VoiceFailed, 1), "tiny-tts", any_voice=True))


async def test_a_client_that_was_closed_is_a_failure():
    client = open_client("http://127.0.0.1:9", {}, 1)
    await client.aclose()
    with pytest.raises(VoiceFailed):
        await say(OpenAIVoice(Remote(client, VoiceFailed, 1), "tiny-tts", any_voice=True))


async def test_the_key_is_cut_out_of_the_reason():
    async with voice_at(sends(f"bad key: {KEY}".encode(), "401 Unauthorized")) as (voice, _):
        with pytest.raises(VoiceFailed) as caught:
            await say(voice)
    assert caught.value.reason == "status 401: bad key: ***"
    assert KEY not in repr(caught.value) + caught.value.detail


async def test_another_server_may_have_voices_of_its_own():
    async with voice_at(streams(PCM)) as (voice, server):
        assert await voice.knows("af_heart")
        await say(voice, "af_heart")
        client = Remote(open_client(server.url, {}, 1), VoiceFailed, 1)
    assert server.requests[0].json["voice"] == "af_heart"
    own = OpenAIVoice(client, "tiny-tts", any_voice=False)
    assert not await own.knows("af_heart")
    assert await own.knows("coral")
    assert await own.knows(DEFAULT_VOICE)
    assert "coral" in [info.id for info in await own.voices()]


async def test_languages_are_those_that_the_vendor_names():
    async with voice_at(streams(PCM)) as (voice, _), ears_at(sends(b"")) as (ears, _):
        for speaks in (voice.speaks, ears.hears):
            assert [code for code in ("eng", "cmn", "nob", "zul", "tlh", "xxx") if speaks(code)] == [
                "eng",
                "cmn",
                "nob",
            ]


HEARD = {
    "text": " Good day, Ana. ",
    "words": [
        {"word": "Good", "start": 0.1, "end": 0.3},
        {"word": "day", "start": 0.3, "end": 0.5},
        {"word": "elsewhere", "start": 0.5, "end": 0.6},
        {"word": " ANA", "start": 0.4, "end": 0.9},
    ],
}


async def test_a_recording_is_sent_as_a_file_and_comes_back_as_words():
    async with ears_at(sends(json.dumps(HEARD).encode())) as (ears, server):
        heard = await ears.transcribe(PCM, "deu", ["Ana", "tertulia"])
    assert heard == Transcript("Good day, Ana.", (Word(0, 4, 100, 300), Word(5, 8, 300, 500), Word(10, 13, 500, 900)))
    (request,) = server.requests
    assert request.line == "POST /v1/audio/transcriptions HTTP/1.1"
    assert request.form == {
        "model": b"tiny-ears",
        "response_format": b"verbose_json",
        "timestamp_granularities[]": b"word",
        "language": b"de",
        "prompt": b"Ana, tertulia",
        "file": wav(PCM, HEARING_RATE),
    }


async def test_a_model_without_times_is_asked_for_the_text_alone():
    refusal = sends(b"response_format 'verbose_json' is not compatible", "400 Bad Request")
    text = sends(b'{"text": "Hi"}')
    async with ears_at(refusal, text, refusal, text) as (ears, server):
        for _ in range(3):
            assert await ears.transcribe(PCM, "eng", ()) == Transcript("Hi")
    asked = [request.form["response_format"] for request in server.requests]
    assert asked == [b"verbose_json", b"json", b"verbose_json", b"json", b"json"]


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "404 Not Found", "415 Unsupported Media Type", "422 Unprocessable"]
)
async def test_one_refusal_takes_the_times_from_no_other_recording(status: str):
    refusal = sends(b"no", status)
    async with ears_at(refusal, sends(b'{"text": "Hi"}'), sends(json.dumps(HEARD).encode())) as (ears, server):
        assert await ears.transcribe(PCM, "eng", ()) == Transcript("Hi")
        assert (await ears.transcribe(PCM * 100, "eng", ())).words
    assert [request.form["response_format"] for request in server.requests] == [
        b"verbose_json",
        b"json",
        b"verbose_json",
    ]


async def test_a_model_that_takes_lists_gets_lists():
    async with ears_at(sends(b'{"text": "Hi", "languages": ["de"]}'), model="gpt-transcribe") as (ears, server):
        assert await ears.transcribe(PCM, "deu", ["Ana"]) == Transcript("Hi")
        assert await ears.transcribe(PCM, "deu", ()) == Transcript("Hi")
    asked = {"model": b"gpt-transcribe", "response_format": b"json", "languages[]": b"de"}
    assert [request.form for request in server.requests] == [
        {**asked, "keywords[]": b"Ana", "file": wav(PCM, HEARING_RATE)},
        {**asked, "file": wav(PCM, HEARING_RATE)},
    ]


async def test_a_long_recording_may_take_longer_than_other_answers():
    waits: list[float] = []

    async def note(request: httpx2.Request) -> None:
        waits.append(request.extensions["timeout"]["read"])

    async with vendor_server(sends(b'{"text": "Hi"}')) as server, open_client(server.url, {}, 5) as client:
        client.event_hooks = {"request": [note]}
        ears = OpenAITranscriber(Remote(client, TranscriptionFailed, 5), "tiny-ears")
        await ears.transcribe(bytes(2 * HEARING_RATE * 60), "eng", ())
        await ears.transcribe(b"", "eng", ())
    assert waits == [5 + 2 * 60, 5]


NAN = float("nan")


@pytest.mark.parametrize(
    "words",
    [
        7,
        "Good day",
        {},
        [None, 7, "Good", [], {}],
        [{"word": None, "start": 0, "end": 1}],
        [{"word": ["Good"], "start": 0, "end": 1}],
        [{"word": "Good"}],
        [{"word": "Good", "start": None, "end": None}],
        [{"word": "Good", "start": "0", "end": "1"}],
        [{"word": "Good", "start": True, "end": True}],
        [{"word": "Good", "start": -1, "end": 1}],
        [{"word": "Good", "start": 0, "end": 1e300}],
        [{"word": "Good", "start": 0, "end": 10**400}],
        [{"word": "Good", "start": NAN, "end": float("inf")}],
        [{"word": "", "start": 0, "end": 1}],
    ],
)
async def test_times_of_words_that_are_wrong_leave_the_text_as_it_is(words: object):
    body = json.dumps({"text": "Good day.", "words": words, "segments": 7, "duration": NAN}).encode()
    async with ears_at(sends(body)) as (ears, _):
        assert await ears.transcribe(PCM, "eng", ()) == Transcript("Good day.")


async def test_times_that_are_right_are_kept_beside_those_that_are_wrong():
    words = [
        {"word": "day", "start": 0.3, "end": 0.5},
        {"word": "Good", "start": 0.1, "end": 0.3},
        {"word": "Ana", "start": 0.2, "end": 0.1},
        None,
    ]
    async with ears_at(sends(json.dumps({"text": "Good day, Ana.", "words": words}).encode())) as (ears, _):
        heard = await ears.transcribe(PCM, "eng", ())
    assert heard == Transcript("Good day, Ana.", (Word(5, 8, 300, 500), Word(10, 13, 500, 500)))


async def test_a_word_is_not_found_in_the_beginning_of_a_letter_with_its_marks():
    words = [{"word": "क", "start": 0.1, "end": 0.2}, {"word": "हिन्दी", "start": 0.2, "end": 0.4}]
    async with ears_at(sends(json.dumps({"text": "कि हिन्दी", "words": words}).encode())) as (ears, _):
        assert (await ears.transcribe(PCM, "hin", ())).words == (Word(3, 9, 200, 400),)


async def test_a_silent_recording_is_an_empty_text():
    async with ears_at(sends(b'{"text": "", "words": []}')) as (ears, _):
        assert await ears.transcribe(PCM, "eng", ()) == Transcript("")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(sends(b"", "401 Unauthorized"), id="wrong key"),
        pytest.param(sends(b"", "400 Bad Request"), id="refused in every format"),
        pytest.param(sends(b"", "429 Too Many Requests"), id="too many requests"),
        pytest.param(sends(b"", "500 Internal Server Error"), id="server error"),
        pytest.param(sends(b"", "307 Temporary Redirect", b"Location: /elsewhere\r\n"), id="moved"),
        pytest.param(sends(b"Good day"), id="no JSON"),
        pytest.param(sends(b'{"text": 7}'), id="wrong type"),
        pytest.param(sends(b"[" * 100_000), id="nested too deeply"),
        pytest.param(sends(b'"\xff"'), id="no UTF-8"),
        pytest.param(streams(b'{"text":', end=b""), id="cut off"),
        pytest.param(floods(b"x" * 65536), id="endless"),
        pytest.param(streams(b'{"text":', hangs=True), id="stalled"),
    ],
)
async def test_what_is_no_transcription_fails(answer: Answer):
    async with ears_at(answer, stall_s=0.5) as (ears, _):
        with pytest.raises(TranscriptionFailed):
            await ears.transcribe(PCM, "eng", ())
