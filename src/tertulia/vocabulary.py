"""Words of texts, as memory compares them: folded, without endings, in every script.

A word is cut to its first letters, so that the forms of one word meet ("allergic" and "allergies"). Scripts that do
not part words (Chinese, Japanese, Thai and others) give pairs of neighbouring characters instead.

Words for numbers are read in English, German, French and Spanish, and the numerals of Chinese and Japanese: those that
people dictate. A word that is no number in any of these languages says none.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Final

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


def placed_words(text: str, sought: Collection[str] | None = None) -> Iterator[tuple[str, int, int]]:
    """Find all words of a text, the common ones too, as a search compares them: folded, without accents and endings.

    Scripts that do not part words give each character, and pairs of them; what stands before the first one that is
    `sought` may be left out. Return each with its place in the text: its first character, and the one after its last.
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
            begin = 0 if sought is None else _find_first(part[0], sought)
            for form, at in _pairs(part[0], begin):
                yield form, first + at, first + at + len(form)


def searched_words(text: str) -> Iterable[str]:
    """Find the words of a text as `placed_words` does, without their places. Return them, most of them once."""
    if not text.isascii():
        return (word for word, _start, _end in placed_words(text))
    return chain.from_iterable(map(_forms, dict.fromkeys(_RUN.findall(text))))


@cached_if_short(8192)
def _forms(word: str) -> tuple[str, ...]:
    """Fold a word. Return what a search compares of it: one word as a rule, several of one with odd characters."""
    found: list[str] = []
    for form in _words(_MARK.sub("", unicodedata.normalize("NFD", word))):
        found += (pair for pair, _ in _pairs(form)) if _IS_UNPARTED.match(form) else [_without_suffix(form)]
    return tuple(found)


def _pairs(text: str, begin: int = 0) -> Iterator[tuple[str, int]]:
    """Find the characters of a text from a place on, then the pairs of neighbours. Return each with its place."""
    return ((text[at : at + size], at) for size in (1, 2) for at in range(begin, len(text) + 1 - size))


def _find_first(text: str, sought: Collection[str]) -> int:
    """Find the first of some words in a text. Return its place; the text's end if there is none."""
    return min((at for word in sought if (at := text.find(word)) >= 0), default=len(text))


def numbers(text: str) -> set[str]:
    """List the numbers that a text has in digits. Return each once."""
    return set(_NUMBER.findall(unicodedata.normalize("NFKC", text)))


def names(text: str) -> set[str]:
    """List words that begin with a capital within a sentence. Return their stems."""
    capitals = (word.strip() for word in _WITHIN_SENTENCE.findall(text))
    return {stem for word in capitals if word[0].isupper() for stem in stems(word)}


def folded_stems(texts: Iterable[str]) -> set[str]:
    """List the words of texts that say something. Return each once, as words are compared."""
    return {stem for text in texts for stem in stems(text)}


def has_words(text: str, found: set[str], free: set[str], share: float) -> bool:
    """Look for the words of a text that say something among those that were found. Return True if enough are there.

    Needed are all words with a capital within a sentence, and a share of all words; those that are `free` do not count.
    """
    if not names(text) <= found | free:
        return False
    wanted = [stem for stem in dict.fromkeys(stems(text)) if stem not in free]
    return sum(stem in found for stem in wanted) >= share * len(wanted)


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


# --- Numbers that a text says ----------------------------------------------------------------------------------------

MOST_CHARS: Final = 20_000
"""Characters of a text in which numbers are looked for."""

_WORDS: Final[Mapping[int, str]] = {
    0: "zero no none null kein keine keinen zéro aucun aucune cero ninguno ninguna",
    1: "one a an once first ein eine einen eins einmal erste ersten un une premier première uno una primero",
    2: "two twice couple pair both second zwei zwo zweimal zweite zweiten beide deux deuxième dos ambos",
    3: "three third drei dritte dritten trois troisième tres tercero",
    4: "four fourth vier vierte vierten quatre quatrième cuatro",
    5: "five fifth fünf fünfte fünften cinq cinquième cinco",
    6: "six sixth sechs sechste sechsten sixième seis",
    7: "seven seventh sieben siebte siebten sept septième siete",
    8: "eight eighth acht achte achten huit huitième ocho",
    9: "nine ninth neun neunte neunten neuf neuvième nueve",
    10: "ten tenth zehn zehnte zehnten dix dixième diez",
    11: "eleven eleventh elf elfte elften onze once",
    12: "twelve twelfth zwölf zwölfte zwölften douze doce dozen dutzend douzaine docena",
    13: "thirteen thirteenth dreizehn dreizehnten treize trece",
    14: "fourteen fourteenth vierzehn vierzehnten quatorze catorce",
    15: "fifteen fifteenth fünfzehn fünfzehnten quinze quince",
    16: "sixteen sixteenth sechzehn sechzehnten seize dieciséis dieciseis",
    17: "seventeen seventeenth siebzehn siebzehnten diecisiete",
    18: "eighteen eighteenth achtzehn achtzehnten dieciocho",
    19: "nineteen nineteenth neunzehn neunzehnten diecinueve",
    20: "twenty twentieth zwanzig zwanzigste zwanzigsten vingt vingts veinte",
    30: "thirty thirtieth dreißig dreissig dreißigste dreißigsten trente treinta",
    40: "forty fortieth vierzig quarante cuarenta",
    50: "fifty fünfzig cinquante cincuenta",
    60: "sixty sechzig soixante sesenta",
    70: "seventy siebzig septante setenta",
    80: "eighty achtzig huitante ochenta",
    90: "ninety neunzig nonante noventa",
}
_HUNDREDS: Final = "hundred hundert cent cents cien ciento"
_THOUSANDS: Final = "thousand tausend mille mil"
_HALVES: Final = frozenset(("half", "halb", "halbe", "halben", "halber", "demi", "demie", "medio", "media"))
_BETWEEN: Final = frozenset(("and", "und", "et", "y", "of"))
_ALIKE: Final = {"once": (1, 11)}
"""A word that is one number in English and another one in Spanish."""

_ARTICLES: Final = frozenset(("a", "an", "ein", "eine", "einen", "un", "une", "una"))


def _fold(text: str) -> str:
    """Fold case, width and accents of a text. Return it."""
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", _MARK.sub("", plain))


_VALUES: Final = {word: value for value, words in _WORDS.items() for word in _fold(words).split()}
_VALUES.update(dict.fromkeys(_HUNDREDS.split(), 100), **dict.fromkeys(_THOUSANDS.split(), 1000))
_UNITS: Final = "|".join(sorted((word for word, value in _VALUES.items() if 0 < value < 10), key=len, reverse=True))
_GERMAN: Final = re.compile(rf"({_UNITS})und(\w+?)(?:sten|ste)?")
_SPANISH: Final = re.compile(r"veinti(\w+)")
_DIGITS: Final = re.compile(r"\d+(?:[.,' \u00a0\u202f]\d+)*")
_TOKEN: Final = re.compile(r"\d+(?:[.,']\d+)*|[^\W\d_]+|[^\w\s-]")
_NUMERALS: Final = re.compile(
    "[\u3007\u96f6\u4e00\u4e8c\u4e24\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341\u767e\u5343\u4e07]+"
)


def said_numbers(text: str) -> frozenset[float]:
    """Find the numbers that a text says, in digits and in words. Return each once, as a float.

    Digits that can be read in two ways (`1,200`) give both.
    """
    text = text[:MOST_CHARS]
    folded = _fold(text)
    found = {number for run in _DIGITS.findall(folded) for number in _readings(run)}
    found.update(_in_words(_TOKEN.findall(folded)))
    found.update(map(_numerals, _NUMERALS.findall(folded)))
    found.update(unicodedata.numeric(each) for each in text if unicodedata.category(each) == "No")
    return frozenset(found)


def digit_runs(text: str) -> list[tuple[str, Sequence[float]]]:
    """Find what stands in digits in a text. Return each run of digits, with the numbers that it may mean."""
    runs = _DIGITS.findall(_fold(text[:MOST_CHARS]))
    return [(re.sub(r"\D", "", run), list(_readings(run))) for run in runs]


def without_number_words(text: str, said: frozenset[float]) -> str:
    """Take the words out of a text that are numbers of `said`. Return the rest."""
    kept = [word for word in text.split() if not (found := said_numbers(word)) or not found <= said]
    return " ".join(kept)


def said_digits(text: str) -> str:
    """Join the digits of a text, those that are said in words too, as of a telephone number. Return them."""
    tokens = _TOKEN.findall(_fold(text[:MOST_CHARS]))
    return "".join(_digits(token) for token in tokens)


def _digits(token: str) -> str:
    if token[0].isdigit():
        return re.sub(r"\D", "", token)
    value = _VALUES.get(token, 10)
    return str(value) if value < 10 and token not in ("a", "an", "no") else ""


def _readings(run: str) -> Iterator[float]:
    """Read digits with marks between them as one number, as a decimal, and part by part. Yields each number."""
    parts = re.split(r"\D", run)
    yield from map(float, parts)
    if len(parts) > 1:
        yield float("".join(parts))
        yield float(f"{''.join(parts[:-1])}.{parts[-1]}")


def _in_words(tokens: Sequence[str]) -> Iterator[float]:
    """Read numbers of words that stand side by side as people add them up. Yields each number."""
    run: list[float] = []
    for place, token in enumerate(tokens):
        value = _value(token)
        if token in _ARTICLES and tokens[place + 1 : place + 2] and tokens[place + 1] in _HALVES:
            continue  # "a half" is no one
        if value is not None:
            run.append(value)
            yield from map(float, _ALIKE.get(token, ()))
        elif token in _HALVES:
            yield from ([_sum(run)[-1] + 0.5] if run else [0.5])
        elif token not in _BETWEEN or not run or _ends(tokens, place + 1):
            yield from _sum(run)
            run = []
    yield from _sum(run)


def _ends(tokens: Sequence[str], place: int) -> bool:
    """Look behind a word such as "and". Return True if no number goes on there."""
    following = tokens[place : place + 2]
    return not any(_value(token) is not None or token in _HALVES for token in following)


def _value(token: str) -> float | None:
    """Look up a word, or a number in digits that words may follow ("20 thousand"). Return its value, or None."""
    if token in _VALUES:
        return _VALUES[token]
    if token.isdecimal():
        return float(token)
    german, spanish = _GERMAN.fullmatch(token), _SPANISH.fullmatch(token)
    if german and german[2] in _VALUES:
        return _VALUES[german[1]] + _VALUES[german[2]]
    if spanish and spanish[1] in _VALUES:
        return 20 + _VALUES[spanish[1]]
    return None


def _sum(run: Sequence[float]) -> list[float]:
    """Add up the values of a run: "four hundred and two" is one number, "nine seven" are two. Return them."""
    made: list[float] = []
    whole, part, last = 0.0, 0.0, 0.0
    for value in run:
        if value == 1000:
            whole, part = whole + max(part, 1) * 1000, 0.0
        elif value in {100, 12} and 1 < part < 20 and value > part:
            part *= value
        elif value == 20 and part == 4:  # quatre-vingt
            part = 80
        elif value == 100 or not last or _goes_on(last, part, value):
            part = max(part, 1) * 100 if value == 100 else part + value
        else:
            made.append(whole + part)
            whole, part = 0.0, value
        last = value
    made = [*made, whole + part] if run else made
    years = [100 * first + second for first, second in pairwise(made) if 10 < first < 21 and 9 < second < 100]
    return [*made, *years]


def _goes_on(last: float, part: float, value: float) -> bool:
    """Say if a value is added to the number before it: a smaller one, of the places that are free."""
    if last >= 100:
        return value < 100
    if part % 100 in {60, 80}:  # soixante-quinze
        return value < 20
    free = last >= 20 or part % 100 in {70, 90}  # quatre-vingt-dix-sept
    return free and last % 10 == 0 and value < 10


def _numerals(run: str) -> float:
    """Read a number in Chinese numerals. Return it."""
    whole, part = 0.0, 0.0
    for numeral in run:
        value = 0.0 if numeral == "\u3007" else unicodedata.numeric(numeral)
        if value >= 10:
            whole += max(part, 1) * value
            part = 0.0
        else:
            part = part * 10 + value
    return whole + part
