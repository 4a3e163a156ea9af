"""`tertulia voices`, `say` and `transcribe`: the voices of the settings, and files of sound."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from tertulia import logs
from tertulia.audio import decoding
from tertulia.audio.config import FileAudioConfig
from tertulia.audio.pcm import RATE, duration_ms, wav
from tertulia.audio.sniff import likely_kind
from tertulia.cli import models
from tertulia.cli.failure import FAILED, MISUSED, CommandFailed, warn
from tertulia.cli.options import load_settings, override
from tertulia.cli.show import print_table, printable
from tertulia.engine.speech.sentences import Sentences
from tertulia.engine.speech.speakable import speakable
from tertulia.errors import ModelError, TertuliaError
from tertulia.languages import ENGLISH
from tertulia.providers import DEFAULT_VOICE, weights
from tertulia.providers.base import VoiceInfo
from tertulia.providers.voices.fallback import Voices
from tertulia.providers.voices.registry import open_voices
from tertulia.settings import Settings

STDIN = "-"
SUFFIXES = (".wav", ".mp3")
DEFAULT_PROVIDER = "local"
"""The default, as that of `tertulia run`."""
_LONGEST_S = 3600

_T = TypeVar("_T")


def read_settings(data: Path | None, provider: str | None) -> Settings:
    """The settings, with the providers that the option names, or else the settings, or else the local one."""
    if provider:
        override("VOICE", provider)
    elif "voice" not in load_settings(data).model_fields_set:
        override("VOICE", DEFAULT_PROVIDER)
    settings = load_settings(data)
    logs.configure("error")  # what goes wrong is told in one line
    return settings


def list_voices(console: Console, settings: Settings, language: str | None) -> None:
    """Print the voices of each provider, one a line: provider, id, languages, name."""
    settings = models.prepare_voices(console, settings, ())
    rows: list[tuple[str, str, str, str]] = []
    for name, voices in _run(_listed(settings)):
        if isinstance(voices, ModelError):
            warn(f"The voices of {name} cannot be listed: {_reason(voices)}.")
            continue
        rows.append((name, DEFAULT_VOICE, "", "its own voice of each language"))
        rows += [(name, voice.id, ",".join(voice.languages), voice.name) for voice in voices if _fits(voice, language)]
    if not rows:
        raise CommandFailed(f"No voices can be listed: {', '.join(settings.voice)}.")
    print_table(rows)


def _fits(voice: VoiceInfo, language: str | None) -> bool:
    return language is None or not voice.languages or language in voice.languages


async def _listed(settings: Settings) -> Sequence[tuple[str, Sequence[VoiceInfo] | ModelError]]:
    async with _opened(settings) as voices:
        return await voices.listed()


def say(console: Console, settings: Settings, text: str, out: Path, voice_id: str, language: str) -> None:
    """Speak a text, or standard input where it is `-`, into a file whose suffix names the format."""
    if out.suffix.lower() not in SUFFIXES:
        raise CommandFailed(f"--out: {out} ends in none of {', '.join(SUFFIXES)}.", MISUSED)
    encode = _encoder(out.suffix.lower())
    written = sys.stdin.read() if text == STDIN else text
    settings = models.prepare_voices(console, settings, ())
    pcm, first_ms = _run(_spoken(settings, written, voice_id, language))
    out.write_bytes(encode(pcm))
    print(f"{out}: {duration_ms(pcm, RATE) / 1000:.1f} s, the first sound after {first_ms:.0f} ms")


async def _spoken(settings: Settings, written: str, voice_id: str, language: str) -> tuple[bytes, float]:
    """The sound of a text, at RATE, and the milliseconds until it began; loading the voice is not among them."""
    pcm, first_ms = bytearray(), 0.0
    async with _opened(settings) as voices:
        if not voices.speaks(language):
            raise CommandFailed(f"There is no voice for the language {language} (ISO 639-3).", MISUSED)
        if not await voices.knows(voice_id):
            raise CommandFailed(f"There is no voice {voice_id}; `tertulia voices` lists them.", MISUSED)
        await voices.start()
        speaker = voices.speaker(voice_id, language)
        began = time.perf_counter()
        for sentence in _sentences(written, language):
            async with aclosing(speaker.speak(sentence)) as sounds:
                async for sound in sounds:
                    first_ms = first_ms or (time.perf_counter() - began) * 1000
                    pcm += sound.pcm
    if not pcm:
        raise CommandFailed("There is nothing to say.", MISUSED)
    return bytes(pcm), first_ms


def _sentences(written: str, language: str) -> list[str]:
    """Cut a text into sentences, as an agent speaks its replies. Return them."""
    sentences = Sentences()
    whole = [*sentences.add(written), *sentences.rest()]
    return [text for text in (speakable(sentence, language).text for sentence in whole) if text]


def _encoder(suffix: str) -> Callable[[bytes], bytes]:
    """Choose the encoder of a file. Return a function that makes it from PCM at RATE."""
    if suffix == ".wav":
        return lambda pcm: wav(pcm, RATE)
    try:
        from tertulia.audio.encode import Encoder  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise _without_codecs(error) from error
    encoder = Encoder("mp3")
    return lambda pcm: encoder.feed(pcm) + encoder.finish()


def transcribe(console: Console, settings: Settings, file: Path, language: str) -> None:
    """Print what is said in a file."""
    pcm = _decoded(file)
    needed = weights.WHISPER_TINY_EN if language == ENGLISH else weights.WHISPER_BASE
    settings = models.prepare_voices(console, settings, [needed])
    text = _run(_heard(settings, pcm, language))
    if not text:
        raise CommandFailed(f"There is no speech in {file}.")
    print(printable(text))


async def _heard(settings: Settings, pcm: bytes, language: str) -> str:
    async with _opened(settings) as voices:
        if not voices.hears(language):
            raise CommandFailed(f"Speech in the language {language} (ISO 639-3) is not understood.", MISUSED)
        return (await voices.transcribe(pcm, language, ())).text


def _decoded(file: Path) -> bytes:
    """The sound of a file, as it is heard."""
    body = file.read_bytes()
    kind = likely_kind(body)
    if kind is None:
        raise CommandFailed(f"{file} is no WAV, MP3, Ogg, WebM or FLAC file.", MISUSED)
    try:
        return decoding(body, FileAudioConfig(type=kind), _LONGEST_S)().pcm
    except ImportError as error:
        raise _without_codecs(error) from error
    except TertuliaError as error:
        raise CommandFailed(f"{file}: {error.detail}", MISUSED) from error


def _without_codecs(error: ImportError) -> CommandFailed:
    return CommandFailed(f"Files of sound need the extra `voice`: {error}.", FAILED)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[Voices]:
    voices = open_voices(settings)
    try:
        yield voices
    finally:
        await voices.aclose()


def _run(work: Coroutine[None, None, _T]) -> _T:
    try:
        return asyncio.run(work)
    except ModelError as error:
        raise CommandFailed(f"{error.detail.rstrip('.')}: {_reason(error)}.") from error


def _reason(error: ModelError) -> str:
    """In one line: it may hold a page that a vendor sent."""
    return printable(" ".join(error.reason.split())).rstrip(".")
