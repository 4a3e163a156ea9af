"""Voices without a cloud: hibari's for English, espeak-ng's for every other language that it has.

`heart`, and `espeak:TAG` for each of espeak-ng's languages and dialects (`espeak:es`, `espeak:en-gb`). Without the
extra `espeak` only English is spoken.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import cache

from tertulia import languages
from tertulia.errors import VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import Sound, VoiceInfo
from tertulia.providers.voices.local.espeak import Dialect, EspeakVoice, dialects
from tertulia.providers.voices.local.hibari import RATE, HibariVoice

HEART = "heart"
ENGLISH = "eng"

_PREFIX = "espeak:"


class LocalVoice:
    """A `Voice`. A voice that does not speak the language asked for leaves it to that language's usual one."""

    rate = RATE

    def __init__(self, others: Sequence[Dialect]) -> None:
        self._hibari = HibariVoice()
        self._espeak = EspeakVoice()
        self._dialects: dict[str, Dialect] = {}
        self._usual: dict[str, Dialect] = {}
        for dialect in others:
            self._dialects.setdefault(_PREFIX + dialect.tag, dialect)
            self._usual.setdefault(dialect.language, dialect)

    async def start(self) -> None:
        await self._hibari.start()

    async def aclose(self) -> None:
        await self._espeak.aclose()
        await self._hibari.aclose()

    def speaks(self, language: str) -> bool:
        return language == ENGLISH or self._usual_of(language) is not None

    async def voices(self) -> Sequence[VoiceInfo]:
        others = _by_file(self._dialects)
        return [VoiceInfo(HEART, "Heart", (ENGLISH,)), *(_info(id_, dialect) for id_, dialect in others.items())]

    async def knows(self, voice_id: str) -> bool:
        return voice_id in {HEART, DEFAULT_VOICE} or voice_id in self._dialects

    async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
        dialect = self._dialects.get(voice_id)
        usual = self._usual_of(language)
        if dialect is None or usual is None or dialect.language != usual.language:
            dialect = None if language == ENGLISH else usual
        if dialect is None and language != ENGLISH:
            raise VoiceFailed(f"there is no voice for {language}")
        spoken = self._espeak.speak(text, dialect.file) if dialect else self._hibari.speak(text)
        async with aclosing(spoken) as sounds:
            async for sound in sounds:
                yield sound

    def _usual_of(self, language: str) -> Dialect | None:
        """The dialect of a language, or of the one that it is a variety of (`arb`: `ara`)."""
        return self._usual.get(language) or self._usual.get(_whole(language))


@cache
def _whole(language: str) -> str:
    found = languages.find(language)
    return (found and found.whole) or language


def open_voice() -> LocalVoice:
    """With every language that is installed."""
    return LocalVoice(dialects())


def _by_file(named: Mapping[str, Dialect]) -> dict[str, Dialect]:
    """Each voice once, though it has several tags."""
    first: dict[str, str] = {}
    for id_, dialect in named.items():
        first.setdefault(dialect.file, id_)
    return {id_: named[id_] for id_ in first.values()}


def _info(voice_id: str, dialect: Dialect) -> VoiceInfo:
    return VoiceInfo(voice_id, dialect.name, (dialect.language,))
