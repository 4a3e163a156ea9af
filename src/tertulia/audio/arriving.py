"""Speech as a server sends it, piece by piece: bare samples or a WAV file, of the form that its header says.

A body that is anything else under such a name (an MP3, AAC or WebM file, JSON, a page) is refused before it is taken
for samples: it would be heard as noise. A WAV file is read whatever the header calls it.
"""

import re
from collections.abc import Callable

from tertulia.audio.content_type import NotSamples, form_of
from tertulia.audio.frames import aac_frame_length, mp3_frame_length
from tertulia.audio.pcm import SAMPLE_BYTES
from tertulia.audio.riff import NotWave, WaveForm, WaveHead, read_head
from tertulia.audio.sniff import NAMES, certain_kind

_RATES = range(4000, 192_001)
_CHANNELS = range(1, 9)
_HEAD = 64
"""Bytes that tell text from samples."""
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b'{\0"\0')
_SHORTEST_LATIN = 16
_LATIN_ASCII = 0.75
_OTHERS = {
    b"\x1f\x8b\x08": "a gzip file",
    b"FORM": "an AIFF file",
    b".snd": "an AU file",
    b"\x89PNG": "a picture",
    b"GIF8": "a picture",
    b"%PDF": "a PDF file",
    b"PK\3\4": "a zip file",
    b"BZh": "a bzip2 file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"#!AMR": "an AMR file",
    b"caff": "a CAF file",
    b"FLV\1": "an FLV file",
    b"RIFX": "a WAV file in network order",
    b"RF64": "a WAV file in RF64",
    b"BW64": "a WAV file in BW64",
    b"riff": "a Wave64 file",
    b"MThd": "a MIDI file",
    b"0&\xb2u": "a Windows Media file",
}
"""First bytes of files that are no samples."""
_LONGEST_HEAD = 1 << 16
"""Bytes of a WAV file before its samples, at most."""
_MOST_FRAMES = 16_384
_WAVE_BEGINS = re.compile(rb"R(?:IFF|F64)....WAVE(?:fmt |JUNK|LIST|bext|fact|ds64)", re.DOTALL)
_BEGINNING = 16
"""The length of the beginning of a WAV file, in bytes."""

Convert = Callable[[bytes], bytes]


class ArrivingSpeech:
    """One body, read as it arrives, as 16-bit mono PCM at `rate` Hz."""

    def __init__(self, content_type: str, rate: int) -> None:
        """Read the header; one of a type or a form that is not known is refused unless a WAV file follows."""
        self._form: WaveForm | None = None
        self._refusal: NotSamples | None = None
        try:
            self._form = form_of(content_type, rate)
        except NotSamples as reason:
            self._refusal = reason
        self._rate = rate
        self._head: bytes | None = b""
        """The body as long as its kind is not certain, then None."""
        self._left: int | None = None
        """Bytes of samples that a WAV file still has, if it says so."""
        self._rest = b""
        self._last: bytes | None = None
        """The last bytes of a WAV file, which may begin another one; None: the body is no WAV file."""
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
        began = self._begin(ended=True) if self._head or self._refusal else b""
        return began + self._flush()

    def _begin(self, *, ended: bool = False) -> bytes:
        body = self._head or b""
        if self._refusal and not body.startswith(b"RIFF"):
            raise self._refusal
        refuse_other_kinds(body)
        form, start = self._form, 0
        if body.startswith(b"RIFF"):
            head = _wave_head(body)
            if head is None:
                if ended or len(body) > _LONGEST_HEAD:
                    raise NotSamples("its WAV header is incomplete")
                return b""
            form, start, self._left, self._last = head.form, head.start, head.length, b""
        if form is None:
            raise NotSamples("it sent no WAV file, though its header says so")
        self._head = self._refusal = None
        self._open(form)
        return self._samples(body[start:])

    def _open(self, form: WaveForm) -> None:
        if form.rate not in _RATES or form.channels not in _CHANNELS:
            raise NotSamples(f"{form.channels} channels of {form.rate} samples a second are not supported")
        self._frame_bytes = form.frame_bytes
        if form != WaveForm("pcm_s16le", self._rate, 1, SAMPLE_BYTES):
            self._convert, self._flush = _converter(form, self._rate)

    def _samples(self, data: bytes) -> bytes:
        if self._last is not None:
            self._last += data
            if _WAVE_BEGINS.search(self._last):
                raise NotSamples("it sent a WAV file behind another one")
            self._last = self._last[-_BEGINNING + 1 :]
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
    if other := next((name for magic, name in _OTHERS.items() if body.startswith(magic)), None):
        raise NotSamples(f"it sent {other} in place of samples")
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
    if head.startswith(_UTF_16):
        return _is_printable(head[: len(head) // 2 * 2].decode("utf-16", errors="replace"))
    try:
        text = head.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        if error.end < len(head) - 3:  # else a character that is cut off
            return _is_latin(head)
        text = head[: error.start].decode()
    return _is_printable(text)


def _is_latin(head: bytes) -> bool:
    """Tell if bytes are text in Latin-1: the upper bytes of quiet samples are characters too, so most must be ASCII."""
    ascii_share = sum(byte < 0x80 for byte in head) / len(head)
    return len(head) >= _SHORTEST_LATIN and ascii_share > _LATIN_ASCII and _is_printable(head.decode("latin-1"))


def _is_printable(text: str) -> bool:
    return len(text) > 1 and all(char.isprintable() or char in "\t\r\n" for char in text)


def _wave_head(body: bytes) -> WaveHead | None:
    try:
        return read_head(body)
    except NotWave as reason:
        raise NotSamples(f"it sent a WAV file, but {reason}") from None


def _converter(form: WaveForm, rate: int) -> tuple[Convert, Callable[[], bytes]]:
    """Open what brings whole samples of a form to 16-bit mono PCM at a rate. Return that, and what gives the rest."""
    try:
        from tertulia.audio.resample import sample_mixdown  # noqa: PLC0415 - it needs an extra
    except ImportError:
        raise NotSamples("its samples are of another form than 16-bit mono, and the extra `voice` is missing") from None
    return sample_mixdown(form, rate)
