"""Speech: how soon a reply sounds, and how many can speak at once."""

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

from bench import servers
from bench.figures import PRODUCT, Bound, Figure, Section, percentile
from bench.http import Create
from bench.servers import Server
from bench.setting import Setting
from tertulia.audio.pcm import RATE, duration_ms

LATEST_FIRST_SOUND_MS = 60.0
SPEAKERS = (1, 4, 8)
PIECES = 60
"""Words of a reply that is spoken as a whole: some twenty seconds."""
_WARM_UP = 3
_TIME = re.compile(r"It is (\d+)\.")

_TEXT = (
    "The local voice (English, in the server's process), 24 kHz PCM, over HTTP; server and voice have one core, and "
    "synthesis one thread for each speaker. A first sound is timed from the moment when a fake model on the other core "
    "has written the end of the reply's first sentence ({words} words) until its first sound is at the client. The "
    "share of real time is the time from a request until its whole reply is there, divided by how long the reply "
    "sounds, with a model that takes none: below 1 is faster than it is spoken. It is the median over speakers."
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
    ]
    return Section("Speech", figures, _TEXT.format(words=10))


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
