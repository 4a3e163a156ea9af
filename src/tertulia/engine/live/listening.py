"""Listening in a live conversation: to whole utterances, or to a stream in which speech has to be found."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tertulia.audio import decoding, require_codecs
from tertulia.audio.config import FileAudioConfig, PcmAudioConfig, parse_audio_config
from tertulia.audio.pcm import HEARING_RATE, SAMPLE_BYTES, wav
from tertulia.engine.live.endpointing import Endpointer, SpeechEnded, SpeechPaused, SpeechResumed, SpeechStarted
from tertulia.engine.live.messages import NewAudioMessage
from tertulia.errors import BadRequest, PayloadTooLarge
from tertulia.providers.base import Detector
from tertulia.settings import LimitSettings

if TYPE_CHECKING:  # it needs an extra
    from tertulia.audio.decode import Recorded

AudioConfig = FileAudioConfig | PcmAudioConfig

MICROPHONE = PcmAudioConfig(type="pcm", frame_rate=HEARING_RATE, n_channels=1, sample_width=2)
"""The form of a client's sound if the client names none."""

SLICE_MS = 200
"""Milliseconds of sound that are searched for speech at once, if a stream comes faster than it was spoken."""


@dataclass(frozen=True, slots=True)
class Began:
    """The beginning of the user's speech."""


@dataclass(frozen=True, slots=True)
class Spoke:
    """The end of the user's speech, of `size` bytes; `decode` is as in `Incoming`."""

    decode: "Callable[[], Recorded]"
    size: int


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause that may be the end of the user's speech; `pcm` is all of it so far, at HEARING_RATE."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class WentOn:
    """The end of a pause in the user's speech."""


Heard = Began | Paused | WentOn | Spoke
"""The news of a stream of sound."""


class Listener:
    """The ear of a session: outside VAD mode for utterances that the client ends, in VAD mode for a stream."""

    def __init__(self, detector: Callable[[], Detector], limits: LimitSettings) -> None:
        self._make_detector = detector
        self._limits = limits
        self._utterance: Utterance | None = None
        self._stream: SoundStream | None = None
        self.vad_mode_on = False

    @property
    def hears(self) -> bool:
        """True if the user speaks."""
        return self._utterance is not None or (self._stream is not None and self._stream.hears)

    def switch(self, *, vad_mode_on: bool) -> None:
        """Listen in another mode from now on. Forget speech that has not ended."""
        self.vad_mode_on = vad_mode_on
        self._utterance = self._stream = None

    def expect_end(self) -> None:
        """End the user's speech after a shorter silence, unless they go on."""
        if self._stream is not None:
            self._stream.expect_end()

    async def take(self, message: NewAudioMessage) -> AsyncGenerator[Heard, None]:
        """Take the next piece of sound. Yield the speech that begins, pauses, goes on and ends in it.

        Raises:
            BadRequest, Unprocessable: the message cannot be taken.
            CodecsMissing: no speech can be taken at all.
            PayloadTooLarge: the utterance is too large, and is forgotten.
        """
        require_codecs()
        config = None if message.audio_config is None else _read_config(message.audio_config)
        if not self.vad_mode_on:
            for mark in self._collect(message.audio, config):
                yield mark
        elif message.audio is None:
            if self._stream is not None and (pcm := self._stream.finish()) is not None:
                yield self._spoke(wav(pcm, HEARING_RATE), MICROPHONE)
        else:
            stream = self._tune(config)
            for piece in stream.slices(message.audio):
                for mark in stream.feed(piece):
                    yield self._spoke(wav(mark, HEARING_RATE), MICROPHONE) if isinstance(mark, bytes) else mark
                await asyncio.sleep(0)

    def _collect(self, sound: bytes | None, config: AudioConfig | None) -> Iterator[Began | Spoke]:
        if sound is not None:
            if self._utterance is None:
                self._utterance = Utterance(config or MICROPHONE, self._limits.audio_bytes)
                yield Began()
            self._utterance.add(sound, config)
        elif self._utterance is not None:
            utterance, self._utterance = self._utterance, None
            if utterance.body is not None:
                yield self._spoke(utterance.body, utterance.config)

    def _tune(self, config: AudioConfig | None) -> "SoundStream":
        """Find the stream that a piece belongs to. Return it; another config begins another stream."""
        if self._stream is None or (config is not None and config != self._stream.config):
            if self._stream is not None and self._stream.hears:
                raise BadRequest("audio_config: it cannot change while somebody speaks.")
            wanted = config or MICROPHONE
            if not isinstance(wanted, PcmAudioConfig):
                raise BadRequest("audio_config: speech is found in pcm only.")
            self._stream = SoundStream(wanted, self._make_detector(), self._limits.audio_s)
        return self._stream

    def _spoke(self, body: bytes, config: AudioConfig) -> Spoke:
        return Spoke(decoding(body, config, self._limits.audio_s), len(body))


class Utterance:
    """An utterance in any format, from its first piece of sound to the word that it is complete."""

    def __init__(self, config: AudioConfig, most_bytes: int) -> None:
        self.config = config
        self._most_bytes = most_bytes
        self._body: bytearray | None = bytearray()

    def add(self, sound: bytes, config: AudioConfig | None) -> None:
        """Add a piece.

        Raises:
            PayloadTooLarge: it is too much: nothing is kept, and what follows goes nowhere. It is raised once.
            BadRequest: the config is not the one that the utterance began with.
        """
        if config is not None and config != self.config:
            raise BadRequest("audio_config: it cannot change within an utterance.")
        if self._body is None:
            return
        self._body += sound
        if len(self._body) > self._most_bytes:
            self._body = None
            raise PayloadTooLarge(f"audio: the utterance is larger than {self._most_bytes} bytes.")

    @property
    def body(self) -> bytes | None:
        """All of it; None where it was too much."""
        return None if self._body is None else bytes(self._body)


class SoundStream:
    """A stream of samples, and the speech in it."""

    def __init__(self, config: PcmAudioConfig, detector: Detector, longest_s: float) -> None:
        self.config = config
        self._convert = _converter(config)
        self._detector = detector
        self._frame_bytes = HEARING_RATE * detector.frame_ms // 1000 * SAMPLE_BYTES
        self._endpointer = Endpointer(detector.frame_ms, longest_s * 1000)
        self._pcm = bytearray()
        self._first = 0
        """Which frame `_pcm` begins with."""

    @property
    def hears(self) -> bool:
        """True if somebody speaks."""
        return self._endpointer.speaking

    def slices(self, sound: bytes) -> Iterator[bytes]:
        """Cut sound into pieces to be fed one by one. Yield them; so nobody waits long for a flood of sound."""
        size = self.config.frame_rate * SLICE_MS // 1000 * self.config.sample_width
        return (sound[start : start + size] for start in range(0, len(sound), size))

    def feed(self, sound: bytes) -> Iterator[Began | Paused | WentOn | bytes]:
        """Search the next piece of sound. Yield its news, a whole utterance as PCM at HEARING_RATE."""
        pcm = self._convert(sound)
        self._pcm += pcm
        for likelihood in self._detector.feed(pcm):
            match self._endpointer.feed(likelihood):
                case SpeechStarted():
                    yield Began()
                case SpeechPaused(begins, ends):
                    yield Paused(self._cut(begins, ends))
                case SpeechResumed():
                    yield WentOn()
                case SpeechEnded(begins, ends):
                    yield self._cut(begins, ends)
                case None:
                    pass
        self._forget()

    def expect_end(self) -> None:
        """End the utterance that is being spoken after a shorter silence, unless it goes on."""
        self._endpointer.expect_end()

    def finish(self) -> bytes | None:
        """End the utterance that is being spoken. Return it, or None if nobody speaks."""
        mark = self._endpointer.finish()
        return None if mark is None else self._cut(mark.begins, mark.ends)

    def _cut(self, begins: int, ends: int) -> bytes:
        return bytes(self._pcm[self._at(begins) : self._at(ends)])

    def _forget(self) -> None:
        first = self._endpointer.first_needed
        del self._pcm[: self._at(first)]
        self._first = first

    def _at(self, frame: int) -> int:
        return (frame - self._first) * self._frame_bytes


def _read_config(value: object) -> AudioConfig:
    return parse_audio_config(msgspec.json.encode(value).decode(), ("audio_config",))


def _converter(config: PcmAudioConfig) -> Callable[[bytes], bytes]:
    """Choose a converter of a client's samples. Return a function that makes 16-bit ones at HEARING_RATE."""
    halve = _Halves().feed if config.sample_width == 4 else bytes
    if config.frame_rate == HEARING_RATE:
        return halve
    from tertulia.audio.resample import Resampler  # noqa: PLC0415 - it needs an extra

    resampler = Resampler(config.frame_rate, HEARING_RATE)
    return lambda sound: resampler.feed(halve(sound))


class _Halves:
    """32-bit samples, in pieces that may end anywhere, as 16-bit ones."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, sound: bytes) -> bytes:
        sound = self._rest + sound
        whole = len(sound) // 4 * 4
        self._rest = sound[whole:]
        out = bytearray(whole // 2)
        out[0::2], out[1::2] = sound[2:whole:4], sound[3:whole:4]
        return bytes(out)
