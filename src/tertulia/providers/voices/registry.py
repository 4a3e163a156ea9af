"""Which voices there are, and what hears speech: a table of what opens each provider, and those that the settings name.

`scripted`, `local`, `openai`, `openai:MODEL`, `cartesia`, `cartesia:MODEL`; `off`: none.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import cache

import httpx2
import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.audio.pcm import RATE, duration_ms
from tertulia.errors import ModelError, TranscriptionFailed, VoiceFailed
from tertulia.providers.base import (
    DEFAULT_VOICE,
    HEARING_PATIENCE,
    HEARING_RATE,
    Detector,
    ProviderError,
    Sound,
    Transcriber,
    Transcript,
    Voice,
    VoiceInfo,
    Word,
)
from tertulia.providers.remote import Remote, check_access, open_client
from tertulia.providers.voices import cartesia
from tertulia.providers.voices import openai as openai_voice
from tertulia.providers.voices.scripted import ScriptedDetector, ScriptedTranscriber, ScriptedVoice
from tertulia.providers.weights import WeightsUnavailable
from tertulia.settings import Settings

_log: FilteringBoundLogger = structlog.get_logger(__name__)

OFF = "off"
_LOOKUP_S = 5
"""How long a provider may take to say whether it has a voice: others are waiting to speak."""


async def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Provider:
    """What a name of the setting `voice` stands for; what it cannot do is None. `start` loads what takes long."""

    voice: Voice | None = None
    transcriber: Transcriber | None = None
    detector: Callable[[], Detector] | None = None
    start: Callable[[], Awaitable[None]] = _nothing
    aclose: Callable[[], Awaitable[None]] = _nothing


class Voices:
    """Providers by name, in order of preference. `stall_s` seconds without a sound are a failure.

    All methods raise VoiceFailed or TranscriptionFailed, the last provider's, when all have failed.
    """

    rate = RATE
    """Samples a second of all that it speaks, in Hz."""

    def __init__(self, providers: Sequence[tuple[str, Provider]], stall_s: float = 60) -> None:
        self._providers = [*providers]
        self._stall_s = stall_s

    async def start(self) -> None:
        """Load what takes long, off the event loop; without it the first sentence waits for that.

        A provider that cannot be loaded is left out: the log says so.
        """
        for name, provider in [*self._providers]:
            try:
                await provider.start()
            except ModelError as error:
                _log.warning("A voice cannot be loaded.", voice=name, reason=error.reason)
                await provider.aclose()
                self._providers.remove((name, provider))
                self._providers = self._providers or _instead()

    async def aclose(self) -> None:
        """Give back connections, memory and processes: all, even where one fails to."""
        async with AsyncExitStack() as stack:
            for _name, provider in self._providers:
                stack.push_async_callback(provider.aclose)

    def speaks(self, language: str) -> bool:
        """Whether there is a voice for a language (ISO 639-3)."""
        return any(True for _ in self._speaking(language))

    def hears(self, language: str) -> bool:
        """Whether speech in a language (ISO 639-3) is understood."""
        return any(True for _ in self._hearing(language))

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
        """Whether any provider has a voice of this id. Raises VoiceFailed where that cannot be found out."""
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

    def speaker(self, voice_id: str, language: str) -> "Speaker":
        """One voice for a whole message, in a language (ISO 639-3)."""
        return Speaker(self._speaking(language), voice_id, language, self._stall_s)

    async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
        """Speak one sentence, as a speaker of its own."""
        async with aclosing(self.speaker(voice_id, language).speak(text)) as sounds:
            async for sound in sounds:
                yield sound

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        """The words of a recording at HEARING_RATE, from the first provider that can."""
        failure: ModelError = TranscriptionFailed("nothing hears this language")
        patience_s = self._stall_s + HEARING_PATIENCE * duration_ms(pcm, HEARING_RATE) / 1000
        for name, transcriber in self._hearing(language):
            try:
                async with asyncio.timeout(patience_s):
                    return await transcriber.transcribe(pcm, language, keyterms)
            except TimeoutError:
                failure = TranscriptionFailed(f"nothing in {patience_s:.0f} s")
            except ModelError as error:
                failure = error
            _report("A recording could not be transcribed.", name, failure)
        raise failure

    def detector(self) -> Detector:
        """A new one, of the first provider that has one."""
        makers = (provider.detector for _name, provider in self._providers if provider.detector is not None)
        return next(makers, ScriptedDetector)()

    def _speaking(self, language: str) -> list[tuple[str, Voice]]:
        return [(name, one.voice) for name, one in self._providers if one.voice and one.voice.speaks(language)]

    def _hearing(self, language: str) -> list[tuple[str, Transcriber]]:
        return [
            (name, one.transcriber)
            for name, one in self._providers
            if one.transcriber and one.transcriber.hears(language)
        ]


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
    """What brings PCM to RATE, piece by piece, and what gives the rest."""
    if rate == RATE:
        return bytes, bytes
    from tertulia.audio.resample import Resampler  # noqa: PLC0415 - needs an optional extra

    resampler = Resampler(rate, RATE)
    return resampler.feed, resampler.finish


def _report(event: str, name: str, failure: ModelError) -> None:
    _log.warning(event, voice=name, error=type(failure).__name__, reason=failure.reason)


# --- Opening ---------------------------------------------------------------------------------------------------------


def open_voices(settings: Settings) -> Voices:
    """The voices that the settings name. Raises ProviderError where one cannot be opened.

    Weights and extras that are not here are no reason to stop: the log says so, and what is left is used, in the end
    the scripted voice.
    """
    if settings.voice == (OFF,):
        return Voices([])
    opened: list[tuple[str, Provider]] = []
    for spec in settings.voice:
        try:
            opened.append((spec, _open(spec, settings)))
        except WeightsUnavailable as error:
            _log.warning(str(error), voice=spec)
    return Voices(opened or _instead(), settings.turn.stall_s)


def _instead() -> list[tuple[str, Provider]]:
    _log.warning("There is no other voice: going on with the scripted one.")
    return [("scripted", _scripted())]


def _open(spec: str, settings: Settings) -> Provider:
    vendor, _, model = spec.partition(":")
    if vendor not in _OPENERS or (model and vendor not in _WITH_MODELS):
        raise ProviderError(f"There is no voice {spec!r}; there are {', '.join(_OPENERS)}, and {OFF} alone for none.")
    return _OPENERS[vendor](model, settings)


def _scripted() -> Provider:
    return Provider(ScriptedVoice(), ScriptedTranscriber(), ScriptedDetector)


def _open_scripted(_model: str, _settings: Settings) -> Provider:
    return _scripted()


def _open_local(_model: str, settings: Settings) -> Provider:
    try:
        from tertulia.providers.voices.local.speech import open_local  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise WeightsUnavailable(f"A local voice needs the extras `local` and `voice`: {error}.") from None
    return open_local(settings, _silero())


def _open_openai(model: str, settings: Settings) -> Provider:
    key = settings.openai.api_key.get_secret_value()
    client = _client("OPENAI", settings.openai.base_url, openai_voice.VENDOR_HOST, key, {}, settings)
    stall_s = settings.turn.stall_s
    voice = openai_voice.OpenAIVoice(
        Remote(client, VoiceFailed, stall_s, key),
        model or openai_voice.DEFAULT_MODEL,
        any_voice=client.base_url.host != openai_voice.VENDOR_HOST,
    )
    transcriber = openai_voice.OpenAITranscriber(
        Remote(client, TranscriptionFailed, stall_s, key), settings.openai.transcription_model
    )
    return Provider(voice, transcriber, _silero(), aclose=client.aclose)


def _open_cartesia(model: str, settings: Settings) -> Provider:
    key = settings.cartesia.api_key.get_secret_value()
    url, headers = settings.cartesia.base_url, cartesia.HEADERS
    client = _client("CARTESIA", url, cartesia.VENDOR_HOST, key, headers, settings)
    remote = Remote(client, VoiceFailed, settings.turn.stall_s, key)
    voice = cartesia.CartesiaVoice(remote, model or cartesia.DEFAULT_MODEL)
    return Provider(voice, None, _silero(), aclose=client.aclose)


def _client(
    group: str, url: str, vendor_host: str, key: str, headers: Mapping[str, str], settings: Settings
) -> httpx2.AsyncClient:
    check_access(group, url, key)
    client = open_client(url, {**headers, **({"Authorization": f"Bearer {key}"} if key else {})}, settings.turn.stall_s)
    if not key and client.base_url.host == vendor_host:
        raise ProviderError(f"TERTULIA_{group}_API_KEY is missing.")
    return client


@cache
def _silero() -> Callable[[], Detector]:
    """What finds speech for every provider but the scripted one."""
    try:
        from tertulia.providers.voices.local.silero import Silero  # noqa: PLC0415 - an optional extra

        return Silero().detector
    except (ImportError, OSError, RuntimeError) as error:
        _log.warning(f"Speech is told from noise by its loudness alone: the extra `voice` cannot be used: {error}.")
        return ScriptedDetector


_OPENERS: dict[str, Callable[[str, Settings], Provider]] = {
    "scripted": _open_scripted,
    "local": _open_local,
    "openai": _open_openai,
    "cartesia": _open_cartesia,
}
_WITH_MODELS = ("openai", "cartesia")
