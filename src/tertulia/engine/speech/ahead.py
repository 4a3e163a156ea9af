"""Hearing ahead: what a user has said is written down in a pause that may be the end, before it is known to be one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tertulia.engine.speech.sentences import ends_sentence
from tertulia.engine.speech.voices import VoicesAround
from tertulia.providers.base import Transcript


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
class VoicesAhead(VoicesAround):
    """Voices and transcribers for one turn, whose message may have been heard already."""

    hearing: Hearing

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        await asyncio.wait([self.hearing])  # it is the session's to give up, and no reason to end the turn
        heard = result_of(self.hearing)
        if heard is not None and (heard.language, [*heard.keyterms]) == (language, [*keyterms]):
            return heard.transcript
        return await self.voices.transcribe(pcm, language, keyterms)
