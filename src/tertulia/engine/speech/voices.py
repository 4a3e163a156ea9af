"""Voices as the engine uses them: their protocol, and the rules by which an agent speaks and is spoken to."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tertulia.engine.speech.wishes import Speaking, VoiceWish
from tertulia.errors import BadRequest, VoiceFailed
from tertulia.providers.base import Detector, Sound, Transcript


class Speaker(Protocol):
    """One voice, for one message: once it has sounded, no other takes its place."""

    def speak(self, text: str) -> AsyncGenerator[Sound]:
        """Speak a sentence; 16-bit little-endian mono PCM at `audio.pcm.RATE`. Raises VoiceFailed and its kinds."""
        ...


class Voices(Protocol):
    """The voices of a server, and its transcribers. Languages are ISO 639-3."""

    def speaks(self, language: str) -> bool: ...

    def hears(self, language: str) -> bool: ...

    def hears_ahead(self, language: str) -> bool:
        """Tell if hearing in vain costs nothing now but time of this machine that nobody else wants."""
        ...

    async def knows(self, voice_id: str) -> bool: ...

    def speaker(self, voice_id: str, language: str) -> Speaker: ...

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript: ...

    def detector(self) -> Detector: ...


@dataclass(frozen=True, slots=True)
class VoicesAround:
    """Voices and transcribers that are those of another; a kind of it changes what it is made for."""

    voices: Voices

    def speaks(self, language: str) -> bool:
        return self.voices.speaks(language)

    def hears(self, language: str) -> bool:
        return self.voices.hears(language)

    def hears_ahead(self, language: str) -> bool:
        return self.voices.hears_ahead(language)

    async def knows(self, voice_id: str) -> bool:
        return await self.voices.knows(voice_id)

    def speaker(self, voice_id: str, language: str) -> Speaker:
        return self.voices.speaker(voice_id, language)

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        return await self.voices.transcribe(pcm, language, keyterms)

    def detector(self) -> Detector:
        return self.voices.detector()


def speaking_of(voices: Voices, voice_id: str | None, language: str, wish: VoiceWish) -> Speaking:
    """Grant a caller's wish for a spoken reply. Return the voice and language that it is to be spoken in.

    A voice that this server does not know is granted too: another one, of the same language, then speaks for it.

    Raises:
        BadRequest: the agent has no voice, or there is none for the language.
    """
    if voice_id is None:
        raise BadRequest("response_format: the agent has no voice.")
    if not voices.speaks(language):
        raise BadRequest(f"response_format: there is no voice for the language {language}.")
    return Speaking(voice_id, language, wish.audio_format, wish.playback)


async def warning_of(voices: Voices, voice_id: str) -> str | None:
    """Look the voice of an agent up. Return a warning if another one speaks for it here, else None.

    Nothing is warned of if no vendor can say now which voices it has.
    """
    try:
        known = await voices.knows(voice_id)
    except VoiceFailed:
        return None
    return None if known else f"voice_config: this server does not know the voice {voice_id}; the default one speaks."


def refuse_unheard(voices: Voices, language: str) -> None:
    """Raise BadRequest if a language is not understood when it is spoken."""
    if not voices.hears(language):
        raise BadRequest(f"request_format: speech in the language {language} is not understood.")
