"""Hearing ahead: what a user has said is written down in a pause that may be the end, before it is known to be one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tertulia.engine.speech.sentences import ends_sentence
from tertulia.engine.speech.voices import Speaker, Voices
from tertulia.providers.base import Detector, Transcript


@dataclass(frozen=True, slots=True)
class HeardAhead:
    """A recording's words, and the language and the likely words with which they were heard."""

    language: str
    keyterms: Sequence[str]
    transcript: Transcript

    @property
    def is_whole(self) -> bool:
        """True if the words are whole sentences, so that the user has probably ended."""
        return ends_sentence(self.transcript.text)


Hearing = asyncio.Task[HeardAhead | None]
"""The work of hearing ahead; it ends with None if the recording is to be heard again."""


def result_of(hearing: Hearing) -> HeardAhead | None:
    """Look at work that has ended. Return its result, None if it failed or was given up."""
    return None if hearing.cancelled() or hearing.exception() else hearing.result()


@dataclass(frozen=True, slots=True)
class VoicesAhead:
    """Voices and transcribers for one turn, whose message may have been heard already."""

    voices: Voices
    hearing: Hearing

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
        await asyncio.wait([self.hearing])  # it is the session's to give up, and no reason to end the turn
        heard = result_of(self.hearing)
        if heard is not None and (heard.language, [*heard.keyterms]) == (language, [*keyterms]):
            return heard.transcript
        return await self.voices.transcribe(pcm, language, keyterms)

    def detector(self) -> Detector:
        return self.voices.detector()
