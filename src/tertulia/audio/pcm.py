"""Samples: 16-bit little-endian mono PCM, in a row of bytes."""

import io
import wave

RATE = 24_000
"""Samples a second of all speech that leaves the server, in Hz."""

HEARING_RATE = 16_000
"""Samples a second of all speech that is listened to, in Hz."""

SAMPLE_BYTES = 2


def duration_ms(pcm: bytes, rate: int) -> float:
    """Convert a number of samples. Return their duration in milliseconds."""
    return len(pcm) / SAMPLE_BYTES / rate * 1000


def wav(pcm: bytes, rate: int) -> bytes:
    """Make a WAV file of samples. Return it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(SAMPLE_BYTES)
        out.setframerate(rate)
        out.writeframes(pcm)
    return file.getvalue()
