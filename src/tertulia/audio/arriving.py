"""Speech as a server sends it, piece by piece: bare samples or a WAV file, of the form that its header says.

A body that is anything else under such a name (an MP3, AAC or WebM file, JSON, a page) is refused before it is taken
for samples: it would be heard as noise. Names and parameters are those that servers were seen to send: RFC 2586 and
3551 (audio/L16, whose bytes are in network order), and `endianness`, `bits` and others of vendors.
"""

import re
from collections.abc import Callable, Mapping

from tertulia.audio.frames import aac_frame_length, mp3_frame_length
from tertulia.audio.pcm import SAMPLE_BYTES
from tertulia.audio.riff import NotWave, WaveForm, WaveHead, read_head
from tertulia.audio.sniff import NAMES, certain_kind

_PCM = ("audio/pcm", "audio/x-pcm", "audio/raw", "audio/x-raw", "audio/l16", "audio/l24")
_BARE = (*_PCM, "application/octet-stream", "binary/octet-stream", "")
_WAVE = ("audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave")
_NETWORK = {"audio/l16": 16, "audio/l24": 24}
_RATE_NAMES = ("rate", "samplerate", "sample-rate", "sample_rate")
_CHANNEL_NAMES = ("channels", "channel")
_BIT_NAMES = ("bits", "bit", "bitdepth", "bit-depth", "bits-per-sample", "bits_per_sample")
_ORDER_NAMES = ("endianness", "endian", "byte-order", "byteorder")
_CODING_NAMES = ("encoding", "codec", "format")
_ORDERS = {"little-endian": "le", "little": "le", "le": "le", "big-endian": "be", "big": "be", "be": "be"}
_CODING = re.compile(r"(?:pcm_)?(?P<kind>[sf])(?P<bits>16|24|32)_?(?P<order>le|be)")
_PLAIN_CODINGS = frozenset({"", "pcm", "linear16", "signed-integer", "signed-int", "signed"})
_RATES = range(4000, 192_001)
_CHANNELS = range(1, 9)
_HEAD = 64
"""Bytes that tell text from samples."""
_LONGEST_HEAD = 1 << 16
"""Bytes of a WAV file before its samples, at most."""
_MOST_FRAMES = 16_384

Convert = Callable[[bytes], bytes]


class NotSamples(Exception):
    """A body that is no speech of a form that can be read; the text says why, for the log."""


class ArrivingSpeech:
    """One body, read as it arrives, as 16-bit mono PCM at `rate` Hz."""

    def __init__(self, content_type: str, rate: int) -> None:
        """Read the header. Raises NotSamples for a type or a form that is not known."""
        self._form = _form_of(content_type, rate)
        self._rate = rate
        self._head: bytes | None = b""
        """The body as long as its kind is not certain, then None."""
        self._left: int | None = None
        """Bytes of samples that a WAV file still has, if it says so."""
        self._rest = b""
        self._convert: Convert = bytes
        self._flush: Callable[[], bytes] = bytes
        self._frame_bytes = SAMPLE_BYTES

    def feed(self, chunk: bytes) -> bytes:
        """Take the next piece. Return the sound that is certain by now. Raises NotSamples."""
        if self._head is None:
            return self._samples(chunk)
        self._head += chunk
        return self._begin() if _is_certain(self._head) else b""

    def finish(self) -> bytes:
        """Take the end of the body. Return the rest of the sound. Raises NotSamples."""
        began = self._begin(ended=True) if self._head else b""
        return began + self._flush()

    def _begin(self, *, ended: bool = False) -> bytes:
        body = self._head or b""
        refuse_other_kinds(body)
        form, start = self._form, 0
        if body.startswith(b"RIFF"):
            head = _wave_head(body)
            if head is None:
                if ended or len(body) > _LONGEST_HEAD:
                    raise NotSamples("its WAV header is incomplete")
                return b""
            form, start, self._left = head.form, head.start, head.length
        if form is None:
            raise NotSamples("it sent no WAV file, though its header says so")
        self._head = None
        self._open(form)
        return self._samples(body[start:])

    def _open(self, form: WaveForm) -> None:
        if form.rate not in _RATES or form.channels not in _CHANNELS:
            raise NotSamples(f"{form.channels} channels of {form.rate} samples a second are not supported")
        self._frame_bytes = form.frame_bytes
        if form != WaveForm("pcm_s16le", self._rate, 1, SAMPLE_BYTES):
            self._convert, self._flush = _converter(form, self._rate)

    def _samples(self, data: bytes) -> bytes:
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        data = self._rest + data
        whole = len(data) // self._frame_bytes * self._frame_bytes
        self._rest = data[whole:]
        step = _MOST_FRAMES * self._frame_bytes
        return b"".join(self._convert(data[at : min(at + step, whole)]) for at in range(0, whole, step))


def refuse_other_kinds(body: bytes) -> None:
    """Look at the first bytes of what should be samples or a WAV file. Raises NotSamples if they are another kind."""
    kind = certain_kind(body)
    if kind not in {None, "wav"}:
        raise NotSamples(f"it sent {NAMES[kind]} in place of samples" if kind else "")
    for name, length_of in (("an MP3 file", mp3_frame_length), ("AAC", aac_frame_length)):
        length = length_of(body[:8])
        if length and (len(body) == length or (length_of(body[length : length + 8]))):
            raise NotSamples(f"it sent {name} in place of samples")
    if _is_text(body[:_HEAD]):
        raise NotSamples("it sent text in place of samples")


def _is_certain(body: bytes) -> bool:
    """Tell if enough has come to know the kind of a body: up to the second frame, if it begins as a frame."""
    length = mp3_frame_length(body[:8]) or aac_frame_length(body[:8])
    return len(body) >= max(_HEAD, length + 8)


def _is_text(head: bytes) -> bool:
    try:
        text = head.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        if error.end < len(head) - 3:  # else a character that is cut off
            return False
        text = head[: error.start].decode()
    return len(text) > 1 and all(char.isprintable() or char in "\t\r\n" for char in text)


def _wave_head(body: bytes) -> WaveHead | None:
    try:
        return read_head(body)
    except NotWave as reason:
        raise NotSamples(f"it sent a WAV file, but {reason}") from None


def _form_of(content_type: str, usual_rate: int) -> WaveForm | None:
    """Read the form of sound from a header. Return it, or None if a WAV file tells it."""
    kind, *parts = (part.strip() for part in content_type.lower().split(";"))
    if kind in _WAVE:
        return None
    if kind not in _BARE:
        raise NotSamples(f"it sent {kind[:60]} in place of samples")
    found = {name.strip(): value.strip().strip('"') for name, _, value in (part.partition("=") for part in parts)}
    bits = _number(found, _BIT_NAMES, _NETWORK.get(kind, 16))
    order = _text(found, _ORDER_NAMES) or ("be" if kind in _NETWORK else "le")
    sample_kind, coding = "s", _text(found, _CODING_NAMES)
    if named := _CODING.fullmatch(coding):
        sample_kind, bits, order = named["kind"], int(named["bits"]), named["order"]
    elif coding not in _PLAIN_CODINGS:
        raise NotSamples(f"its samples are {coding[:60]}")
    codec = f"pcm_{sample_kind}{bits}{_ORDERS.get(order, '')}"
    if codec not in _CODECS:
        raise NotSamples(f"its samples have {bits} bits, {order[:60]}")
    rate, channels = _number(found, _RATE_NAMES, usual_rate), _number(found, _CHANNEL_NAMES, 1)
    return WaveForm(codec, rate, channels, bits // 8)


_CODECS = {f"pcm_{kind}{order}" for kind in ("s16", "s24", "s32", "f32") for order in ("le", "be")}


def _text(found: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((found[name] for name in names if name in found), "")


def _number(found: Mapping[str, str], names: tuple[str, ...], usual: int) -> int:
    text = _text(found, names)
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotSamples(f"its {names[0]} is {text[:60]}")
    return int(text)


def _converter(form: WaveForm, rate: int) -> tuple[Convert, Callable[[], bytes]]:
    """Open what brings whole samples of a form to 16-bit mono PCM at a rate. Return that, and what gives the rest."""
    try:
        from tertulia.audio.resample import sample_mixdown  # noqa: PLC0415 - it needs an extra
    except ImportError:
        raise NotSamples("its samples are of another form than 16-bit mono, and the extra `voice` is missing") from None
    return sample_mixdown(form, rate)
