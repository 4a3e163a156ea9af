"""Cartesia's voices, with the times of words: https://docs.cartesia.ai/2026-03-01/api-reference/tts/sse."""

import base64
import binascii
import uuid
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from tertulia.audio.arriving import refuse_other_kinds
from tertulia.audio.content_type import NotSamples
from tertulia.audio.pcm import SAMPLE_BYTES
from tertulia.errors import ModelError, VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import Sound, VoiceInfo
from tertulia.providers.remote import Remote, drain
from tertulia.providers.voices.answers import fields_of, items_of, read_json
from tertulia.providers.voices.base import Provider, Vendor, open_vendor_client
from tertulia.providers.voices.languages import code_of, long_code_of
from tertulia.providers.voices.placing import Placing
from tertulia.settings import Settings

DEFAULT_MODEL = "sonic-3.5"
VENDOR_HOST = "api.cartesia.ai"
HEADERS = {"Cartesia-Version": "2026-03-01"}
"""The headers of every request, beside the key."""

_RATE = 24_000
_OWN_VOICE = "f786b574-daa5-4673-aa0c-cbe3e8534c02"  # Katie, whom the vendor names first for agents
_MAX_SOUND_BYTES = 600 * _RATE * SAMPLE_BYTES
_MAX_LINE_BYTES = 4 << 20
_PAGE = 100
_MAX_PAGES = 50
_KEPT = 1000
_CODES = (
    "ar bg bn cs da de el en es fi fr gu he hi hr hu id it ja ka kn ko ml mr ms nl no pa pl pt ro ru sk sv ta te th tl "
    "tr uk vi zh"
)

LANGUAGES = frozenset(_CODES.split())
"""Those of sonic-3 and later: https://docs.cartesia.ai/build-with-cartesia/tts-models."""


class _Voice(msgspec.Struct):
    id: str
    name: str = ""
    language: str | None = None


class _Page(msgspec.Struct):
    data: list[_Voice]
    has_more: bool = False


_read_page = msgspec.json.Decoder(_Page).decode


class CartesiaVoice:
    """Voices of a model; each speaks every language."""

    rate = _RATE

    def __init__(self, remote: Remote, model: str) -> None:
        self._remote = remote
        self._model = model
        self._known: set[str] = set()

    def speaks(self, language: str) -> bool:
        return code_of(language, LANGUAGES) is not None

    async def voices(self) -> Sequence[VoiceInfo]:
        """All that the key can use, some hundreds."""
        voices: list[VoiceInfo] = []
        query: dict[str, str] = {"limit": str(_PAGE)}
        for _ in range(_MAX_PAGES):
            answer = await self._remote.read("GET", "voices", params=query)
            if answer.status != 200:
                raise self._remote.refusal(answer)
            page = _page(answer.body, self._remote)
            voices += [VoiceInfo(voice.id, voice.name, _languages(voice)) for voice in page.data]
            if not page.has_more or not page.data:
                break
            query["starting_after"] = page.data[-1].id
        return voices

    async def knows(self, voice_id: str) -> bool:
        if voice_id == DEFAULT_VOICE or voice_id in self._known:
            return True
        if not _is_id(voice_id):
            return False
        answer = await self._remote.read("GET", f"voices/{voice_id}")
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise self._remote.refusal(answer)
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known.add(voice_id)
        return True

    async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
        size, placing = 0, Placing(text)
        async with self._remote.stream("POST", "tts/sse", json=self._body(text, voice_id, language)) as response:
            events = _Events(self._remote)
            async with aclosing(response.aiter_bytes()) as chunks:
                async for chunk in chunks:
                    for event in events.feed(chunk):
                        sound = self._sound(event, placing)
                        if sound.pcm and not size:
                            self._refuse_other_kinds(sound.pcm)
                        size += len(sound.pcm)
                        if size > _MAX_SOUND_BYTES:
                            raise self._remote.failure("the sound is too long")
                        if sound.pcm or sound.words:
                            yield sound
                    if events.done:
                        await drain(chunks)
                        return
        raise self._remote.failure("the stream broke off")

    def _refuse_other_kinds(self, pcm: bytes) -> None:
        try:
            refuse_other_kinds(pcm)
        except NotSamples as reason:
            raise self._remote.failure(str(reason)) from None

    def _body(self, text: str, voice_id: str, language: str) -> dict[str, Any]:
        return {
            "model_id": self._model,
            "transcript": text,
            "voice": {"mode": "id", "id": _OWN_VOICE if voice_id == DEFAULT_VOICE else voice_id},
            "language": code_of(language, LANGUAGES),
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": _RATE},
            "add_timestamps": True,
        }

    def _sound(self, event: Mapping[str, Any], placing: Placing) -> Sound:
        if event.get("type") == "error":
            raise _failure(event, self._remote)
        if event.get("type") == "timestamps":
            return Sound(b"", tuple(placing.place(_told(event.get("word_timestamps")))))
        if event.get("type") != "chunk" or event.get("data") is None:
            return Sound(b"")
        try:
            pcm = base64.b64decode(event["data"], validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise self._remote.failure("what it sent is no base64") from None
        if len(pcm) % SAMPLE_BYTES:
            raise self._remote.failure("what it sent is half a sample")
        return Sound(pcm)


class _Events:
    """Server-sent events as they arrive, cut anywhere; each has its data in one line."""

    def __init__(self, remote: Remote) -> None:
        self.done = False
        self._remote = remote
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[Mapping[str, Any]]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            raise self._remote.failure("a line is too long")
        for line in lines:
            if line.startswith(b"data:") and not self.done:
                event = self._read(line[5:].strip())
                self.done = event.get("type") == "done"
                yield event

    def _read(self, data: bytes) -> Mapping[str, Any]:
        try:
            return fields_of(read_json(data))
        except ValueError:
            raise self._remote.failure("what it sent is not what its reference says") from None


def _page(data: bytes, remote: Remote) -> _Page:
    try:
        return _read_page(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise remote.failure("what it sent is not what its reference says") from None


def _told(times: object) -> Iterable[tuple[object, object, object]]:
    """Read the times of words. Return each word with its start and end; none if they are of another form."""
    columns = (items_of(fields_of(times).get(name)) for name in ("words", "start", "end"))
    return zip(*columns, strict=False)


def _failure(event: Mapping[str, Any], remote: Remote) -> ModelError:
    parts = (event.get(name) for name in ("title", "message", "error"))  # older versions tell it in one text
    return remote.failure(": ".join(str(part) for part in parts if part))


def _languages(voice: _Voice) -> Sequence[str]:
    """The one that it was made in; it speaks the others too."""
    found = long_code_of((voice.language or "").replace("-", "_").partition("_")[0])
    return [found] if found else []


def _is_id(voice_id: str) -> bool:
    try:
        return str(uuid.UUID(voice_id)) == voice_id.lower()
    except ValueError:
        return False


def _open(model: str, settings: Settings) -> Provider:
    key, stall_s = settings.cartesia.api_key.get_secret_value(), settings.turn.stall_s
    client = open_vendor_client("CARTESIA", settings.cartesia.base_url, VENDOR_HOST, key, HEADERS, stall_s)
    return Provider(
        CartesiaVoice(Remote(client, VoiceFailed, stall_s, key), model or DEFAULT_MODEL), aclose=client.aclose
    )


VENDOR = Vendor("cartesia", _open, help="Cartesia's voices, with the times of words.", has_models=True)
