"""OpenAI's voices and transcribers, or those of any server that speaks the same (Speaches, LocalAI and others).

https://platform.openai.com/docs/api-reference/audio
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tertulia.audio.arriving import ArrivingSpeech
from tertulia.audio.content_type import NotSamples
from tertulia.audio.pcm import SAMPLE_BYTES, duration_ms, wav
from tertulia.errors import ModelError, TranscriptionFailed, VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import HEARING_PATIENCE, HEARING_RATE, Sound, Transcript, VoiceInfo
from tertulia.providers.remote import Remote
from tertulia.providers.voices.answers import fields_of, items_of, read_json
from tertulia.providers.voices.base import Provider, Vendor, open_vendor_client
from tertulia.providers.voices.languages import code_of
from tertulia.providers.voices.placing import Placing
from tertulia.settings import Settings

DEFAULT_MODEL = "gpt-4o-mini-tts"
VENDOR_HOST = "api.openai.com"

_RATE = 24_000  # of the format `pcm`
_MAX_SOUND_BYTES = 600 * _RATE * SAMPLE_BYTES  # ten minutes; the vendor takes at most 4096 characters
_NAMES = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse"
_VOICES = tuple(_NAMES.split())
_CODES = (
    "af ar az be bg bs ca cs cy da de el en es et fa fi fr gl he hi hr hu hy id is it ja kk kn ko lt lv mi mk mr ms ne "
    "nl no pl pt ro ru sk sl sr sv sw ta th tl tr uk ur vi zh"
)
_MAX_PROMPT_CHARS = 800  # Whisper reads the last 224 tokens of a prompt
_FORMATS = ("verbose_json", "json")
_NEXT_FORMAT = (400, 404, 415, 422, 500, 501)
"""Statuses of servers that do not know a format."""
_REFUSALS = 2
_ASK_AGAIN = 100
_LISTING = "gpt-transcribe"
"""Beginnings of names of models that tell no times and take languages and words as lists: they refuse `language`."""

LANGUAGES = frozenset(_CODES.split())
"""Those that the vendor names, for both directions: https://platform.openai.com/docs/guides/speech-to-text."""


class OpenAIVoice:
    """Voices of a model. A server that is not the vendor's own is passed every voice id: it may have others."""

    rate = _RATE

    def __init__(self, remote: Remote, model: str, *, any_voice: bool) -> None:
        self._remote = remote
        self._model = model
        self._any_voice = any_voice

    def speaks(self, language: str) -> bool:
        return code_of(language, LANGUAGES) is not None

    async def voices(self) -> Sequence[VoiceInfo]:
        return [VoiceInfo(voice, voice.capitalize()) for voice in _VOICES]

    async def knows(self, voice_id: str) -> bool:
        return self._any_voice or voice_id in _VOICES or voice_id == DEFAULT_VOICE

    async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
        """Speak a text; the vendor finds the language by itself. Return its sound, without times of words."""
        voice = _VOICES[0] if voice_id == DEFAULT_VOICE else voice_id
        body = {"model": self._model, "input": text, "voice": voice, "response_format": "pcm"}
        size = 0
        async with self._remote.stream("POST", "audio/speech", json=body) as response:
            try:
                speech = ArrivingSpeech(response.headers.get("content-type", ""), _RATE)
                async with aclosing(response.aiter_bytes()) as chunks:
                    async for chunk in chunks:
                        pcm = speech.feed(chunk)
                        size += max(len(chunk), len(pcm))
                        if size > _MAX_SOUND_BYTES:
                            raise self._remote.failure("the sound is too long")
                        if pcm:
                            yield Sound(pcm)
                if pcm := speech.finish():
                    yield Sound(pcm)
            except NotSamples as reason:
                raise self._remote.failure(str(reason)) from None


class OpenAITranscriber:
    """Asks for words with their times; a model that refuses them again and again is asked for the text alone."""

    def __init__(self, remote: Remote, model: str) -> None:
        self._remote = remote
        self._model = model
        self._lists = model.startswith(_LISTING)
        self._format = 1 if self._lists else 0  # of _FORMATS
        self._refused = self._asked = 0

    def hears(self, language: str) -> bool:
        return code_of(language, LANGUAGES) is not None

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        file = ("speech.wav", wav(pcm, HEARING_RATE), "audio/wav")
        more_s = HEARING_PATIENCE * duration_ms(pcm, HEARING_RATE) / 1000  # nothing comes before all has been heard
        failure: ModelError | None = None
        for number in range(self._first_format(), len(_FORMATS)):
            fields = self._fields(_FORMATS[number], language, keyterms)
            answer = await self._remote.read("POST", "audio/transcriptions", more_s, data=fields, files={"file": file})
            if answer.status == 200:
                self._settle(number)
                return self._transcript(answer.body, duration_ms(pcm, HEARING_RATE) / 1000)
            failure = self._remote.refusal(answer)
            if answer.status not in _NEXT_FORMAT:
                break
        raise failure or self._remote.failure("it was not asked")

    def _first_format(self) -> int:
        """Choose the format to begin with: the best one again every now and then. Return its number."""
        self._asked += 1
        return self._format if self._lists or self._asked % _ASK_AGAIN else 0

    def _settle(self, number: int) -> None:
        """Note that a format was accepted. One that was refused once is asked for again: the recording may be why."""
        self._refused = self._refused + 1 if number > self._format else 0
        if number < self._format or self._refused >= _REFUSALS:
            self._format, self._refused = number, 0

    def _fields(self, answer_format: str, language: str, keyterms: Sequence[str]) -> dict[str, str | list[str]]:
        fields: dict[str, str | list[str]] = {"model": self._model, "response_format": answer_format}
        code = code_of(language, LANGUAGES)
        if self._lists:
            return {**fields, "languages[]": [code] if code else [], "keywords[]": [*keyterms]}
        if answer_format == "verbose_json":
            fields["timestamp_granularities[]"] = "word"
        if code:
            fields["language"] = code
        if keyterms:
            fields["prompt"] = ", ".join(keyterms)[:_MAX_PROMPT_CHARS]
        return fields

    def _transcript(self, body: bytes, longest_s: float) -> Transcript:
        try:
            answer = fields_of(read_json(body))
        except ValueError:
            answer = {}
        if not isinstance(text := answer.get("text"), str):
            raise self._remote.failure("what it sent is no transcription")
        text = text.strip()
        words = [fields_of(word) for word in items_of(answer.get("words"))]
        told = [(word.get("word"), word.get("start"), word.get("end")) for word in words]
        return Transcript(text, tuple(Placing(text, longest_s).place(told)))


def _open(model: str, settings: Settings) -> Provider:
    key, stall_s = settings.openai.api_key.get_secret_value(), settings.turn.stall_s
    client = open_vendor_client("OPENAI", settings.openai.base_url, VENDOR_HOST, key, {}, stall_s)
    voice = OpenAIVoice(
        Remote(client, VoiceFailed, stall_s, key),
        model or DEFAULT_MODEL,
        any_voice=client.base_url.host != VENDOR_HOST,
    )
    remote = Remote(client, TranscriptionFailed, stall_s, key)
    transcriber = OpenAITranscriber(remote, settings.openai.transcription_model)
    return Provider(voice, transcriber, aclose=client.aclose)


VENDOR = Vendor("openai", _open, help="OpenAI, or a server that speaks the same.", has_models=True)
