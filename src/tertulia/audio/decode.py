"""Recordings that callers send, to samples that speech is found in: PyAV (the extra `voice`), one thread, no files.

Every byte is a stranger's. What a body is, its own first bytes say, and they must agree with the caller's config. MP3
and FLAC are read by FFmpeg, with no other reader or decoder than theirs, from bytes that cannot be sought in and lead
to no other place. WAV, Ogg, WebM and MP4 files and AAC in ADTS are read by hand, and only their samples or packets
decoded. Decoded sound is counted as it comes, so a small body that holds hours costs no more than the longest recording
allowed. A body that was cut off is heard as far as it goes.
"""

import io
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Literal

import av
from av.error import FFmpegError
from av.packet import Packet

from tertulia.audio.config import FileAudioConfig, PcmAudioConfig
from tertulia.audio.frames import TooManyFrames, aac_frames, flac_frames, mp3_frames
from tertulia.audio.mp4 import read_mp4
from tertulia.audio.packets import NotReadable, PacketFile, read_ogg, read_webm
from tertulia.audio.pcm import HEARING_RATE, SAMPLE_BYTES, duration_ms, wav
from tertulia.audio.resample import Form, Mixdown, Resampler, sample_decoder
from tertulia.audio.riff import NotWave, Wave, WaveForm, read_wave
from tertulia.audio.sniff import NAMES, Kind, certain_kind, likely_kind
from tertulia.errors import BadRecording, UnreadableRecording

_DECODERS = {"mp3": "mp3float,mp3", "flac": "flac"}
_RATES = range(4000, 192_001)
_CHANNELS = range(1, 9)
_PACKETS_A_SECOND = 1000  # an audio packet of less than a millisecond is there to cost time
_MOST_FORMS = 16  # a song of several parts has a few; each costs a new converter
_WAVE_FRAMES = 16_384


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording: 16-bit mono PCM at `HEARING_RATE`, and the file that is kept.

    `body` is an MP3 or WAV file as it came; anything else became a 16-bit mono WAV file.
    """

    pcm: bytes
    duration_ms: float
    content_type: Literal["audio/wav", "audio/mpeg"]
    body: bytes


def decode(body: bytes, config: FileAudioConfig | PcmAudioConfig, max_s: float) -> Recorded:
    """Decode a recording of at most `max_s` seconds. Return its samples and the file to be kept.

    Decoding blocks, mostly without the interpreter's lock.

    Raises:
        UnreadableRecording: the bytes cannot be decoded, or are not what the config says.
        BadRecording: there is no sound, or too much, or no whole number of bare samples.
    """
    if not body:
        raise BadRecording("The recording is empty.")
    if isinstance(config, PcmAudioConfig):
        found = certain_kind(body)
        if found is None:
            return _bare(body, config, max_s)
        if found != "wav":
            raise _differs("bare samples or a WAV file", NAMES[found])
        return _wave(body, config, max_s)
    found = likely_kind(body)
    if found != config.type:
        raise _differs(NAMES[config.type], NAMES[found] if found else "of no known format")
    if config.type == "wav":
        return _wave(body, None, max_s)
    pcm = _hear(body, config.type, _Sound(max_s))
    if config.type == "mp3":
        return _recorded(pcm, "audio/mpeg", body)
    return _recorded(pcm, "audio/wav", wav(pcm, HEARING_RATE))


def _recorded(pcm: bytes, content_type: Literal["audio/wav", "audio/mpeg"], body: bytes) -> Recorded:
    if not pcm:
        raise BadRecording("There is no sound in the recording.")
    return Recorded(pcm, duration_ms(pcm, HEARING_RATE), content_type, body)


class _Sound:
    """Decoded frames of whatever form, mixed down as they come, and refused as soon as they are too long."""

    def __init__(self, max_s: float) -> None:
        self._max_s = max_s
        self.most_packets = int((max_s + 1) * _PACKETS_A_SECOND)
        self._seconds = 0.0  # of the forms before this one
        self._samples = 0
        self._pcm = bytearray()
        self._form: Form | None = None
        self._mixdown: Mixdown | None = None
        self._forms = 0

    def add(self, frame: av.AudioFrame) -> None:
        if not frame.samples:
            return
        form = Form(frame.format.name, frame.layout.name, frame.sample_rate)
        mixdown = self._mixdown if form == self._form else None
        if mixdown is None:
            mixdown = self._change(form, frame.layout.nb_channels)
        self._samples += frame.samples
        if self._seconds + self._samples / form.rate > self._max_s:
            raise _too_long(self._max_s)
        frame.pts = None  # its place is after the last one, whatever the file says
        self._pcm += mixdown.feed(frame)

    def finish(self) -> bytes:
        self._end()
        return bytes(self._pcm)

    def _change(self, form: Form, channels: int) -> Mixdown:
        _check(form.rate, channels)
        self._end()
        self._forms += 1
        if self._forms > _MOST_FORMS:
            raise UnreadableRecording("The sample rate or the channels of the recording change too often.")
        self._form, self._mixdown = form, Mixdown(form, HEARING_RATE)
        return self._mixdown

    def _end(self) -> None:
        if self._mixdown and self._form:
            self._pcm += self._mixdown.feed(None)
            self._seconds += self._samples / self._form.rate
            self._samples, self._mixdown = 0, None


class _Stream:
    """Bytes that FFmpeg can read from the front to the back, and nothing else."""

    def __init__(self, body: bytes) -> None:
        self.read = io.BytesIO(body).read


def _hear(body: bytes, kind: Kind, sound: _Sound) -> bytes:
    """Decode a file as far as it goes. Return its samples."""
    name = NAMES[kind]
    try:
        if kind == "ogg":
            _hear_packets(read_ogg(body, sound.most_packets), sound)
        elif kind == "webm":
            _hear_packets(read_webm(body, sound.most_packets), sound)
        elif kind == "mp4":
            _hear_packets(read_mp4(body, sound.most_packets), sound)
        elif kind == "aac":
            _hear_packets(PacketFile("aac", b"", aac_frames(body, sound.most_packets)), sound)
        else:
            _hear_frames(body, kind, sound)
        return sound.finish()
    except TooManyFrames:
        raise UnreadableRecording("The recording is cut into too many packets.") from None
    except NotReadable as reason:
        raise UnreadableRecording(f"The recording begins as {name}, but {reason}.") from None
    except (FFmpegError, ValueError) as error:
        raise UnreadableRecording(f"The recording begins as {name}, but cannot be decoded.") from error


def _hear_packets(file: PacketFile, sound: _Sound) -> None:
    codec: Any = av.CodecContext.create(file.codec, "r")
    codec.thread_count = 1
    if file.head:
        codec.extradata = file.head
    _decode(codec, (Packet(packet) for packet in file.packets if packet), sound)


def _hear_frames(body: bytes, kind: Kind, sound: _Sound) -> None:
    frames = flac_frames(body) if kind == "flac" else mp3_frames(body)
    if frames is None:
        raise ValueError(kind)
    options = {"codec_whitelist": _DECODERS[kind], "protocol_whitelist": "none", "max_streams": "8"}
    opened = av.open(_Stream(frames), "r", kind, container_options=options)
    with closing(opened) as container:
        stream = next(iter(container.streams.audio), None)
        # A coding that FFmpeg does not know has no context.
        if stream is None or getattr(stream.codec_context, "name", None) not in _DECODERS[kind].split(","):
            raise ValueError(kind)
        stream.codec_context.thread_count = 1
        _decode(stream.codec_context, _until_damage(container.demux(stream)), sound)


def _until_damage(packets: Iterator[Any]) -> Iterator[Any]:
    with suppress(FFmpegError):
        yield from packets


def _decode(codec: Any, packets: Iterator[Any], sound: _Sound) -> None:
    """Decode packets into `sound`, and pass broken ones over. Raise the last one's error if all are broken."""
    failure, heard = None, False
    for number, packet in enumerate(packets):
        if number == sound.most_packets:
            raise UnreadableRecording("The recording is cut into too many packets.")
        try:
            frames: list[av.AudioFrame] = codec.decode(packet)
        except FFmpegError as error:
            failure = error
            continue
        for frame in frames:
            heard = True
            sound.add(frame)
    if failure and not heard:
        raise failure


def _wave(body: bytes, config: PcmAudioConfig | None, max_s: float) -> Recorded:
    try:
        wave = read_wave(body)
    except NotWave as reason:
        raise UnreadableRecording(f"The recording begins as a WAV file, but {reason}.") from None
    _check(wave.form.rate, wave.form.channels)
    if config:
        _compare(config, wave.form)
    sound = _Sound(max_s)
    for frame in _wave_frames(wave):
        sound.add(frame)
    return _recorded(sound.finish(), "audio/wav", body)


def _wave_frames(wave: Wave) -> Iterator[av.AudioFrame]:
    decode = sample_decoder(wave.form)
    size = _WAVE_FRAMES * wave.form.frame_bytes
    for start in range(0, len(wave.data), size):
        yield from decode(bytes(wave.data[start : start + size]))


def _compare(config: PcmAudioConfig, form: WaveForm) -> None:
    said = (config.frame_rate, config.n_channels, config.sample_width)
    found = (form.rate, form.channels, form.sample_bytes)
    for name, one, other in zip(("frame_rate", "n_channels", "sample_width"), said, found, strict=True):
        if one != other:
            raise _differs(f"{name} {one}", f"a WAV file with {name} {other}")


def _bare(body: bytes, config: PcmAudioConfig, max_s: float) -> Recorded:
    width = config.sample_width
    if len(body) % width:
        raise BadRecording(f"{len(body)} bytes are no whole number of {width}-byte samples.")
    if len(body) / width / config.frame_rate > max_s:
        raise _too_long(max_s)
    pcm = body if width == SAMPLE_BYTES else _upper_halves(body)
    resampler = Resampler(config.frame_rate, HEARING_RATE)
    return _recorded(resampler.feed(pcm) + resampler.finish(), "audio/wav", wav(pcm, config.frame_rate))


def _upper_halves(pcm: bytes) -> bytes:
    """Halve 32-bit samples. Return 16-bit ones."""
    out = bytearray(len(pcm) // 2)
    out[0::2], out[1::2] = pcm[2::4], pcm[3::4]
    return bytes(out)


def _check(rate: int, channels: int) -> None:
    if rate not in _RATES:
        raise UnreadableRecording(f"{rate} samples a second are not supported, 4000 to 192000 are.")
    if channels not in _CHANNELS:
        raise UnreadableRecording(f"{channels} channels are not supported, 1 to 8 are.")


def _differs(said: str, found: str) -> UnreadableRecording:
    return UnreadableRecording(f"The config says {said}, the bytes are {found}.")


def _too_long(max_s: float) -> BadRecording:
    return BadRecording(f"The recording is longer than {max_s:g} seconds.")
