"""What the engine asks of voices, and whether an agent can speak and be spoken to."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from tertulia.engine.agent.scene import Agent, Aloud, Speaking
from tertulia.errors import BadRequest, VoiceFailed
from tertulia.providers.base import Detector, Sound, Transcript


class Speaker(Protocol):
    """One voice, for one message: once it has sounded, no other takes its place."""

    def speak(self, text: str) -> AsyncGenerator[Sound]:
        """Speak a sentence; 16-bit little-endian mono PCM at `audio.pcm.RATE`. Raises VoiceFailed and its kinds."""
        ...


class Voices(Protocol):
    """The voices of a server, and what hears speech. Languages are ISO 639-3."""

    def speaks(self, language: str) -> bool: ...

    def hears(self, language: str) -> bool: ...

    async def knows(self, voice_id: str) -> bool: ...

    def speaker(self, voice_id: str, language: str) -> Speaker: ...

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript: ...

    def detector(self) -> Detector: ...


async def speaking_of(voices: Voices, agent: Agent, language: str, aloud: Aloud) -> Speaking:
    """How an agent speaks a language.

    Raises:
        BadRequest: it has no voice, this server does not know it, or there is none for the language.
    """
    if agent.voice_config is None:
        raise BadRequest("response_format: the agent has no voice.")
    if not voices.speaks(language):
        raise BadRequest(f"response_format: there is no voice for the language {language}.")
    voice_id = agent.voice_config.voice_id
    if not await _knows(voices, voice_id):
        raise BadRequest(f"response_format: this server does not know the agent's voice, {voice_id}.")
    return Speaking(voice_id, language, aloud.audio_format, aloud.playback)


async def _knows(voices: Voices, voice_id: str) -> bool:
    """Where nobody can say it now, another voice may still take over when it is time to speak."""
    try:
        return await voices.knows(voice_id)
    except VoiceFailed:
        return True


def refuse_unheard(voices: Voices, language: str) -> None:
    """Raise BadRequest where a language is not understood when it is spoken."""
    if not voices.hears(language):
        raise BadRequest(f"request_format: speech in the language {language} is not understood.")
