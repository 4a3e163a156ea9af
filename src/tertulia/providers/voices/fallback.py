"""Voices and transcribers of several vendors as one: the next one is asked if the first fails."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from types import MappingProxyType

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.audio.pcm import RATE, duration_ms
from tertulia.errors import ModelError, TranscriptionFailed, VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import (
    HEARING_PATIENCE,
    HEARING_RATE,
    Detector,
    Sound,
    Transcript,
    Voice,
    VoiceInfo,
    Word,
)
from tertulia.providers.voices.base import Provider
from tertulia.providers.voices.detection import SpeechDetectors, has_speech
from tertulia.providers.voices.scripted import scripted_provider
from tertulia.texts import storable

_LOOKUP_S = 5
"""Seconds that a provider may take to say if it has a voice: others are waiting to speak."""

_log: FilteringBoundLogger = structlog.get_logger(__name__)


class Voices:
    """Providers by name, in order of preference, and the detectors that they share.

    `stall_s` seconds without a sound are a failure. `ids` are other names of voices, as vendors that are not here know
    them. All methods raise VoiceFailed or TranscriptionFailed, the last provider's, when all have failed.
    """

    rate = RATE
    """Samples a second of all that it speaks, in Hz."""

    def __init__(
        self,
        providers: Sequence[tuple[str, Provider]],
        stall_s: float = 60,
        ids: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._providers = [*providers]
        self._stall_s = stall_s
        self._ids = ids
        self._detectors = SpeechDetectors()

    async def start(self) -> None:
        """Load what takes long, off the event loop; without it the first sentence waits for that.

        A provider that cannot be loaded is left out, and the log says so.
        """
        if any(provider.detector is None for _name, provider in self._providers):
            await asyncio.to_thread(self._detectors.open)
        for name, provider in [*self._providers]:
            try:
                await provider.start()
            except ModelError as error:
                _log.warning("A voice cannot be loaded.", voice=name, reason=error.reason)
                await provider.aclose()
                self._providers.remove((name, provider))
                self._providers = self._providers or instead()

    async def aclose(self) -> None:
        """Give back connections, memory and processes: all of them, even if one fails to."""
        async with AsyncExitStack() as stack:
            stack.callback(self._detectors.close)
            for _name, provider in self._providers:
                stack.push_async_callback(provider.aclose)

    def speaks(self, language: str) -> bool:
        """Look for a voice of a language (ISO 639-3). Return True if there is one."""
        return any(True for _ in self._speaking(language))

    def hears(self, language: str) -> bool:
        """Look for a transcriber of a language (ISO 639-3). Return True if there is one."""
        return any(True for _ in self._hearing(language))

    def hears_ahead(self, language: str) -> bool:
        """Ask the first transcriber of a language (ISO 639-3) if it may be asked in vain now. Return its answer."""
        return any(provider.hears_ahead() for _name, provider in self._hearing(language)[:1])

    async def voices(self) -> Sequence[VoiceInfo]:
        """Those that can be named, of all providers that can be asked; the log says which cannot."""
        infos: list[VoiceInfo] = []
        for name, found in await self.listed():
            if isinstance(found, ModelError):
                _report("The voices of a provider cannot be listed.", name, found)
            else:
                infos += found
        return infos

    async def listed(self) -> Sequence[tuple[str, Sequence[VoiceInfo] | ModelError]]:
        """The voices of each provider that has any, or why it cannot be asked."""
        listed: list[tuple[str, Sequence[VoiceInfo] | ModelError]] = []
        for name, provider in self._providers:
            if provider.voice is not None:
                try:
                    listed.append((name, await provider.voice.voices()))
                except ModelError as error:
                    listed.append((name, error))
        return listed

    async def knows(self, voice_id: str) -> bool:
        """Look a voice up at all providers. Return if one has it; every server knows DEFAULT_VOICE.

        Raises VoiceFailed if that cannot be found out.
        """
        voice_id = self._ids.get(voice_id, voice_id)
        if voice_id == DEFAULT_VOICE:
            return True
        failure: ModelError | None = None
        for _name, provider in self._providers:
            try:
                if provider.voice is not None and await _knows(provider.voice, voice_id):
                    return True
            except ModelError as error:
                failure = error
        if failure is not None:
            raise failure
        return False

    async def only(self, voice_id: str) -> "Voices":
        """Leave out the providers that have not got a voice. Return the rest, of which none speaks in another's place.

        Raises VoiceFailed if that cannot be found out.
        """
        own = self._ids.get(voice_id, voice_id)
        found = [each for each in self._providers if each[1].voice is not None and await _knows(each[1].voice, own)]
        return Voices(found, self._stall_s, self._ids)

    def speaker(self, voice_id: str, language: str) -> "Speaker":
        """One voice for a whole message, in a language (ISO 639-3)."""
        return Speaker(self._speaking(language), self._ids.get(voice_id, voice_id), language, self._stall_s)

    async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
        """Speak one sentence, as a speaker of its own."""
        async with aclosing(self.speaker(voice_id, language).speak(text)) as sounds:
            async for sound in sounds:
                yield sound

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        """Ask the first transcriber that can for the words of a recording at HEARING_RATE. Return them.

        No transcriber is asked for words of silence, hum or noise, of which some would make up a sentence.
        """
        failure: ModelError = TranscriptionFailed("nothing hears this language")
        patience_s = self._stall_s + HEARING_PATIENCE * duration_ms(pcm, HEARING_RATE) / 1000
        hearing = self._hearing(language)
        if hearing and not await asyncio.to_thread(has_speech, pcm, self._detector_of(hearing[0][1])):
            return Transcript("")
        for name, provider in hearing:
            if (transcriber := provider.transcriber) is None:
                continue
            try:
                async with asyncio.timeout(patience_s):
                    return readable(await transcriber.transcribe(pcm, language, keyterms))
            except TimeoutError:
                failure = TranscriptionFailed(f"nothing in {patience_s:.0f} s")
            except ModelError as error:
                failure = error
            _report("A recording could not be transcribed.", name, failure)
        raise failure

    def detector(self) -> Detector:
        """Make a detector for one stream of sound, of the first provider. Return it."""
        return self._detector_of(self._providers[0][1]) if self._providers else self._detectors.detector()

    def _detector_of(self, provider: Provider) -> Detector:
        return (provider.detector or self._detectors.detector)()

    def _speaking(self, language: str) -> list[tuple[str, Voice]]:
        return [(name, one.voice) for name, one in self._providers if one.voice and one.voice.speaks(language)]

    def _hearing(self, language: str) -> list[tuple[str, Provider]]:
        return [(name, one) for name, one in self._providers if one.transcriber and one.transcriber.hears(language)]


def instead() -> list[tuple[str, Provider]]:
    """Open the scripted voice, for there is no other left, and say so in the log. Return it."""
    _log.warning("There is no other voice: going on with the scripted one.")
    return [("scripted", scripted_provider())]


def readable(transcript: Transcript) -> Transcript:
    """Replace the characters that no database takes, each by one. Return the transcript."""
    return Transcript(storable(transcript.text), transcript.words)


class Speaker:
    """Voices by the names of their providers, in order of preference, until one has sounded; from then on, that one.

    Those that know the voice id come first; the others speak with their own voice.
    """

    def __init__(self, voices: Sequence[tuple[str, Voice]], voice_id: str, language: str, stall_s: float) -> None:
        self._voices = voices
        self._voice_id = voice_id
        self._language = language
        self._stall_s = stall_s
        self._chosen: tuple[str, Voice, str] | None = None

    async def speak(self, text: str) -> AsyncGenerator[Sound]:
        """Speak a sentence, at RATE. Every piece has PCM, but for words that are told after the sound.

        Raises VoiceFailed and its kinds: the last provider's.
        """
        failure: ModelError = VoiceFailed(f"there is no voice for {self._language}")
        async with aclosing(self._candidates()) as candidates:
            async for candidate in candidates:
                name, voice, voice_id = candidate
                sounded = False
                try:
                    async with aclosing(_spoken(voice, text, voice_id, self._language, self._stall_s)) as sounds:
                        async for sound in sounds:
                            sounded, self._chosen = True, candidate
                            yield sound
                    return
                except ModelError as error:
                    if sounded:
                        raise
                    failure = error
                _report("A voice failed before its first sound.", name, failure)
        raise failure

    async def _candidates(self) -> AsyncGenerator[tuple[str, Voice, str]]:
        if self._chosen is not None:
            yield self._chosen
            return
        others: list[tuple[str, Voice]] = []
        for name, voice in self._voices:
            if await self._knows(name, voice):
                yield name, voice, self._voice_id
            else:
                others.append((name, voice))
        for name, voice in others:
            yield name, voice, DEFAULT_VOICE

    async def _knows(self, name: str, voice: Voice) -> bool:
        try:
            return await _knows(voice, self._voice_id)
        except ModelError as error:
            _report("A provider cannot say whether it has a voice.", name, error)
            return False


async def _knows(voice: Voice, voice_id: str) -> bool:
    try:
        async with asyncio.timeout(_LOOKUP_S):
            return await voice.knows(voice_id)
    except TimeoutError:
        raise VoiceFailed(f"nothing in {_LOOKUP_S} s") from None


async def _spoken(voice: Voice, text: str, voice_id: str, language: str, stall_s: float) -> AsyncGenerator[Sound]:
    """A sentence at RATE. Words that are told before the first sound come with it."""
    convert, flush = _converter(voice.rate)
    words: list[Word] = []
    sounded = False
    async with aclosing(voice.speak(text, voice_id, language)) as sounds:
        while (sound := await _next(sounds, stall_s)) is not None:
            pcm = convert(sound.pcm)
            words += sound.words
            if pcm or (sounded and words):
                yield Sound(pcm, tuple(words))
                sounded, words = True, []
    pcm = flush()
    if pcm or (sounded and words):
        yield Sound(pcm, tuple(words))
    elif not sounded:
        raise VoiceFailed("it made no sound")


async def _next(sounds: AsyncGenerator[Sound], stall_s: float) -> Sound | None:
    try:
        async with asyncio.timeout(stall_s):
            return await anext(sounds, None)
    except TimeoutError:
        raise VoiceFailed(f"nothing in {stall_s} s") from None


def _converter(rate: int) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """Choose a converter of PCM. Return a function that brings it to RATE, and one that gives the rest."""
    if rate == RATE:
        return bytes, bytes
    from tertulia.audio.resample import Resampler  # noqa: PLC0415 - needs an optional extra

    resampler = Resampler(rate, RATE)
    return resampler.feed, resampler.finish


def _report(event: str, name: str, failure: ModelError) -> None:
    _log.warning(event, voice=name, error=type(failure).__name__, reason=failure.reason)
