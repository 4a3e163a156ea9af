"""English numbers as they are said: dates, times, money, measures, ordinals, fractions, telephone numbers, the rest.

Every kind is a pattern and what says its match. The patterns are possessive or short, so none goes far back.
"""

# ruff: noqa: RUF001, SIM905 - other dashes and spaces are meant; words read better in a line than in a list
import re
from collections.abc import Callable, Mapping

Say = Callable[[re.Match[str]], str]

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "- ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = [
    (10**15, "quadrillion"),
    (10**12, "trillion"),
    (10**9, "billion"),
    (10**6, "million"),
    (1000, "thousand"),
    (100, "hundred"),
]
_MOST_DIGITS = 17
"""Longer numbers are said digit by digit."""

_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_MONTHS = "January February March April May June July August September October November December".split()
_CURRENCIES = {
    "$": ("dollar", "dollars", "cents"),
    "€": ("euro", "euros", "cents"),
    "£": ("pound", "pounds", "pence"),
    "¥": ("yen", "yen", ""),
    "₹": ("rupee", "rupees", "paise"),
    "₩": ("won", "won", ""),
    "₽": ("ruble", "rubles", "kopecks"),
    "₺": ("lira", "lira", "kurus"),
    "₪": ("shekel", "shekels", "agorot"),
}
_LETTERED = {
    "US$": ("US dollar", "US dollars", "cents"),
    "A$": ("Australian dollar", "Australian dollars", "cents"),
    "C$": ("Canadian dollar", "Canadian dollars", "cents"),
    "R$": ("real", "reais", "centavos"),
    "CHF": ("Swiss franc", "Swiss francs", "centimes"),
    "SFr.": ("Swiss franc", "Swiss francs", "centimes"),
    "Fr.": ("franc", "francs", "centimes"),
    "EUR": ("euro", "euros", "cents"),
    "USD": ("US dollar", "US dollars", "cents"),
    "GBP": ("pound", "pounds", "pence"),
    "JPY": ("yen", "yen", ""),
    "INR": ("rupee", "rupees", "paise"),
    "SEK": ("Swedish krona", "Swedish kronor", "öre"),
    "NOK": ("Norwegian krone", "Norwegian kroner", "øre"),
    "DKK": ("Danish krone", "Danish kroner", "øre"),
    "kr": ("krone", "kroner", "øre"),
    "PLN": ("zloty", "zlotys", "groszy"),
    "zł": ("zloty", "zlotys", "groszy"),
}
_EVERY_CURRENCY = _CURRENCIES | _LETTERED
_SCALE_LETTERS = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "bn": "billion", "B": "billion"}
_UNITS = {
    **{
        letters: (one, f"{one}s")
        for letters, one in {
            "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "mi": "mile", "yd": "yard",
            "kg": "kilogram", "g": "gram", "mg": "milligram", "lb": "pound", "lbs": "pound", "oz": "ounce",
            "l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter", "h": "hour", "hr": "hour",
            "hrs": "hour", "min": "minute", "mins": "minute", "s": "second", "sec": "second", "ms": "millisecond",
            "KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte",
            "W": "watt", "kW": "kilowatt", "kWh": "kilowatt hour", "V": "volt", "kcal": "kilocalorie",
            "°": "degree", "m²": "square meter", "km²": "square kilometer", "m³": "cubic meter",
        }.items()
    },
    **{
        letters: (words, words)
        for letters, words in {
            "%": "percent", "k": "thousand", "K": "thousand", "M": "million", "B": "billion", "bn": "billion",
            "Hz": "hertz", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz",
        }.items()
    },
    "ft": ("foot", "feet"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "m/s": ("meter per second", "meters per second"),
    "mph": ("mile per hour", "miles per hour"),
}  # fmt: skip


_GAP = "[ \u00a0\u202f]?"
_GROUPED = "|".join(
    (
        r"[0-9]{1,3}(?:['’][0-9]{3})++(?:\.[0-9]++)?+",  # 1'234.50, of Switzerland
        r"[0-9]{1,3}(?:\.[0-9]{3})++,[0-9]++",  # 1.234,56
        r"[0-9]{1,3}(?:\.[0-9]{3}){2,}+",  # 10.000.000
        r"[0-9]{1,3}(?:[\u00a0\u202f][0-9]{3})++(?:,[0-9]++)?+",
        r"(?<![0-9])(?<![0-9] )[1-9][0-9]?(?:[ ][0-9]{3}){2,}+(?:,[0-9]++)?+(?! [0-9])",  # 1 234 567
        r"(?<![0-9])(?<![0-9] )[1-9][0-9]{2}(?:[ ][0-9]{3})+[ ]000(?:,[0-9]++)?+(?! [0-9])",  # no list of hundreds
        r"(?<![0-9])(?<![0-9] )[1-9][0-9]{0,2}[ ]000(?:,[0-9]++)?+(?! [0-9])",
    )
)
"""Numbers that only a European writes: thousands between points or spaces, decimals behind a comma."""

_DECIMAL_COMMA = r"[0-9]++,[0-9]{1,2}(?![0-9,])"
"""Decimals behind a comma, if a currency or a unit says that this is one number."""

_THOUSANDS = r"[1-9][0-9]{0,2}(?:[. ][0-9]{3})++(?:,[0-9]{1,2})?+(?![0-9,])"
"""The same with thousands apart, if a currency stands behind it, as Europeans put it."""

_EUROPEAN = re.compile(rf"{_GROUPED}|{_DECIMAL_COMMA}")
_BEFORE_CURRENCY = re.compile(rf"{_GROUPED}|{_DECIMAL_COMMA}|{_THOUSANDS}")
_N = (
    rf"(?:(?:{_GROUPED})(?![.,]?[0-9])"
    r"|(?:[0-9]{1,2}(?:,[0-9]{2}(?=,)){1,6}+,[0-9]{3}(?![0-9])|[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?+)"
)
"""A number, also as Indians group it: 1,23,456."""


def cardinal(number: int) -> str:
    """Write a number from 0 to below 10**18 in words. Return them."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")
    size, scale = next((size, scale) for size, scale in _SCALES if number >= size)
    many, rest = divmod(number, size)
    return f"{cardinal(many)} {scale}" + (f" {cardinal(rest)}" if rest else "")


def ordinal(number: int) -> str:
    """Which one in an order: first, twenty-second, one hundredth."""
    words = cardinal(number)
    last = re.split(r"[ -]", words)[-1]
    rest = words[: len(words) - len(last)]
    if last in _ORDINALS:
        return rest + _ORDINALS[last]
    return rest + (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")


def year(number: int) -> str:
    """Write a number as a year is said. Return the words: nineteen ninety-nine, two thousand nine."""
    century, rest = divmod(number, 100)
    if not 11 <= century < 100 or (century % 10 == 0 and rest < 10):
        return cardinal(number)
    return f"{cardinal(century)} " + ("hundred" if not rest else f"oh {_ONES[rest]}" if rest < 10 else cardinal(rest))


def spelled(digits: str) -> str:
    """Digit by digit."""
    return " ".join(_ONES[int(digit)] for digit in digits)


def quantity(written: str) -> str:
    """Say how much: `1,234.5`, `1999`, `.5`, and as Europeans write it, `1.234,5` and `1 000 000`. Return the words."""
    whole, _, decimals = plain(written).partition(".")
    words = [cardinal(int(whole)) if len(whole) <= _MOST_DIGITS else spelled(whole)] if whole else []
    return " ".join([*words, "point", spelled(decimals)] if decimals else words)


def plain(written: str) -> str:
    """Take the separators of thousands out of a number. Return it with a point before its decimals."""
    if re.search("['’]", written):
        return re.sub("['’]", "", written)
    return _from_european(written) if _EUROPEAN.fullmatch(written) else written.replace(",", "")


def _from_european(written: str) -> str:
    return plain(written) if re.search("['’]", written) else re.sub(r"[^0-9,]", "", written).replace(",", ".")


def number(written: str) -> str:
    """Write a number that stands alone: a quantity, a year, or a name in digits (`0049`). Return the words."""
    if written.isdigit():
        if len(written) == 4 and 1100 <= int(written) < 2100:
            return year(int(written))
        if written[0] == "0" or (len(written) >= 7 and not written.endswith("000")):
            return spelled(written)
    return quantity(written)


def _date(found: re.Match[str]) -> str:
    day = f"{_MONTHS[int(found['month']) - 1]} {ordinal(int(found['day']))}, {year(int(found['year']))}"
    return f"{day} at" if found[0].endswith("T") else day


def _numeric_date(found: re.Match[str]) -> str:
    """Say a date in numbers: month first between slashes, if that is a month, day first between dots or hyphens."""
    first, second = int(found["first"]), int(found["second"])
    day, month = (second, first) if found["between"] == "/" and first <= 12 else (first, second)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return f"{cardinal(first)}, {cardinal(second)}, {year(int(found['in_year']))}"
    return f"{_MONTHS[month - 1]} {ordinal(day)}, {year(int(found['in_year']))}"


def _named_date(found: re.Match[str]) -> str:
    return f"{month(found['name'])} {ordinal(int(found['day_of']))}"


def month(written: str) -> str:
    """Write the name of a month in full. Return it."""
    return next(name for name in _MONTHS if name.startswith(written[:3]))


def month_name(number: int) -> str:
    """Name a month by its number, from 1 on. Return the name."""
    return _MONTHS[number - 1]


def _time(found: re.Match[str]) -> str:
    hour, minute, seconds, half = int(found["hour"]), int(found["minute"]), int(found["seconds"] or 0), found["half"]
    full = "" if half else "hundred" if hour > 12 else "o'clock"
    minutes = full if minute == 0 else f"oh {_ONES[minute]}" if minute < 10 else cardinal(minute)
    second = f"and {cardinal(seconds)} {'second' if seconds == 1 else 'seconds'}" if seconds else ""
    return " ".join(part for part in (cardinal(hour), minutes, second, _half(half)) if part)


def _half(half: str | None) -> str:
    return f"{half.strip()[0].upper()}M" if half else ""


def _money(found: re.Match[str]) -> str:
    sign, written = found["sign"] or found["sign_after"], found["amount"] or found["amount_after"]
    written = _from_european(written) if found["sign_after"] and _BEFORE_CURRENCY.fullmatch(written) else plain(written)
    one, many, cents = _EVERY_CURRENCY[sign]
    if found["scale"]:
        return f"{quantity(written)} {_SCALE_LETTERS.get(found['scale'], found['scale'])} {many}"
    whole, _, decimals = written.partition(".")
    if len(decimals) != 2 or not cents:
        return f"{quantity(written)} {one if written == '1' else many}"
    money = f"{quantity(whole)} {one if whole == '1' else many}"
    if decimals == "00":
        return money
    small = f"{cardinal(int(decimals))} {'cent' if decimals == '01' and cents == 'cents' else cents}"
    return small if whole == "0" else f"{money} and {small}"


def _measure(found: re.Match[str]) -> str:
    one, many = _UNITS[found["unit"]]
    return f"{quantity(found['measured'])} {one if found['measured'] == '1' else many}"


def _decade(found: re.Match[str]) -> str:
    words = number(found["decade_year"])
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def _fraction(found: re.Match[str]) -> str:
    over, under = int(found["over"]), int(found["under"])
    if (over, under) in {(24, 7), (50, 50), (9, 11)}:
        words = f"{cardinal(over)} {cardinal(under)}"
    elif over >= under or under < 2:
        words = f"{cardinal(over)} over {cardinal(under)}"
    elif under > 20:
        words = f"{cardinal(over)} out of {cardinal(under)}"
    else:
        words = cardinal(over) + " " + _part(under, one=over == 1)
    return f"{cardinal(int(found['wholes']))} and {words}" if found["wholes"] else words


def _part(under: int, *, one: bool) -> str:
    if under == 2:
        return "half" if one else "halves"
    return ("quarter" if under == 4 else ordinal(under)) + ("" if one else "s")


def _telephone(found: re.Match[str]) -> str:
    groups = ", ".join(spelled(digits) for digits in re.findall(r"[0-9]+", found[0]))
    return f"plus {groups}" if found[0].startswith("+") else groups


def _between(found: re.Match[str]) -> str:
    """Choose the word for ` - ` between two numbers. Return that of a range upwards, of a difference downwards."""
    left = found.string[max(0, found.start() - 9) : found.start()]
    digits = re.split("[^0-9]", left)[-1]
    return " to " if int(digits) < int(found["right"]) else " minus "


def _any_of(words: Mapping[str, object]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_SIGN = f"[{''.join(_CURRENCIES)}]"
_HALF = rf"{_GAP}[aApP]\.?[mM](?!\w)(?:\.(?=,| [a-z]))?+"
MONTH = "|".join([*_MONTHS, "Sept", *(name[:3] for name in _MONTHS)])
_SCALE = rf"(?:{_GAP}(?P<scale>thousand|million|billion|trillion|{_any_of(_SCALE_LETTERS)})(?!\w))?+"

_IP_ADDRESS = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(?:\.(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})){3}(?![0-9.])"

KINDS: dict[str, tuple[str, Say]] = {
    "telephone": (
        r"(?:\+[0-9]{1,3}[ .-]?|1[ .-])?(?:\([0-9]{3}\)[ ]?|[0-9]{3}[.-])[0-9]{3}[ .-][0-9]{4}(?![0-9])"
        r"|\+[0-9]{1,3}(?:[ .-]?[0-9]{2,4}){2,6}+(?![0-9])|[0-9]{3}-[0-9]{4}(?![0-9-])",
        _telephone,
    ),
    "ip_address": (
        _IP_ADDRESS,
        lambda found: " point ".join(quantity(part) for part in found[0].split(".")),
    ),
    "date": (
        r"(?P<year>[0-9]{4})(?P<dash>[-/])(?P<month>0[1-9]|1[0-2])(?P=dash)(?P<day>0[1-9]|[12][0-9]|3[01])(?![0-9])"
        r"(?:T(?=[0-9]))?",
        _date,
    ),
    "numeric_date": (
        r"(?P<first>[0-9]{1,2})(?P<between>[/.-])(?P<second>[0-9]{1,2})(?P=between)(?P<in_year>[0-9]{4})(?![0-9])",
        _numeric_date,
    ),
    "named_date": (
        rf"(?<!\w)(?P<name>{MONTH})\.? (?P<day_of>[0-9]{{1,2}})(?:st|nd|rd|th)?+(?![\w:/%°]|[.,][0-9])",
        _named_date,
    ),
    "time": (
        r"(?P<hour>[01]?[0-9]|2[0-3]):(?P<minute>[0-5][0-9])(?::(?P<seconds>[0-5][0-9]))?+(?![0-9:])"
        rf"(?P<half>{_HALF})?+",
        _time,
    ),
    "full_hour": (
        rf"(?P<at_hour>1[0-2]|[1-9])(?P<which>{_HALF})",
        lambda found: f"{cardinal(int(found['at_hour']))} {_half(found['which'])}",
    ),
    "money": (
        rf"(?P<sign>{_SIGN}|(?<![\w$])(?:{_any_of(_LETTERED)})){_GAP}(?P<amount>{_DECIMAL_COMMA}|{_N}){_SCALE}"
        rf"|(?P<amount_after>{_GROUPED}|{_DECIMAL_COMMA}|{_THOUSANDS}|{_N}){_GAP}"
        rf"(?P<sign_after>[€£¥₹₩₽₺₪]|(?:{_any_of(_LETTERED)})(?!\w))",
        _money,
    ),
    "sum": (
        rf"(?P<sum>{_DECIMAL_COMMA})(?=[ ](?:EUR|USD|GBP|CHF|euros?|dollars?|pounds?|francs?)\b)",
        lambda found: quantity(found["sum"]),
    ),
    "fraction": (
        r"(?:(?P<wholes>[0-9]{1,3}) )?(?P<over>[0-9]{1,3})/(?P<under>[0-9]{1,3})(?![0-9/])",
        _fraction,
    ),
    "decade": (r"(?P<decade_year>[0-9]{1,3}0)s(?!\w)", _decade),
    "ordinal": (
        r"(?P<place>[0-9]{1,3}(?:,[0-9]{3}){1,4}|[0-9]{1,9})(?:st|nd|rd|th)(?!\w)",
        lambda found: ordinal(int(found["place"].replace(",", ""))),
    ),
    "which": (r"(?<!\w)No\. (?=[0-9])", lambda _: "number "),
    "measure": (rf"(?<![A-Za-z])(?P<measured>{_DECIMAL_COMMA}|{_N}){_GAP}(?P<unit>{_any_of(_UNITS)})(?!\w)", _measure),
    "grouped": (rf"(?<![\w.])(?:{_GROUPED})(?![.,]?[0-9])", lambda found: quantity(found[0])),
    "version": (
        r"[0-9]++(?:\.[0-9]++){2,}+",
        lambda found: " point ".join(quantity(part) for part in found[0].split(".")),
    ),
    "number": (rf"{_N}|(?<![\w.])\.[0-9]++", lambda found: number(found[0])),
    "between": (r"(?<=[0-9]) [-−] (?=(?P<right>[0-9]{1,9}))", _between),
    "minus": (rf"(?<![\w)\]%])[-−](?={_SIGN}?\.?[0-9])", lambda _: " minus "),
    "to": (rf"(?:(?<=[0-9%])|(?<=[0-9 ][aApP][mM]))(?:{_GAP}[-–]{_GAP}(?={_SIGN}?[0-9])|:(?=[0-9]))", lambda _: " to "),
}
"""In the order in which they are tried."""


# --- Other languages -------------------------------------------------------------------------------------------------

_COMMA_LANGUAGES = frozenset(
    "afr bel bos bul cat ces dan deu ell est eus fin fra glg hrv hun hye ind isl ita kat kaz lav lit mkd nld nno nob "
    "nor pol por ron rus slk slv spa sqi srp swe tur ukr vie".split()
)
"""Those that write decimals behind a comma, and thousands between points, spaces or apostrophes."""

_ALONE = r"(?<![\w.,])"
_POINTS = rf"{_ALONE}(?!{_IP_ADDRESS})[0-9]{{1,3}}(?:(?P<gap>[.'’\u00a0\u202f])[0-9]{{3}})(?:(?P=gap)[0-9]{{3}})*+"
_SPACES = rf"{_ALONE}(?<![0-9] )[1-9][0-9]{{0,2}}(?:[ ][0-9]{{3}}){{2,}}+(?! [0-9])"
_COMMAS = rf"{_ALONE}(?:[0-9]{{1,2}}(?:,[0-9]{{2}}(?=,)){{1,6}}+,[0-9]{{3}}(?![0-9])|[0-9]{{1,3}}(?:,[0-9]{{3}})++)"

_WITH_COMMA: dict[str, tuple[str, Say]] = {
    "american": (
        rf"{_COMMAS}(?P<decimals>\.[0-9]++)(?![.,]?[0-9])",
        lambda found: plain(found[0]).replace(".", ","),
    ),
    "grouped": (rf"(?:{_POINTS}|{_SPACES})(?:,[0-9]++)?+(?![.,]?[0-9])", lambda found: re.sub("[^0-9,]", "", found[0])),
}
_WITH_POINT: dict[str, tuple[str, Say]] = {
    "grouped": (rf"{_COMMAS}(?:\.[0-9]++)?+(?![.,]?[0-9])", lambda found: plain(found[0])),
}


def separators(language: str) -> dict[str, tuple[str, Say]]:
    """Choose what takes the separators of thousands out of the numbers of a language other than English.

    Return the patterns and what says them: a voice may take a separator for the decimal one, or for a pause.
    """
    return _WITH_COMMA if language in _COMMA_LANGUAGES else _WITH_POINT
