"""Words of texts, as memory compares them: folded, without endings, in every script.

A word is cut to its first letters, so that the forms of one word meet ("allergic" and "allergies"). Scripts that do
not part words (Chinese, Japanese, Thai and others) give pairs of neighbouring characters instead.
"""

import re
import unicodedata
from collections.abc import Iterator

from tertulia.caching import cached_if_short

STEM = 6
"""Letters of a word that count."""

_UNPARTED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
)
_LETTERS = rf"(?:(?![{_UNPARTED}])[^\W_])+"
_WORD = re.compile(rf"[{_UNPARTED}]+|{_LETTERS}(?:'{_LETTERS})?")
_IS_UNPARTED = re.compile(f"[{_UNPARTED}]")
_WITHIN_SENTENCE = re.compile(r"(?<=[^\W_][ ,;:'(\"]) ?(?!I\b)[^\W\d_a-z]\w+")
_NUMBER = re.compile(r"\d+")
_MARK = re.compile("[\u0300-\u036f]")
_RUN = re.compile(r"(?:[^\W_]++[\u0300-\u036f]*+)++(?:['\u2019][^\W_]++)?")
_PART = re.compile(rf"[{_UNPARTED}]+|(?:(?![{_UNPARTED}])[^_])+")
_SUFFIXES = ("ings", "ing", "ed", "es", "s", "e")
_COMMON_WORDS = (
    "a about above after again all also always am an and any are aren't as at be because been before being but by can "
    "can't could did didn't do does doesn't doing don't down during each few for from further get gets got had has "
    "have having he her here hers him his how i i'd i'll i'm i've if in into is isn't it it's its just like likes me "
    "more most much my no nor not now of off often on once one only or other our out over own please really said same "
    "say says she should so some still such than thank thanks that that's the their them then there these they this "
    "those through to told too under until up user users usually very want wants was we were what when where which "
    "while who whom why will wish with would yes you your yours",
    "aber als am auch auf aus bei bin bis das dass dem den der des die du ein eine einen einer er es für hat habe ich "
    "ihr im ist ja kein mein mich mir mit nach nicht noch nur oder sein sich sie sind so um und uns von war wenn wer "
    "wie wir zu zum zur über",
    "au aux avec ce ces dans de du elle en est et il ils j'ai je la le les leur lui ma mais mes moi mon ne nous ou par "
    "pas pour qu que qui sa se ses son sur ta te tu une vous à être",
    "al algo como con cual cuando del el en ese esta este ha hay las lo los mi mis mucho muy o para pero por porque "
    "que si sin su sus también tengo tiene un una uno y ya yo él",
)
_COMMON = frozenset(word for words in _COMMON_WORDS for word in words.split())


def fold(text: str) -> str:
    """Fold case, width, space and punctuation of a text. Return its words, parted by single spaces."""
    return " ".join(_words(text))


def has_quote(text: str, quote: str) -> bool:
    """Look for a quote in a text. Return True if its words stand there, whole and in their order."""
    words, within = fold(quote), fold(text)
    if _IS_UNPARTED.search(words):  # nothing parts these from the words beside them
        return words.replace(" ", "") in within.replace(" ", "")
    return bool(words) and f" {words} " in f" {within} "


def stems(text: str) -> list[str]:
    """List the words of a text that say something. Return them folded and cut, in their order, with repeats."""
    found: list[str] = []
    for word in _words(text):
        if _IS_UNPARTED.match(word):
            found += [word[at : at + 2] for at in range(max(1, len(word) - 1))]
        elif word not in _COMMON and (len(word) > 1 or word.isdigit()):
            found.append(_stem(word))
    return found


def placed_words(text: str) -> Iterator[tuple[str, int, int]]:
    """Find all words of a text, the common ones too, as a search compares them: folded, without accents and endings.

    Scripts that do not part words give each character, and pairs of them. Return each with its place in the text: its
    first character, and the one after its last.
    """
    for run in _RUN.finditer(text):
        start, end = run.span()
        if run[0].isascii() or not _IS_UNPARTED.search(run[0]):
            for form in _forms(run[0]):
                yield form, start, end
            continue
        for part in _PART.finditer(run[0]):
            first, last = start + part.start(), start + part.end()
            if not _IS_UNPARTED.match(part[0]):
                yield from ((form, first, last) for form in _forms(part[0]))
                continue
            for form, at in _pairs(part[0]):
                yield form, first + at, first + at + len(form)


@cached_if_short(8192)
def _forms(word: str) -> tuple[str, ...]:
    """Fold a word. Return what a search compares of it: one word as a rule, several of one with odd characters."""
    found: list[str] = []
    for form in _words(_MARK.sub("", unicodedata.normalize("NFD", word))):
        found += (pair for pair, _ in _pairs(form)) if _IS_UNPARTED.match(form) else [_without_suffix(form)]
    return tuple(found)


def _pairs(text: str) -> list[tuple[str, int]]:
    """List the characters of a text, and the pairs of neighbours. Return each with its place."""
    return [(text[at : at + size], at) for size in (1, 2) for at in range(len(text) + 1 - size)]


def numbers(text: str) -> set[str]:
    """List the numbers that a text has in digits. Return each once."""
    return set(_NUMBER.findall(unicodedata.normalize("NFKC", text)))


def names(text: str) -> set[str]:
    """List words that begin with a capital within a sentence. Return their stems."""
    capitals = (word.strip() for word in _WITHIN_SENTENCE.findall(text))
    return {stem for word in capitals if word[0].isupper() for stem in stems(word)}


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold())


@cached_if_short(8192)
def _stem(word: str) -> str:
    return _without_suffix(word)[:STEM]


def _without_suffix(word: str) -> str:
    word = word.removesuffix("'s")
    suffix = next((end for end in _SUFFIXES if word.endswith(end) and len(word) - len(end) >= 3), "")
    stem = word[: len(word) - len(suffix)]
    if suffix in ("ing", "ed") and stem[-1:] == stem[-2:-1]:
        stem = stem[:-1]
    return stem
