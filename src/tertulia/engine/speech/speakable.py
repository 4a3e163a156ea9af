"""Speakable text from written text: no markup, no emoji, and in English numbers and symbols in words."""

# ruff: noqa: RUF001 - other dashes and signs are meant
import html
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast

from tertulia.engine.speech import numbers
from tertulia.engine.speech.names import names
from tertulia.engine.speech.numbers import Say
from tertulia.engine.speech.words import is_of_word


@dataclass(frozen=True, slots=True)
class Span:
    """`written[written_start:written_end]` is said as `text[spoken_start:spoken_end]`; either can be empty."""

    written_start: int
    written_end: int
    spoken_start: int
    spoken_end: int


@dataclass(frozen=True, slots=True)
class Speakable:
    """A text for a voice, empty where there is nothing to say. Its spans are in order and cover both texts."""

    text: str
    spans: tuple[Span, ...]


def speakable(written: str, language: str) -> Speakable:
    """Make `written`, Markdown with some HTML, speakable in a language (ISO 639-3). Return the text.

    The text has single spaces, at neither end, and no control characters, angle brackets or tags. Digits and symbols of
    other languages than English stay: their voices know how to say them.
    """
    tokens, sayings = _compiled_for(language)
    spoken, at = _Spoken(), 0
    named = deque(names(written, language))
    while True:
        found = tokens.search(written, at)
        while named and named[0][0] < at:  # within an address, for one
            named.popleft()
        is_name = bool(named) and (found is None or named[0][0] <= found.start())
        if not is_name and found is None:
            break
        start, end = named.popleft() if is_name else cast("re.Match[str]", found).span()
        if start > at:
            spoken.say(at, start, written[at:start], apart=False)
        if is_name or found is None:
            spoken.say(start, end, _name(written[start:end], language), apart=True)
        else:
            kind = str(found.lastgroup)
            spoken.say(start, end, sayings[kind](found), apart=kind not in _WITHIN_WORDS)
        at = end
    if at < len(written):
        spoken.say(at, len(written), written[at:], apart=False)
    return spoken.speakable()


def _name(digits: str, language: str) -> str:
    """Say digits that are a name one by one. Return the text; written groups stay apart."""
    groups = re.findall("[0-9]+", digits)
    if language == "eng":
        said = ", ".join(numbers.spelled(group) for group in groups)
        return f"plus {said}" if digits.startswith("+") else said
    return ("+" if digits.startswith("+") else "") + ", ".join(" ".join(group) for group in groups)


class _Spoken:
    """The spoken text as it grows: stretches of the written text, and what is said of each."""

    def __init__(self) -> None:
        self._said: list[tuple[int, int, str]] = []
        self._last = ""
        self._apart = False

    def say(self, start: int, end: int, text: str, *, apart: bool) -> None:
        """Say `text` for a stretch; what is said `apart` is never one word with what is beside it."""
        if text.startswith(" ") and self._last in {"", " "}:
            text = text[1:]
        elif text and (apart or self._apart) and is_of_word(text[0]) and is_of_word(self._last):
            text = f" {text}"
        self._apart = apart or (self._apart and not text)
        self._last = text[-1:] or self._last
        self._said.append((start, end, text))

    def speakable(self) -> Speakable:
        """Return the whole text, without a space at its end; empty if it has neither letters nor digits."""
        if not any(char.isalnum() for _, _, text in self._said for char in text):
            self._said = [(start, end, "") for start, end, _ in self._said]
        for n in reversed(range(len(self._said))):
            start, end, text = self._said[n]
            self._said[n] = start, end, text.rstrip(" ")
            if self._said[n][2]:
                break
        return Speakable("".join(text for _, _, text in self._said), tuple(self._spans()))

    def _spans(self) -> list[Span]:
        """With neighbours in one, where they are said letter by letter, and where they are not said."""
        spans: list[Span] = []
        spoken = 0
        for start, end, text in self._said:
            span = Span(start, end, spoken, spoken + len(text))
            if spans and _scale(spans[-1]) == _scale(span) in {0, 1}:
                first = spans.pop()
                span = Span(first.written_start, end, first.spoken_start, span.spoken_end)
            spans.append(span)
            spoken += len(text)
        return spans


def _scale(span: Span) -> float:
    return (span.spoken_end - span.spoken_start) / (span.written_end - span.written_start)


def _silence(_found: re.Match[str]) -> str:
    return ""


def _gap(_found: re.Match[str]) -> str:
    return " "


def _cell(found: re.Match[str]) -> str:
    """Join the cells of a table as a list. Return the text."""
    text, start, end = found.string, found.start(), found.end()
    is_edge = text[start - 1 : start] in {"", "\n"} or text[end : end + 1] in {"", "\n"}
    return "" if is_edge else ", "


def _dash(found: re.Match[str]) -> str:
    before, after = found.string[found.start() - 1 : found.start()], found.string[found.end() : found.end() + 1]
    if before.isdigit() and after.isdigit():
        return " - "
    return ", " if before.isalnum() else " "


def _entity(found: re.Match[str]) -> str:
    """Read an HTML entity. Return its character, or a space if it cannot be said."""
    char = html.unescape(found[0])
    return char if len(char) == 1 and (char.isalnum() or char in "'\"’“”$€£%+=…") else " "


def _host(found: re.Match[str]) -> str:
    return found["host"] or found["mail"] or found["domain"]


def _said_entity(found: re.Match[str]) -> str:
    char = html.unescape(found[0])
    return _SYMBOLS.get(char) or _said_part(_entity(found))


def _said_host(found: re.Match[str]) -> str:
    return " ".join(_said_part(part) for part in re.split(r"([-.@_+]|[0-9]+)", _host(found)) if part)


def _said_part(part: str) -> str:
    return numbers.number(part) if part.isascii() and part.isdigit() else _IN_ADDRESSES.get(part, part)


_PATH = r"(?:[/?#](?:[.,;:!?)*_'\"]*+[^]\[\s<>|`'\".,;:!?)*_]++)*+[/]?)?+"
"""The rest of an address, without the punctuation behind it."""

_TOP_LEVELS = r"(?<=\.(?:com|org|net|edu|gov|dev|app))|(?<=\.(?:io|ai))|(?<=\.info)"
_EMOJI = (
    "\u00a9\u00ae\u2122\u2139\u2190-\u21ff\u231a-\u23ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001faff"
)
_UNSEEN = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u20e3\ufe00-\ufe0f\ufeff"
    "\ud800-\uf8ff\ufff0-\ufffb\U000e0000-\U0010ffff"
)

_MARKUP: dict[str, tuple[str, Say]] = {
    "fence": (r"^[ \t]*+(?:`{3,}+|~{3,}+)[\w+#.-]*+[ \t]*+$", _silence),
    "rule": (r"^[ \t|:*_=-]++$", _silence),
    "mark": (
        r"^[ \t]*+(?=[>#*+•-])(?:>[ \t]?)*+(?:#{1,6}[ \t]++|[-*+•][ \t]++(?:\[[ xX]\][ \t]++)?+)?+(?<=[ \t>])",
        _silence,
    ),
    "cell": (r"[ \t]*+(?:\|[ \t]*+)++", _cell),
    "address": (
        r"<?(?:[hH]ttps?://|(?<![\w.@-])(?=www\.))(?:www\.)?+(?P<host>[\w-]++(?:\.[\w-]++)*+)(?::[0-9]++)?+"
        rf"{_PATH}>?+",
        _host,
    ),
    "mail": (r"(?<![\w.+-])<?(?P<mail>[\w+-]++(?:\.[\w+-]++)*+@[\w-]++(?:\.[\w-]++)++)>?+", _host),
    "domain_name": (
        rf"(?<![\w.@/-])(?P<domain>[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++)(?:{_TOP_LEVELS})(?![\w@]){_PATH}",
        _host,
    ),
    "tag": (r"<[A-Za-z/!?][^<>]*+>", _silence),
    "entity": (r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});", _entity),
    "note": (r"\[\^[^]\[\n]*+\]", _silence),
    "link_end": (
        r"\](?:\((?:[^]\[()\s]|\([^]\[()\s]*+\))*+(?:\s++\"[^]\"\[\n]*+\")?+\)|\[[^]\[\n]*+\])",
        _silence,
    ),
    "image": (r"!(?=\[)", _silence),
    "bracket": (r"[]\[{}]", _silence),
    "emoticon": (r"(?<!\S)(?:[:;]-?[)(DP]|<3)(?!\w)", _silence),
}
_STAR = r"(?<=[0-9)])[ ]?\*[ ]?(?=[0-9(])"
_SOFT: dict[str, tuple[str, Say]] = {
    "emoji": (rf"[ ]?[{_EMOJI}][{_EMOJI}{_UNSEEN}\u200d]*+", _silence),
    "unseen": (rf"[{_UNSEEN}]++", _silence),
    "emphasis": (r"[*`~^\\•]++|#(?=[^\W\d])", _silence),
    "underscore": (r"_++", _silence),
    "dash": (r"[ \t]++(?:--?+|[–—])[ \t]++|—|--++", _dash),
    "angle": (r"[<>]", _gap),
    "space": (r"[^\S\n]++|\n", _gap),
}
_WITHIN_WORDS = {"unseen_", "emphasis_", "link_end_"}

_IN_ADDRESSES = {".": "dot", "-": "dash", "_": "underscore", "@": "at", "+": "plus"}
_SYMBOLS = {
    "<=": "is at most", ">=": "is at least", "≤": "is at most", "≥": "is at least",
    "!=": "is not", "≠": "is not", "==": "equals", "=": "equals", "≈": "is about", "->": "to", "=>": "to", "→": "to",
    "⇒": "to", "±": "plus or minus", "+": "plus", "−": "minus", "×": "times", "÷": "divided by", "√": "square root of",
    "∞": "infinity", "&": "and", "<": "is less than", ">": "is more than", "%": "percent", "°": "degrees",
    "@": "at", "§": "section", "€": "euros", "$": "dollars", "£": "pounds", "¥": "yen", "₹": "rupees",
    "½": "one half", "¼": "one quarter", "¾": "three quarters", "⅓": "one third", "⅔": "two thirds",
}  # fmt: skip
_ENGLISH: dict[str, tuple[str, Say]] = {
    "star": (_STAR, lambda _: " times "),
    "about": (r"~(?=[$€£]?[0-9])", lambda _: "about"),
    "hash": (r"#(?=[0-9])", lambda _: "number"),
    "sharp": (r"(?<=\b[CF])#(?!\w)", lambda _: "sharp"),
    "either": (r"\band/or\b", lambda _: "and or"),
    "per": (r"(?<=[0-9])/(?=[a-z])", lambda _: "per"),
    "slash": (r"(?<=\w)/(?=\w)", lambda _: "slash"),
    "half": (r"(?<=[0-9])[½¼¾⅓⅔]", lambda found: f"and {_SYMBOLS[found[0]]}"),
    "symbol": (
        "|".join(re.escape(symbol) + ("(?=[ 0-9])" if symbol in "<>" else "") for symbol in _SYMBOLS),
        lambda found: _SYMBOLS[found[0]],
    ),
}
_ENGLISH_SAYINGS: dict[str, Say] = {
    "address": _said_host, "mail": _said_host, "domain_name": _said_host, "entity": _said_entity,
}  # fmt: skip


def _compiled(kinds: Mapping[str, tuple[str, Say]]) -> tuple[re.Pattern[str], dict[str, Say]]:
    """Compile one pattern of all kinds. Return it; its outer groups are the kinds."""
    pattern = "|".join(f"(?P<{name}_>{pattern})" for name, (pattern, _) in kinds.items())
    return re.compile(pattern, re.MULTILINE), {f"{name}_": say for name, (_, say) in kinds.items()}


_ENGLISH_MARKUP = {name: (pattern, _ENGLISH_SAYINGS.get(name, say)) for name, (pattern, say) in _MARKUP.items()}
_ENGLISH_KINDS = {
    **numbers.KINDS,
    **_ENGLISH,
    **_SOFT,
}


@cache
def _compiled_for(language: str) -> tuple[re.Pattern[str], dict[str, Say]]:
    from tertulia.engine.speech import forms  # noqa: PLC0415 - not before somebody speaks

    if language == "eng":
        return _compiled({**_ENGLISH_MARKUP, **forms.ENGLISH, **_ENGLISH_KINDS})
    return _compiled(
        {
            **_MARKUP,
            **forms.of_language(language),
            **numbers.separators(language),
            "star": (_STAR, lambda _: " × "),
            **_SOFT,
        }
    )
