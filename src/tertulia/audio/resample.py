"""Sound at another rate, as a stream: FFmpeg's resampler through PyAV (the extra `voice`).

A length of `n` samples becomes `n * rate_out / rate_in`, rounded, however long it is and however it is cut: the
resampler counts in whole numbers. It runs in the caller's thread; `av.AudioResampler` starts one for each core.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import av
from av.filter import Graph
from av.packet import Packet

from tertulia.audio.pcm import SAMPLE_BYTES
from tertulia.audio.riff import WaveForm

_TAIL_S = 0.02  # more than the resampler's filter reaches at any pair of rates from 4 to 192 kHz


@dataclass(frozen=True, slots=True)
class Form:
    """A layout of samples, in FFmpeg's names (`s16`, `fltp`, ...; `mono`, `5.1`, ...); `rate` in Hz."""

    sample_format: str
    layout: str
    rate: int


class Mixdown:
    """Frames of one form to 16-bit mono PCM at `rate_out` Hz. Channels are mixed so that none can overflow."""

    def __init__(self, form: Form, rate_out: int) -> None:
        # Held for its life alone: filters know their graph by a weak reference.
        self._graph = Graph()
        self._graph.threads = 1
        self._source = self._graph.add(
            "abuffer",
            sample_fmt=form.sample_format,
            channel_layout=form.layout,
            sample_rate=str(form.rate),
            time_base=f"1/{form.rate}",
        )
        convert = self._graph.add("aresample", sample_rate=str(rate_out))
        ask = self._graph.add("aformat", sample_fmts="s16", channel_layouts="mono", sample_rates=str(rate_out))
        self._sink = self._graph.add("abuffersink")
        self._graph.link_nodes(self._source, convert, ask, self._sink).configure()

    def feed(self, frame: av.AudioFrame | None) -> bytes:
        """Resample a frame. Return the samples that it adds; None ends the sound."""
        self._source.push(frame)
        out = bytearray()
        while True:
            try:
                mixed = cast("av.AudioFrame", self._sink.pull())
            except (BlockingIOError, EOFError):
                return bytes(out)
            out += memoryview(mixed.planes[0])[: mixed.samples * SAMPLE_BYTES]


class Resampler:
    """16-bit mono PCM from one rate to another, both in Hz, 4,000 to 192,000. Pieces may end within a sample."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._rate_in, self._rate_out = rate_in, rate_out
        self._mixdown = None if rate_in == rate_out else Mixdown(Form("s16", "mono", rate_in), rate_out)
        self._half = b""
        self._heard = self._given = 0  # samples in, samples out

    def feed(self, pcm: bytes) -> bytes:
        """Resample samples. Return those that are ready, some milliseconds less than were fed."""
        pcm = self._half + pcm
        samples, odd = divmod(len(pcm), SAMPLE_BYTES)
        self._half = pcm[len(pcm) - odd :]
        if not samples:
            return b""
        self._heard += samples
        out = self._convert(pcm[: samples * SAMPLE_BYTES])
        self._given += len(out) // SAMPLE_BYTES
        return out

    def finish(self) -> bytes:
        """End the sound. Return the rest, so that the length is right to the sample; nothing may be fed after that."""
        missing = round(self._heard * self._rate_out / self._rate_in) - self._given
        silence = bytes(int(self._rate_in * _TAIL_S) * SAMPLE_BYTES)
        return self._convert(silence)[: missing * SAMPLE_BYTES] if missing else b""

    def _convert(self, pcm: bytes) -> bytes:
        return self._mixdown.feed(frame_of(pcm, self._rate_in)) if self._mixdown else pcm


def sample_decoder(form: WaveForm) -> Callable[[bytes], Sequence[av.AudioFrame]]:
    """Open a decoder of samples. Return a function that makes frames of whole samples of all channels."""
    codec: Any = av.CodecContext.create(form.codec, "r")
    codec.thread_count = 1
    codec.sample_rate, codec.layout = form.rate, f"{form.channels}c"
    return lambda data: codec.decode(Packet(data))


def sample_mixdown(form: WaveForm, rate_out: int) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """Open what brings samples of a form to 16-bit mono PCM.

    Return a function for each next piece, and one for the end.
    """
    decode = sample_decoder(form)
    mixdown: Mixdown | None = None

    def feed(data: bytes) -> bytes:
        nonlocal mixdown
        out = bytearray()
        for frame in decode(data):
            mixdown = mixdown or Mixdown(Form(frame.format.name, frame.layout.name, frame.sample_rate), rate_out)
            frame.pts = None
            out += mixdown.feed(frame)
        return bytes(out)

    return feed, lambda: mixdown.feed(None) if mixdown else b""


def frame_of(pcm: bytes, rate: int) -> av.AudioFrame:
    """Make a frame of FFmpeg from 16-bit mono samples, at least one. Return it."""
    frame = av.AudioFrame("s16", "mono", len(pcm) // SAMPLE_BYTES)
    frame.sample_rate = rate
    frame.planes[0].update(pcm)
    return frame
