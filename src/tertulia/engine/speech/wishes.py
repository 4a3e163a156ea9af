"""Wishes of a caller for a spoken reply, and the way in which the server then speaks it."""

from dataclasses import dataclass
from typing import Literal

from tertulia.engine.speech.playback import Playback

AudioFormat = Literal["pcm", "mp3"]


@dataclass(frozen=True, slots=True)
class VoiceWish:
    """A caller's wish that the reply be spoken. With a `playback`, no faster than a listener hears it."""

    audio_format: AudioFormat = "pcm"
    playback: Playback | None = None


@dataclass(frozen=True, slots=True)
class Speaking:
    """The voice, language (ISO 639-3) and format of a reply that is to be spoken."""

    voice_id: str
    language: str
    audio_format: AudioFormat = "pcm"
    playback: Playback | None = None
