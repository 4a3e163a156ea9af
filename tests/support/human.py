"""Sound as people and rooms make it: speech that a detector knows for speech, and what it must not take for it."""

import array
import asyncio
import math
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from tertulia.audio.pcm import HEARING_RATE, RATE
from tertulia.audio.resample import Resampler

HELLO = "Hello there, how are you?"


@cache
def speech(text: str = HELLO) -> bytes:
    """A sentence in a voice like a human's: 16-bit mono PCM at HEARING_RATE."""
    with ThreadPoolExecutor(1) as thread:  # a loop of its own, whether or not the test has one
        return thread.submit(lambda: asyncio.run(_say(text))).result()


async def _say(text: str) -> bytes:
    from tertulia.providers.voices.local.hibari import HibariVoice  # noqa: PLC0415 - slow to import

    voice, resampler = HibariVoice(), Resampler(RATE, HEARING_RATE)
    await voice.start()
    pcm = b"".join([resampler.feed(sound.pcm) async for sound in voice.speak(text)])
    await voice.aclose()
    return pcm + resampler.finish()


def _made(sample: Callable[[int], float], seconds: float = 2) -> bytes:
    samples = array.array("h", [round(sample(n)) for n in range(int(seconds * HEARING_RATE))])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _sine(hertz: float, n: int) -> float:
    return math.sin(2 * math.pi * hertz * n / HEARING_RATE)


_RANDOM = random.Random(7)

NOISES = {
    "silence": bytes(2 * HEARING_RATE),
    "a dead microphone": _made(lambda n: n % 2),
    "white noise": _made(lambda _: _RANDOM.gauss(0, 4000)),
    "a quiet hiss": _made(lambda _: _RANDOM.gauss(0, 60)),
    "the hum of 50 Hz": _made(lambda n: 8000 * _sine(50, n)),
    "a transformer": _made(lambda n: 4000 * sum(_sine(100 * k, n) / k for k in range(1, 6))),
    "a tone": _made(lambda n: 12000 * _sine(440, n)),
    "clicks": _made(lambda n: 20000 * (n % 4000 < 10)),
    "bursts": _made(lambda n: _RANDOM.gauss(0, 5000) * (n % 8000 < 1500)),
}
"""Two seconds each."""
