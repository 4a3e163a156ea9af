"""The form of samples, as the header of a speech server tells it.

Names and parameters are those that servers were seen to send: RFC 2586 and 3551 (audio/L16, whose bytes are in network
order, and audio/basic), GStreamer's `audio/x-raw,format=S16LE`, and vendors' own. Case and punctuation are ignored.
"""

import re
from collections.abc import Mapping

from tertulia.audio.riff import WaveForm

_ANY = ("", "*/*", "audio/*", "application/octet-stream", "binary/octet-stream")
_WAVE = ("audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave")
_NAMES = {
    "rate": "rate samplerate samplingrate sampleratehertz sampleratehz samplingratehertz frequency samplefrequency",
    "channels": "channels channel numchannels nchannels channelcount",
    "bits": "bits bit bitdepth bitspersample",
    "order": "endianness endian byteorder",
    "coding": "encoding codec codecs format sampleformat samplefmt",
}
_MEANINGS = {name: meaning for meaning, names in _NAMES.items() for name in names.split()}
_ORDERS = {"littleendian": "le", "little": "le", "le": "le", "bigendian": "be", "big": "be", "be": "be"}
_WORDS = {"mono": 1, "stereo": 2}
_CODING = re.compile(
    r"""
    (?: (?P<mulaw> basic | pcmu | (?:pcm|g711)? (?:mu|u) law )
    | (?P<alaw> pcma | (?:pcm|g711)? alaw )
    | (?P<network> l (?=16|24) )? (?: 1 | linearpcm | linear | lpcm | pcm | raw )?
      (?: signed (?:int|integer)? | int | i | s | (?P<float> float | f ) )?
      (?P<bits> 16 | 24 | 32 )? (?:bit)? (?P<order> le | be )? )
    (?P<rate> \d{4,6} )?
    """,
    re.VERBOSE | re.ASCII,
)
"""Codings as they are called, and as vendors put a rate behind them (`pcm_24000`)."""
_CODECS = {f"pcm_{kind}{order}" for kind in ("s16", "s24", "s32", "f32") for order in ("le", "be")}
_NUMBER = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(k?)(?:hz)?", re.ASCII)
_CAST = re.compile(r"\([a-z]{1,20}\)")
_PUNCTUATION = re.compile(r"[\W_]+")
_TELEPHONE_RATE = 8000


class NotSamples(Exception):
    """A body that is no speech of a form that can be read; the text says why, for the log."""


def form_of(content_type: str, usual_rate: int) -> WaveForm | None:
    """Read the form of sound from a header. Return it, or None if a WAV file tells it. Raises NotSamples."""
    kind, *parts = (part.strip() for part in re.split("[;,]", content_type.lower()))
    if kind in _WAVE:
        return None
    found = _parameters(parts)
    group, _, subtype = ("audio", "", "") if kind in _ANY else kind.partition("/")
    named = _CODING.fullmatch(_plain(re.sub(r"^(?:x-|vnd\.)", "", subtype)))
    if group != "audio" or named is None:
        raise NotSamples(f"it sent {kind[:60]} in place of samples")
    coding = _CODING.fullmatch(_plain(found.get("coding", "")))
    if coding is None:
        raise NotSamples(f"its samples are {found['coding'][:60]}")
    told = {**named.groupdict(), **{name: value for name, value in coding.groupdict().items() if value}}
    codec, sample_bytes, rate = _codec(told, found, usual_rate)
    rate = _number(found, "rate", int(told["rate"] or rate))
    return WaveForm(codec, rate, _number(found, "channels", 1), sample_bytes)


def _codec(told: Mapping[str, str | None], found: Mapping[str, str], usual_rate: int) -> tuple[str, int, int]:
    """Name the coding that names and parameters tell. Return it, the bytes of a sample and the usual rate."""
    for law in ("mulaw", "alaw"):
        if told[law]:
            return f"pcm_{law}", 1, _TELEPHONE_RATE
    bits = int(told["bits"] or _number(found, "bits", 32 if told["float"] else 16))
    order = found.get("order", "")
    order = told["order"] or _ORDERS.get(_plain(order), order) or ("be" if told["network"] else "le")
    codec = f"pcm_{'f' if told['float'] else 's'}{bits}{order}"
    if codec not in _CODECS:
        raise NotSamples(f"its samples have {bits} bits, {order[:60]}")
    return codec, bits // 8, usual_rate


def _parameters(parts: list[str]) -> dict[str, str]:
    pairs = (part.partition("=") for part in parts)
    texts = {_plain(name): _CAST.sub("", value).strip().strip('"') for name, _, value in pairs}
    return {_MEANINGS[name]: value for name, value in texts.items() if name in _MEANINGS}


def _plain(name: str) -> str:
    return _PUNCTUATION.sub("", name)


def _number(found: Mapping[str, str], name: str, usual: int) -> int:
    text = found.get(name, "")
    if not text:
        return usual
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    value = float(number[1]) * (1000 if number[2] else 1) if number else 0.5
    if abs(value - round(value)) > 1e-6:
        raise NotSamples(f"its {name} is {text[:60]}")
    return round(value)
