"""Spoken replies and messages, as a test wants to make and to hear them."""

import asyncio
import base64
import json
from typing import Any

import httpx2
import miniaudio

from support.talk import Event
from tertulia.audio.pcm import HEARING_RATE, RATE, wav
from tertulia.audio.resample import Resampler
from tertulia.providers.voices.scripted import ScriptedTranscriber, ScriptedVoice

BARE = {"type": "pcm", "frame_rate": RATE, "n_channels": 1, "sample_width": 2}
"""The `request_audio_config` of what `said` makes."""


def pieces(events: list[Event]) -> list[Event]:
    return [event for event in events if event["type"] == "new-message"]


def sound(events: list[Event]) -> bytes:
    """The sound of a reply, as it was sent."""
    return b"".join(base64.b64decode(piece["message"]) for piece in pieces(events))


def characters(events: list[Event]) -> list[tuple[int, str]]:
    """List the characters of a reply. Return them with the milliseconds at which they sound."""
    return [(ms, char) for piece in pieces(events) for ms, char in piece["transcript_alignment"] or ()]


def text(events: list[Event]) -> str:
    return "".join(char for _, char in characters(events))


def heard(pcm: bytes, rate: int = RATE) -> str:
    """Have the scripted transcriber listen. Return what it hears."""
    return asyncio.run(ScriptedTranscriber().transcribe(_at_hearing_rate(pcm, rate), "eng", ())).text


def decoded(mp3: bytes) -> bytes:
    """PCM at `RATE` of an MP3 stream, by a decoder that is none of ours."""
    return bytes(miniaudio.decode(mp3, nchannels=1, sample_rate=RATE).samples)


def said(text: str) -> bytes:
    """A sentence in the scripted voice: bare samples at `RATE`."""

    async def say() -> bytes:
        return b"".join([piece.pcm async for piece in ScriptedVoice().speak(text, "default", "eng")])

    return asyncio.run(say())


def said_to_be_heard(text: str) -> bytes:
    """The same at `HEARING_RATE`, as a microphone has it."""
    return _at_hearing_rate(said(text), RATE)


def _at_hearing_rate(pcm: bytes, rate: int) -> bytes:
    resampler = Resampler(rate, HEARING_RATE)
    return resampler.feed(pcm) + resampler.finish()


def said_wav(text: str) -> bytes:
    return wav(said(text), RATE)


def send(
    client: httpx2.Client,
    conversation_id: str,
    recording: bytes,
    config: dict[str, Any] | str | None = None,
    headers: dict[str, str] | None = None,
    **query: str,
) -> httpx2.Response:
    """Send a spoken message; the answer is written, unless `response_format` says something else."""
    params = {"request_format": "voice", "response_format": "text", **query}
    if config is not None:
        params["request_audio_config"] = config if isinstance(config, str) else json.dumps(config)
    parts = [("initial_message_type", (None, "user-message")), ("recorded_message", ("audio", recording, "audio/wav"))]
    return client.post(f"/conversation/{conversation_id}/interact", params=params, files=parts, headers=headers)
