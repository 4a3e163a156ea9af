"""Statements of a model beside the words that they come from: what was not said does not count.

A text is borne out by words, names and numbers that are in its sources. The value of a field is compared with the
message that it comes from: its numbers may be said in words there, its times and dates as people say them.

Words for numbers are read in English, German, French and Spanish, and the numerals of Chinese and Japanese: those that
people dictate. A word that is no number in any of these languages says none.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, cast

from tertulia.vocabulary import fold, names, numbers, stems

FOUND_OF_VALUE: Final = 0.75
"""The share of the words of a value that its message must have, or the question that it answers."""

_FEW_DIGITS: Final = 3  # so many may be in any number by chance
_TIME: Final = re.compile(r"(\d{1,2}):(\d{2})(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?")
_DATE: Final = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?(?:[T ](.+))?")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NOT: Final = _set(
    "no none nothing not never nope without n a nein kein keine keinen nichts nicht ohne non aucun aucune rien pas "
    "jamais sans ningun ningún ninguno ninguna nada sin nunca"
)
_YES: Final = _set("yes ja oui sí si")
_HALF: Final = _set("half halb demi demie media medio")
_QUARTER: Final = _set("quarter viertel quart cuarto")
_BEFORE_THE_HOUR: Final = _set("to till before vor moins menos halb")
_NOON: Final = _set("noon midday mittag midi mediodía")
_MIDNIGHT: Final = _set("midnight mitternacht minuit medianoche")
_FROM_NOW: Final = _set(
    "today tonight tomorrow yesterday now ago next last this since day days week weeks month months year years "
    "monday tuesday wednesday thursday friday saturday sunday weekend "
    "heute morgen übermorgen gestern vorgestern jetzt vor seit tag tage tagen woche wochen monat monaten monate jahr "
    "jahren nächste nächsten nächster letzte letzten montag dienstag mittwoch donnerstag freitag samstag sonnabend "
    "sonntag aujourd'hui demain hier maintenant jour jours semaine semaines mois an ans année prochain prochaine "
    "dernier dernière depuis lundi mardi mercredi jeudi vendredi samedi dimanche hoy mañana ayer ahora día días semana "
    "semanas mes meses año años próximo próxima pasado pasada hace desde lunes martes miércoles jueves viernes sábado "
    "domingo"
)
_MONTHS: Final = tuple(
    _set(names)
    for names in (
        "january jan januar jänner janvier enero",
        "february feb februar février febrero",
        "march märz mars marzo",
        "april apr avril abril",
        "may mai mayo",
        "june juni juin junio",
        "july juli juillet julio",
        "august aug août agosto",
        "september sept septembre septiembre",
        "october oct oktober octobre octubre",
        "november nov novembre noviembre",
        "december dec dezember décembre diciembre",
    )
)


def is_borne_out(text: str, sources: Sequence[str], free: set[str], share: float) -> bool:
    """Compare a text with the texts that it comes from. Return True if enough of its words are in them.

    Needed are all numbers, all words with a capital within a sentence, and a share of all words; words that say
    nothing, and those that are `free`, do not count.
    """
    if not numbers(text) <= {number for each in sources for number in numbers(each)}:
        return False
    return _has_words(text, folded_stems(sources), free, share)


def folded_stems(texts: Iterable[str]) -> set[str]:
    """List the words of texts that say something. Return each once, as words are compared."""
    return {stem for text in texts for stem in stems(text)}


def _has_words(text: str, found: set[str], free: set[str], share: float) -> bool:
    if not names(text) <= found | free:
        return False
    wanted = [stem for stem in dict.fromkeys(stems(text)) if stem not in free]
    return sum(stem in found for stem in wanted) >= share * len(wanted)


@dataclass(frozen=True)
class Said:
    """A message that says something, and the words before it that it may answer."""

    text: str
    before: str = ""

    @cached_property
    def _meant(self) -> str:
        """The message; with the question if it says nothing alone, as a yes."""
        return self.text if stems(self.text) else f"{self.before} {self.text}"

    @cached_property
    def _numbers(self) -> frozenset[float]:
        return said_numbers(self._meant)

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(fold(self._meant).split())

    def borne(self, value: Any, schema: Mapping[str, Any]) -> Any:
        """Take from a value what was said. Return it, or None if nothing was.

        A choice of an `enum`, and true or false, are readings of what was said: their words are not looked for.
        """
        if value is None or isinstance(value, bool) or _is_choice(value, schema):
            return value
        if isinstance(value, str):
            return value if self._says(value) else None
        if isinstance(value, (int, float)):
            return value if abs(value) in self._numbers else None
        if isinstance(value, list):
            return self._items(cast("list[Any]", value), schema)
        return self._fields(cast("Mapping[str, Any]", value), schema) if isinstance(value, Mapping) else None

    def _items(self, values: list[Any], schema: Mapping[str, Any]) -> list[Any] | None:
        kept = [self.borne(each, schema.get("items", {})) for each in values]
        kept = [each for each in kept if each is not None]
        return kept if kept or not values else None

    def _fields(self, value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any] | None:
        properties: Mapping[str, Any] = schema.get("properties", {})
        kept = {name: self.borne(each, properties.get(name, {})) for name, each in value.items()}
        kept = {name: each for name, each in kept.items() if each is not None}
        return kept if kept or not value else None

    def _says(self, text: str) -> bool:
        if time := _TIME.fullmatch(text.strip()):
            return self._says_time(int(time[1]), int(time[2]))
        if date := _DATE.fullmatch(text.strip()):
            rest = date[4]
            return self._says_date(int(date[2]), int(date[3] or 0)) and (rest is None or self._says(rest))
        words = fold(text).split()
        if not stems(text) or _NOT.issuperset(words) or _YES.issuperset(words):
            return self._says_little(words)
        return self._says_numbers(text) and self._says_words(text)

    def _says_little(self, words: Sequence[str]) -> bool:
        """Look for an answer of small words ("no", "none", "yes, please"), which others can stand for."""
        if _NOT.issuperset(words):
            return bool(words) and not _NOT.isdisjoint(self._words)
        return bool(words) and (_YES.issuperset(words) or not self._words.isdisjoint(words))

    def _says_numbers(self, text: str) -> bool:
        digits = said_digits(self._meant)
        return all(
            not self._numbers.isdisjoint(readings) or (len(run) >= _FEW_DIGITS and run in digits)
            for run, readings in digit_runs(text)
        )

    def _says_words(self, text: str) -> bool:
        rest = re.sub(r"\d+", " ", without_number_words(text, self._numbers))
        return _has_words(rest, folded_stems((self.text, self.before)), set(_NOT), FOUND_OF_VALUE)

    def _says_time(self, hour: int, minute: int) -> bool:
        if minute == 0 and not self._words.isdisjoint(_NOON if hour == 12 else _MIDNIGHT if hour in {0, 24} else ()):
            return True
        if 100 * hour + minute in self._numbers:  # "1530"
            return True
        past = self._says_hour(hour) and (minute == 0 or self._says_minutes(minute))
        until = not self._words.isdisjoint(_BEFORE_THE_HOUR) and minute > 0
        return past or (until and self._says_hour(hour + 1) and self._says_minutes(60 - minute))

    def _says_hour(self, hour: int) -> bool:
        return not self._numbers.isdisjoint({hour, hour % 12, 12 if hour % 12 == 0 else hour, hour % 24})

    def _says_minutes(self, minutes: int) -> bool:
        said = {30: _HALF, 15: _QUARTER, 45: _QUARTER}.get(minutes, frozenset[str]())
        return minutes in self._numbers or not self._words.isdisjoint(said)

    def _says_date(self, month: int, day: int) -> bool:
        """Look for a date: its day and, if a month is named, its month; or a day that is counted from now."""
        if not self._words.isdisjoint(_FROM_NOW):
            return True
        named = [number for number, names in enumerate(_MONTHS, 1) if not self._words.isdisjoint(names)]
        months = named or ([month] if month in self._numbers or day else [])
        return month in months and (day == 0 or day in self._numbers)


def _is_choice(value: Any, schema: Mapping[str, Any]) -> bool:
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    return any(_is_choice(value, each) for each in schema.get("anyOf", ()))


# --- Numbers that a text says ---------------------------------------------------------------------------------------

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
_MARK: Final = re.compile("[\u0300-\u036f]")


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
