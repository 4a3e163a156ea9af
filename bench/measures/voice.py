"""Speech: how soon a reply sounds, how many can speak at once, and how soon a spoken message is answered."""

import asyncio
import base64
import itertools
import json
import re
import statistics
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect

from bench import servers
from bench.fake_model import FIRST_SENTENCE
from bench.figures import PRODUCT, Bound, Figure, Section, percentile
from bench.http import Create
from bench.servers import Server
from bench.setting import Setting
from tertulia.audio.pcm import HEARING_RATE, RATE, SAMPLE_BYTES, duration_ms
from tertulia.audio.resample import Resampler
from tertulia.engine.live.endpointing import SENTENCE_SILENCE_MS, SILENCE_MS
from tertulia.providers import weights
from tertulia.providers.voices.local.voice import open_voice
from tertulia.providers.weights import WHISPER_TINY_EN, WeightsUnavailable

LATEST_FIRST_SOUND_MS = 60.0
LATEST_ANSWER_MS = {True: 650.0, False: 150.0}
"""From the end of speech to the first sound, found by the detector or told."""
SPEAKERS = (1, 4, 8)
PIECES = 60
"""Words of a reply that is spoken as a whole: some twenty seconds."""
_WARM_UP = 3
UTTERANCES = (
    "I would like to read a short novel.",
    "Something with a good mystery in it, please.",
    "I do not mind if it is old.",
    "Tell me more about the writer.",
)
_FRAME_S = 0.02
_SILENT = 500
"""Samples whose size is below this are no speech, but a voice's breath."""
_TIME = re.compile(r"It is (\d+)\.")

_TEXT = (
    "The local voice (English, in the server's process), 24 kHz PCM, over HTTP; server and voice have one core, and "
    "synthesis one thread for each speaker. A first sound is timed from the moment when a fake model on the other core "
    "has written the end of the reply's first sentence ({words} words) until its first sound is at the client. The "
    "share of real time is the time from a request until its whole reply is there, divided by how long the reply "
    "sounds, with a model that takes none: below 1 is faster than it is spoken. It is the median over speakers. In a "
    "live conversation the user's speech arrives in frames of {frame:g} ms, as a microphone gives it, and is answered "
    "after its last sound: found by the detector, the server first waits for a silence of {sentence:g} ms after "
    "whole sentences, else of {pause:g}, and transcribes ({hearing}) meanwhile, which is in the figure; told by the "
    "client that the message is over, it transcribes then. The reply's first sentence takes no time, and is spoken."
)


@dataclass(frozen=True, slots=True)
class _Heard:
    """A spoken reply: when its first sound came, by the monotonic clock, how long it took, and how long it sounds."""

    first_sound: float
    took_s: float
    sounds_s: float
    text: str


def measure(setting: Setting) -> Section:
    firsts = _first_sounds(setting)
    figures = [
        Figure(
            "first sound after the first sentence, p50",
            "ms",
            {PRODUCT: percentile(firsts, 50)},
            bound=Bound(percentile(firsts, 50), LATEST_FIRST_SOUND_MS, "at most"),
        ),
        Figure("first sound after the first sentence, p95", "ms", {PRODUCT: percentile(firsts, 95)}),
        *_speakers(setting),
        *_live(setting),
    ]
    words = len(FIRST_SENTENCE.split())
    text = _TEXT.format(
        words=words,
        frame=1000 * _FRAME_S,
        pause=SILENCE_MS,
        sentence=SENTENCE_SILENCE_MS,
        hearing=WHISPER_TINY_EN.name,
    )
    return Section("Speech", figures, text)


def _first_sounds(setting: Setting) -> list[float]:
    """Milliseconds from the model's first sentence to the first sound, of turns one after another."""
    with servers.fake_model(setting.folder, setting.cores.load) as fake:
        settings = {"MODEL": "openai:x", "OPENAI_BASE_URL": f"{fake.url}/v1", "OPENAI_API_KEY": "secret"}
        with servers.tertulia(setting.folder, setting.cores.server, {"VOICE": "local", **settings}) as server:
            heard = [
                _create(setting, server, create, "Say the time.")
                for create in setting.workload.take(_WARM_UP + setting.effort.replies)
            ]
    return [1000 * (one.first_sound - _when(one.text)) for one in heard[_WARM_UP:]]


def _when(text: str) -> float:
    found = _TIME.search(text)
    assert found, text
    return int(found[1]) / 1e6


def _speakers(setting: Setting) -> Generator[Figure]:
    settings = {"VOICE": "local", "SCRIPTED_PIECES": str(PIECES)}
    with servers.tertulia(setting.folder, setting.cores.server, settings) as server:
        _create(setting, server, setting.workload.take(1)[0], "Hello.")
        for count in SPEAKERS:
            heard = _together(setting, server, count)
            share = statistics.median(one.took_s / one.sounds_s for one in heard)
            noun = "speaker" if count == 1 else "speakers"
            yield Figure(f"share of real time, {count} {noun} at once", "", {PRODUCT: share})


def _together(setting: Setting, server: Server, count: int) -> list[_Heard]:
    creates = setting.workload.take(count)
    with ThreadPoolExecutor(count) as threads:
        return list(
            threads.map(_create, itertools.repeat(setting), itertools.repeat(server), creates, ["Hello."] * count)
        )


def _create(setting: Setting, server: Server, create: Create, message: str) -> _Heard:
    """Create a conversation whose first reply is spoken, and hear it to its end."""
    body = {"service_id": create.service_id, "initial_message": message}
    began, first_sound, sound = time.monotonic(), 0.0, 0.0
    event: dict[str, Any] = {"type": "nothing"}
    with _answer(setting, server, create, body) as lines:
        for event in lines:
            if event["type"] == "new-message" and event["message"]:
                first_sound = first_sound or time.monotonic()
                sound += duration_ms(base64.b64decode(event["message"]), RATE) / 1000
    assert event["type"] == "interaction-complete", event
    return _Heard(first_sound, time.monotonic() - began, sound, event["full_message"])


@contextmanager
def _answer(setting: Setting, server: Server, create: Create, body: dict[str, str]) -> Generator[Generator[Any]]:
    url = f"{server.url}{setting.workload.path.replace('=text', '=voice')}"
    headers = {"Authorization": f"Bearer {create.token}"}
    with httpx2.stream("POST", url, json=body, headers=headers, timeout=120, trust_env=False) as response:
        assert response.status_code == 201, response.read()
        yield (json.loads(line) for line in response.iter_lines())


# --- Live ------------------------------------------------------------------------------------------------------------


def _live(setting: Setting) -> list[Figure]:
    names = {True: "end of speech to first sound, found by the detector", False: "end of speech to first sound, told"}
    try:
        weights.fetch(WHISPER_TINY_EN, weights.folder(setting.folder))
    except WeightsUnavailable as error:
        return [Figure(name, "ms", {}, note=f"skipped: {error}") for name in names.values()]
    said = asyncio.run(_recorded())
    with servers.tertulia(setting.folder, setting.cores.server, {"VOICE": "local"}) as server:
        waited = {vad: 1000 * statistics.median(asyncio.run(_talk(setting, server, said, vad))) for vad in names}
    return [
        Figure(f"{name}, p50", "ms", {PRODUCT: waited[vad]}, bound=Bound(waited[vad], LATEST_ANSWER_MS[vad], "at most"))
        for vad, name in names.items()
    ]


async def _recorded() -> list[bytes]:
    """The utterances, at HEARING_RATE, without the silence around them."""
    voice = open_voice()
    said: list[bytes] = []
    for text in UTTERANCES:
        resampler = Resampler(RATE, HEARING_RATE)
        pcm = b"".join([resampler.feed(sound.pcm) async for sound in voice.speak(text, "default", "eng")])
        said.append(_stripped(pcm + resampler.finish()))
    await voice.aclose()
    return said


def _stripped(pcm: bytes) -> bytes:
    samples = memoryview(pcm).cast("h")
    loud = [at for at, sample in enumerate(samples) if abs(sample) > _SILENT]
    return pcm[loud[0] * SAMPLE_BYTES : (loud[-1] + 1) * SAMPLE_BYTES]


async def _talk(setting: Setting, server: Server, said: list[bytes], vad: bool) -> list[float]:
    """Seconds from the end of each utterance to the first sound of its answer."""
    create = setting.workload.take(1)[0]
    url = f"{server.url.replace('http', 'ws', 1)}/v1/{setting.workload.org_id}/conversation/converse_realtime"
    headers = {"Authorization": f"Bearer {create.token}"}
    waited: list[float] = []
    async with connect(f"{url}?response_format=voice", additional_headers=headers, proxy=None) as socket:
        await _send(socket, "start-conversation", service_id=create.service_id)
        await _sound(socket)
        if vad:
            await _send(socket, "switch-vad-mode", vad_mode_on=True)
        for utterance in said:
            await _until(socket, "server.interaction-complete")
            speaking = asyncio.create_task(_speak(socket, utterance, pause=vad))
            heard = await _sound(socket)
            waited.append(heard - await speaking)
    return waited


async def _speak(socket: ClientConnection, pcm: bytes, *, pause: bool) -> float:
    """Send an utterance as fast as it is spoken; when its last sound was sent. Then a pause, or word of the end."""
    size = round(HEARING_RATE * _FRAME_S) * SAMPLE_BYTES
    frames = [pcm[at : at + size] for at in range(0, len(pcm), size)]
    began, ended = time.monotonic(), 0.0
    for number, frame in enumerate(frames + [bytes(size)] * (round(2 * SILENCE_MS / 1000 / _FRAME_S) if pause else 0)):
        await asyncio.sleep(max(0.0, began + (number + 1) * _FRAME_S - time.monotonic()))
        await _send(socket, "new-audio-message", audio=base64.b64encode(frame).decode())
        if number == len(frames) - 1:
            ended = time.monotonic()
    if not pause:
        await _send(socket, "new-audio-message", audio=None)
    return ended


async def _sound(socket: ClientConnection) -> float:
    """Tell when the next sound came."""
    while not (await _until(socket, "server.new-message"))["message"]:
        pass
    return time.monotonic()


async def _until(socket: ClientConnection, kind: str) -> dict[str, Any]:
    while (message := json.loads(await socket.recv()))["type"] != kind:
        assert message["type"] != "server.error", message
    return message


async def _send(socket: ClientConnection, kind: str, **fields: object) -> None:
    await socket.send(json.dumps({"type": f"client.{kind}", **fields}))
