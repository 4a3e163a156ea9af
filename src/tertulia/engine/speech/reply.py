"""A reply that is spoken: the model's pieces become sentences, each is spoken as soon as it is whole.

The model goes on while its sentences are spoken. Each piece of sound leaves when it is made, with the characters whose
time is known by then; all characters of all pieces are the reply as it was written.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

from tertulia import events
from tertulia.audio.pcm import RATE, SAMPLE_BYTES, duration_ms, wav
from tertulia.engine.speech.alignment import Alignment
from tertulia.engine.speech.fillers import begun
from tertulia.engine.speech.playback import Interrupted, Playback
from tertulia.engine.speech.sentences import Sentences
from tertulia.engine.speech.speakable import speakable
from tertulia.engine.speech.voices import Speaker, Voices
from tertulia.engine.speech.wishes import AudioFormat, Speaking
from tertulia.engine.speech.words import without_part
from tertulia.errors import ModelMisbehaved, VoiceFailed
from tertulia.providers.base import Sound
from tertulia.texts import is_blank

LONGEST = 1 << 18
"""Characters of a reply; a model that writes more while it is spoken has gone wrong."""

PIECE_MS = 200.0
"""The longest sound of a piece: a listener who speaks up has no more to silence than that and `LEAD_MS`."""

PACE_MS = 60.0
"""The shortest sound of a character, if a sentence was interrupted and its words have no times."""

MP3_BYTES_A_MS = 8
"""Of 64 kbit/s, the constant rate of our MP3."""

Alive = Callable[[float], None]
"""Says that the turn lives, and may be silent for so many seconds from now before that is counted."""


@dataclass(slots=True)
class SpokenReply:
    """A reply as it turned out: its text as it was heard, and its recording, empty if nothing of it was heard."""

    message_id: str
    text: str = ""
    recording: bytes = b""
    content_type: Literal["audio/wav", "audio/mpeg"] = "audio/wav"


async def speak(
    text: AsyncGenerator[str], speaking: Speaking, reply: SpokenReply, voices: Voices, alive: Alive
) -> AsyncGenerator[events.NewMessage, None]:
    """Speak a model's reply. Return its events, the last of which says stop, and note the rest in `reply`.

    The text of a reply that its listener interrupts is what was heard, and no more.

    Raises:
        ModelError: the model has failed, or a voice has after it had begun.
    """
    message = _Message(speaking, reply.message_id)
    try:
        ahead = _Ahead(text, alive)
        async with _attended(speaking.playback), begun(ahead.read()):
            speaker = voices.speaker(speaking.voice_id, speaking.language)
            while (sentence := await ahead.next()) is not None:
                async with aclosing(message.say(sentence, speaker)) as pieces:
                    async for piece in pieces:
                        ahead.check()
                        yield piece
                        await message.heard(alive)
            if is_blank(ahead.text):
                raise ModelMisbehaved("the reply is empty")
            yield message.end()
            await message.heard(alive, to_the_end=True)
        reply.text = ahead.text
    except Interrupted as interrupted:
        if not message.ended:
            yield message.end()
        reply.text = message.cut(interrupted.heard_ms)
    reply.recording = message.recording()
    reply.content_type = "audio/mpeg" if speaking.audio_format == "mp3" else "audio/wav"


def _attended(playback: Playback | None) -> AbstractAsyncContextManager[None]:
    """Run a block, and end it as soon as the listener speaks, even while a model or a voice is awaited."""
    return nullcontext() if playback is None else playback.attended()


class _Message:
    """A message as it is made: its sound so far, and when each character sounds."""

    def __init__(self, speaking: Speaking, message_id: str) -> None:
        self.ended = False
        self._speaking = speaking
        self._id = message_id
        self._encoder = _open_encoder(speaking.audio_format)
        self._number = 0
        self._sound: list[bytes] = []
        """Encoded, as it was sent."""
        self._ms = 0.0
        """The length of the sound so far."""
        self._told_ms = 0.0
        """The part of the sound that the listener's clock knows of."""
        self._characters: list[tuple[int, str]] = []
        self._sent = 0
        """The number of characters that have been sent."""
        self._unfinished: tuple[Alignment, float, float] | None = None
        """Of the sentence that is being spoken: its characters, when it began, how long it may take at least."""
        self._heard_ms: float | None = None
        """The place at which the listener interrupted the reply."""

    async def say(self, written: str, speaker: Speaker) -> AsyncGenerator[events.NewMessage, None]:
        """Speak a sentence.

        Raises:
            VoiceFailed: there is something to say, and no sound came.
        """
        said = speakable(written, self._speaking.language)
        alignment, begins_ms = Alignment(written, said), self._ms
        if said.text:
            self._unfinished = alignment, begins_ms, PACE_MS * len(said.text)
            async with aclosing(speaker.speak(said.text)) as sounds:
                async for sound in sounds:
                    for part in _cut(sound):
                        piece = self._add(part, alignment, begins_ms)
                        if piece is not None:
                            yield piece
            if self._ms == begins_ms:
                raise VoiceFailed("it made no sound")
        self._note(alignment.finish(self._ms - begins_ms), begins_ms)
        self._unfinished = None

    def _add(self, sound: Sound, alignment: Alignment, begins_ms: float) -> events.NewMessage | None:
        self._ms += duration_ms(sound.pcm, RATE)
        self._note(alignment.add(sound.words, self._ms - begins_ms), begins_ms)
        encoded = self._encoder.feed(sound.pcm)
        return self._piece(encoded) if encoded else None

    def _note(self, characters: Sequence[tuple[float, str]], begins_ms: float) -> None:
        """Note when characters sound: in whole milliseconds of the message, and never going back."""
        latest = self._characters[-1][0] if self._characters else 0
        for ms, character in characters:
            latest = max(latest, round(begins_ms + self._encoder.delay_ms + ms))
            self._characters.append((latest, character))

    def _piece(self, encoded: bytes) -> events.NewMessage:
        self._number += 1
        self._sound.append(encoded)
        characters, self._sent = self._characters[self._sent :], len(self._characters)
        sound = base64.b64encode(encoded).decode("ascii")
        return events.NewMessage(sound, self.ended, self._number, self._id, characters or None)

    def end(self) -> events.NewMessage:
        """End the reply. Return the last piece: the rest of the sound and of the characters, if there is any."""
        self.ended = True
        return self._piece(self._encoder.finish())

    async def heard(self, alive: Alive, *, to_the_end: bool = False) -> None:
        """Let a piece leave. Return when the listener, if there is one, is not far behind, or has heard all of it.

        Raises:
            Interrupted: the listener spoke.
        """
        playback = self._speaking.playback
        if playback is None:
            await asyncio.sleep(0)  # before the next piece is encoded, however many there are already
            return
        ms, self._told_ms = self._ms - self._told_ms, self._ms
        alive(ms / 1000)
        await playback.sent(ms)
        if to_the_end:
            await playback.played()

    def cut(self, heard_ms: float) -> str:
        """End the message where its listener interrupted it; what was written of what they heard, in whole words."""
        self._heard_ms = heard_ms
        if self._unfinished is not None:
            alignment, begins_ms, at_least_ms = self._unfinished
            self._note(alignment.finish(max(self._ms - begins_ms, at_least_ms)), begins_ms)
        heard = "".join(character for ms, character in self._characters if ms < heard_ms)
        more = self._characters[len(heard) : len(heard) + 1]
        return without_part(heard, more[0][1] if more else "").rstrip()

    def recording(self) -> bytes:
        """Return the sound that was sent or heard as a file; empty if there is none."""
        sound = b"".join(self._sound)
        is_mp3 = self._speaking.audio_format == "mp3"
        if self._heard_ms is not None:
            samples = round(self._heard_ms * RATE / 1000)
            sound = sound[: round(self._heard_ms * MP3_BYTES_A_MS) if is_mp3 else samples * SAMPLE_BYTES]
        return sound if is_mp3 or not sound else wav(sound, RATE)


def _cut(sound: Sound) -> Generator[Sound]:
    """Cut sound into short pieces. Yield them, the first before the rest is encoded."""
    size = round(PIECE_MS * RATE / 1000) * SAMPLE_BYTES
    yield Sound(sound.pcm[:size], sound.words)
    for at in range(size, len(sound.pcm), size):
        yield Sound(sound.pcm[at : at + size])


class _Encoder(Protocol):
    delay_ms: float
    """The time that the reply plays before the first sample."""

    def feed(self, pcm: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class _AsItIs:
    """PCM, which needs no encoder."""

    delay_ms = 0.0

    def feed(self, pcm: bytes) -> bytes:
        return pcm

    def finish(self) -> bytes:
        return b""


def _open_encoder(audio_format: AudioFormat) -> _Encoder:
    if audio_format == "pcm":
        return _AsItIs()
    from tertulia.audio.encode import Encoder  # noqa: PLC0415 - it needs an extra

    return Encoder(audio_format)


class _Ahead:
    """A model's text in sentences, read ahead while the sentences before are spoken."""

    def __init__(self, text: AsyncGenerator[str], alive: Alive) -> None:
        self._stream = text
        self._alive = alive
        self._pieces: list[str] = []
        self._length = 0
        self._whole: asyncio.Queue[str | None] = asyncio.Queue()
        self._error: Exception | None = None

    @property
    def text(self) -> str:
        """Everything so far."""
        return "".join(self._pieces)

    def check(self) -> None:
        """Raise what the model has failed with: whatever is still to be said then, the turn is void."""
        if self._error is not None:
            raise self._error

    async def read(self) -> None:
        try:
            await self._read()
        except Exception as error:  # noqa: BLE001 - raised where the sentences are taken
            self._error = error
        finally:
            self._whole.put_nowait(None)

    async def _read(self) -> None:
        sentences = Sentences()
        async with aclosing(self._stream) as pieces:
            async for piece in pieces:
                self._alive(0)
                self._pieces.append(piece)
                self._length += len(piece)
                if self._length > LONGEST:
                    raise ModelMisbehaved("the reply has no end")
                self._put(sentences.add(piece))
        self._put(sentences.rest())

    def _put(self, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            self._whole.put_nowait(sentence)

    async def next(self) -> str | None:
        """Wait for the next whole sentence. Return it, or None after the last; raise the error of the model, if any."""
        sentence = await self._whole.get()
        self.check()
        return sentence
