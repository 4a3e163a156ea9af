"""Short forms as they are said: titles, abbreviations, Roman numerals, rooms, sizes, hours of other languages.

Each language has a few patterns, and what says their matches; what none of them knows stays as it was written.
"""

import re
from collections.abc import Callable, Mapping

from tertulia.engine.speech import numbers

Say = Callable[[re.Match[str]], str]
Kinds = dict[str, tuple[str, Say]]

_ROMANS = {"M": 1000, "D": 500, "C": 100, "L": 50, "X": 10, "V": 5, "I": 1}
_ROMAN = r"(?=[IVXL])(?:XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
"""From one to eighty-nine; more are no number of a ruler or chapter."""
_APOSTROPHES = "['\u2019]"
_SWISS = rf"[0-9]{{1,3}}(?:{_APOSTROPHES}[0-9]{{3}})++"


def roman(written: str) -> int:
    """Read a Roman numeral. Return its number."""
    values = [_ROMANS[letter] for letter in written]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))


def _any(words: str) -> str:
    return "|".join(re.escape(word) for word in sorted(words.split(), key=len, reverse=True))


def _abbreviations(words: Mapping[str, str]) -> tuple[str, Say]:
    """Make the kind of abbreviations that are said in full. Those of several parts may have spaces between these."""
    patterns = "|".join(re.escape(word).replace(r"\.", r"\. ?").removesuffix(" ?") for word in words)

    def said(found: re.Match[str]) -> str:
        ends = found[0].endswith(".") and not found.string[found.end() :].strip()
        return words[found[0].replace(" ", "")] + ("." if ends else "")

    return rf"(?<![\w.-])(?:{patterns})(?!\w)", said


# --- English ---------------------------------------------------------------------------------------------------------

_RULERS = (
    "Henry Louis Charles George Edward Richard William James Elizabeth Mary Philip Frederick Napoleon Paul Benedict "
    "Pius Leo Gregory Innocent Clement Alexander Nicholas Ivan Peter Catherine Otto Wilhelm Franz Karl Carlos Felipe "
    "Alfonso Ramses Ptolemy Darius Xerxes Francis John Urban Sixtus Julius Margaret Margrethe Christian Gustav "
    "Leopold Umberto"
)
_PARTS = (
    "chapter part book volume act scene section war type phase level class grade stage title article appendix figure "
    "table bowl episode season rocky canto page"
)
_PLACES = (
    "room suite gate platform seat flat apartment unit hall desk terminal table row block counter bay cabin carriage "
    "coach exit locker stand pier building classroom office house studio ward"
)
_TITLES = {"Dr": "Doctor", "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Prof": "Professor", "Mt": "Mount"}
_HOURS_AND_MINUTES = r"(?P<hours_of>[0-9]{1,2})h(?P<minutes_of>[0-5][0-9])(?!\w)"
_NO_AMOUNT = r"(?![.,]?[0-9]|[ ]?(?:%|[€$£¥₹]|per|percent|euros?|dollars?|pounds?|each|k[mg]|c?m\b))"


def _said_place(found: re.Match[str]) -> str:
    return f"{found['place_before']}{numbers.number(found['place_no'])} {found['place_letter'].upper()}"


def _duration(found: re.Match[str]) -> str:
    hours, minutes = int(found["hours_of"]), int(found["minutes_of"])
    rest = f" {numbers.cardinal(minutes)} minute{'' if minutes == 1 else 's'}" if minutes else ""
    return f"{numbers.cardinal(hours)} hour{'' if hours == 1 else 's'}{rest}"


def _clock(found: re.Match[str]) -> str:
    hour, minute = int(found["clock_hour"]), int(found["clock_minute"])
    if not minute:
        return f"{numbers.cardinal(hour)} {'hundred' if hour > 12 else 'o' + chr(39) + 'clock'}"
    return f"{numbers.cardinal(hour)} {'oh ' if minute < 10 else ''}{numbers.cardinal(minute)}"


def _day_month(found: re.Match[str]) -> str:
    before = found.string[max(0, found.start() - 4) : found.start()]
    day = numbers.ordinal(int(found["day_before"]))
    return f"{'' if before.lower() == 'the ' else 'the '}{day} of {numbers.month(found['month_after'])}"


def _slashed(found: re.Match[str]) -> str:
    month, day = int(found["slash_month"]), int(found["slash_day"])
    return f"{numbers.month_name(month)} {numbers.ordinal(day)}"


def _slashed_year(found: re.Match[str]) -> str:
    month, day = int(found["short_month"]), int(found["short_day"])
    return f"{numbers.month_name(month)} {numbers.ordinal(day)}, {numbers.year(2000 + int(found['short_year']))}"


def _feet(found: re.Match[str]) -> str:
    feet, inches = int(found["feet"]), int(found["inches"])
    return " ".join(
        (numbers.cardinal(feet), "foot" if feet == 1 else "feet", numbers.cardinal(inches))
        + (("inch",) if inches == 1 else ("inches",))
    )


ENGLISH: Kinds = {
    "place": (
        rf"(?<!\w)(?P<place_before>(?i:{_any(_PLACES)})s? (?:(?:number|no\.|is|are|was|will be) ){{0,2}}+)"
        r"(?P<place_no>[0-9]{1,4})(?P<place_letter>[A-Za-z])(?![\w'-])",
        _said_place,
    ),
    "duration": (_HOURS_AND_MINUTES, _duration),
    "clock": (
        r"(?:(?<=\bat )|(?<=\bfrom )|(?<=\buntil )|(?<=\bbefore )|(?<=\bafter ))"
        rf"(?P<clock_hour>[01][0-9]|2[0-3])\.(?P<clock_minute>[0-5][0-9]){_NO_AMOUNT}",
        _clock,
    ),
    "short_date": (
        r"(?<![\w/.-])(?P<short_month>0?[1-9]|1[0-2])/(?P<short_day>0?[1-9]|[12][0-9]|3[01])/(?P<short_year>[0-9]{2})"
        r"(?![\w/])",
        _slashed_year,
    ),
    "slash_date": (
        r"(?:(?<=\bon )|(?<=\bsince )|(?<=\buntil )|(?<=\bdated ))"
        r"(?P<slash_month>0?[1-9]|1[0-2])/(?P<slash_day>0?[1-9]|[12][0-9]|3[01])(?![\w/.])",
        _slashed,
    ),
    "day_month": (
        r"(?<![\w.,:/-])(?P<day_before>[12][0-9]|3[01]|0?[1-9])(?:st|nd|rd|th)? "
        rf"(?P<month_after>{numbers.MONTH})(?![\w'])",
        _day_month,
    ),
    "feet": (
        r"(?<![\w.,])(?P<feet>[0-9]{1,2})(?: ?(?:ft|feet)\.? ?| ?['\u2032] ?)(?P<inches>[0-9]{1,2})"
        r"(?: ?in(?:ch(?:es)?)?\b\.?|[\"\u2033\u201d])",
        _feet,
    ),
    "by": (r"(?:(?<=[1-9])|(?<=[0-9][0-9]))[ ]?x[ ]?(?=[0-9])", lambda _: " by "),
    "times": (
        r"(?<![\w.,])(?P<how_often>[0-9]{1,4}(?:\.[0-9])?+)x(?!\w)",
        lambda found: f"{numbers.quantity(found['how_often'])} times",
    ),
    "ruler": (
        rf"(?<=[a-z] )(?!I\b)(?P<ruler>{_ROMAN})(?![\w'-])",
        lambda found: _said_roman(found, found["ruler"]),
    ),
    "saint": (r"(?<![\w.])St\. (?=[A-Z])", lambda _: "Saint "),
    "street": (r"(?<=[a-z] )St\.(?=$|[\s,;)])", lambda _: "Street"),
    "title": (
        r"(?<![\w.])(?:(?:Dr|Prof|Mt)\. (?=[A-Z])|(?:Mr|Mrs|Ms)\. )",
        lambda found: f"{_TITLES[found[0][:-2]]} ",
    ),
    "short": _abbreviations(
        {
            "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus", "approx.": "approximately",
            "Nos.": "numbers", "Ave.": "Avenue", "Rd.": "Road", "Blvd.": "Boulevard", "Jr.": "Junior", "Sr.": "Senior",
        }
    ),
}  # fmt: skip


def _said_roman(found: re.Match[str], written: str) -> str:
    """Say a numeral by the word before it: a ruler's as an order, a chapter's as a number; else leave it."""
    word = re.split(r"[^A-Za-z]", found.string[max(0, found.start() - 20) : found.start() - 1])[-1]
    if word in _RULERS.split():
        return f"the {numbers.ordinal(roman(written))}"
    return numbers.cardinal(roman(written)) if word.lower() in _PARTS.split() else written


# --- Other languages -------------------------------------------------------------------------------------------------

_ORDERS: Mapping[str, str] = {
    "deu": "Erste Zweite Dritte Vierte Fünfte Sechste Siebte Achte Neunte Zehnte Elfte Zwölfte Dreizehnte Vierzehnte "
    "Fünfzehnte Sechzehnte Siebzehnte Achtzehnte Neunzehnte Zwanzigste Einundzwanzigste Zweiundzwanzigste "
    "Dreiundzwanzigste",
    "spa": "primero segundo tercero cuarto quinto sexto séptimo octavo noveno décimo",
    "por": "primeiro segundo terceiro quarto quinto sexto sétimo oitavo nono décimo",
    "ita": "primo secondo terzo quarto quinto sesto settimo ottavo nono decimo undicesimo dodicesimo tredicesimo "
    "quattordicesimo quindicesimo sedicesimo diciassettesimo diciottesimo diciannovesimo ventesimo ventunesimo",
    "nld": "eerste tweede derde vierde vijfde zesde zevende achtste negende tiende elfde twaalfde dertiende veertiende "
    "vijftiende zestiende zeventiende achttiende negentiende twintigste",
}
_NAMES: Mapping[str, str] = {
    "deu": "Heinrich Ludwig Karl Georg Eduard Richard Wilhelm Jakob Elisabeth Maria Philipp Friedrich Napoleon "
    "Paul Benedikt Pius Leo Gregor Innozenz Clemens Alexander Nikolaus Iwan Peter Katharina Otto Franz "
    "Rudolf Christian Gustav",
    "fra": "Henri Louis Charles Georges Édouard Richard Guillaume Jacques Élisabeth Marie Philippe Frédéric "
    "Napoléon Paul Benoît Pie Léon Grégoire Innocent Clément Alexandre Nicolas Ivan Pierre Catherine "
    "François",
    "spa": "Enrique Luis Carlos Jorge Eduardo Ricardo Guillermo Jacobo Isabel María Felipe Federico Napoleón "
    "Pablo Benedicto Pío León Gregorio Inocencio Clemente Alejandro Nicolás Iván Pedro Catalina Alfonso "
    "Fernando",
    "por": "Henrique Luís Carlos Jorge Eduardo Ricardo Guilherme Jaime Isabel Maria Filipe Frederico Napoleão "
    "Paulo Bento Pio Leão Gregório Inocêncio Clemente Alexandre Nicolau Pedro Catarina Afonso João "
    "Manuel",
    "ita": "Enrico Luigi Carlo Giorgio Edoardo Riccardo Guglielmo Giacomo Elisabetta Maria Filippo Federico "
    "Napoleone Paolo Benedetto Pio Leone Gregorio Innocenzo Clemente Alessandro Nicola Pietro Caterina "
    "Umberto Emanuele",
    "nld": "Hendrik Lodewijk Karel George Eduard Richard Willem Jacobus Elizabeth Maria Filips Frederik "
    "Napoleon Paulus Benedictus Pius Leo Gregorius Clemens Alexander Nicolaas Peter Catharina",
}
_WOMEN = frozenset(["Elisabeth", "Maria", "Katharina"])
_COUNTED: Mapping[str, str] = {
    "deu": "Kapitel|Teil|Band", "spa": "siglo|capítulo|tomo", "por": "século|séc\\.|capítulo|tomo",
    "ita": "capitolo|parte", "fra": "chapitre|tome", "nld": "hoofdstuk|deel",
}  # fmt: skip
"""Words before a numeral that counts, and does not order."""

_SHORT: Mapping[str, Mapping[str, str]] = {
    "deu": {
        "z.B.": "zum Beispiel", "d.h.": "das heißt", "u.a.": "unter anderem", "usw.": "und so weiter",
        "bzw.": "beziehungsweise", "ca.": "circa", "Nr.": "Nummer", "Dr.": "Doktor", "Prof.": "Professor",
        "St.": "Sankt", "Mio.": "Millionen", "Mrd.": "Milliarden", "Tel.": "Telefon", "evtl.": "eventuell",
        "ggf.": "gegebenenfalls", "inkl.": "inklusive",
    },
    "fra": {
        "M.": "Monsieur", "Mme": "Madame", "Mlle": "Mademoiselle", "p.ex.": "par exemple", "c.-à-d.": "c'est-à-dire",
        "etc.": "et cetera", "env.": "environ", "n°": "numéro", "bd.": "boulevard", "av.": "avenue", "Dr": "docteur",
        "Mgr": "Monseigneur",
    },
    "spa": {
        "Sr.": "señor", "Sra.": "señora", "Srta.": "señorita", "Dr.": "doctor", "Dra.": "doctora",
        "p.ej.": "por ejemplo", "etc.": "etcétera", "Ud.": "usted", "Uds.": "ustedes", "n.º": "número",
        "Avda.": "avenida", "EE.UU.": "Estados Unidos", "aprox.": "aproximadamente",
    },
    "ita": {
        "Sig.": "signor", "Sig.ra": "signora", "dott.": "dottor", "Dott.": "dottor", "p.es.": "per esempio",
        "ecc.": "eccetera", "prof.": "professor", "Prof.": "professor",
    },
    "por": {
        "Sr.": "senhor", "Sra.": "senhora", "Dr.": "doutor", "Dra.": "doutora", "p.ex.": "por exemplo",
        "etc.": "et cetera", "n.º": "número", "nº": "número", "Av.": "avenida", "aprox.": "aproximadamente",
    },
    "nld": {
        "bijv.": "bijvoorbeeld", "bv.": "bijvoorbeeld", "d.w.z.": "dat wil zeggen", "m.a.w.": "met andere woorden",
        "o.a.": "onder andere", "enz.": "enzovoort", "dhr.": "de heer", "mevr.": "mevrouw", "nr.": "nummer",
        "dr.": "dokter", "ca.": "circa", "t/m": "tot en met",
    },
}  # fmt: skip
_HOURS: Mapping[str, tuple[str, str, str]] = {
    "deu": (r"(?P<hour>[0-9]{1,2})[.:](?P<minute>[0-5][0-9]) ?Uhr\b", "{hour} Uhr", "{hour} Uhr {minute}"),
    "nld": (r"(?P<hour>[0-9]{1,2})[.:](?P<minute>[0-5][0-9]) ?uur\b", "{hour} uur", "{hour} uur {minute}"),
    "fra": (r"(?P<hour>[0-9]{1,2}) ?[hH] ?(?P<minute>[0-5][0-9])", "{hour} heures", "{hour} heures {minute}"),
    "por": (r"(?P<hour>[0-9]{1,2})h(?P<minute>[0-5][0-9])", "{hour} horas", "{hour} horas e {minute}"),
    "ita": (
        r"(?:(?<=\bore )|(?<=\balle )|(?<=\bdalle ))(?P<hour>[0-9]{1,2})[.:](?P<minute>[0-5][0-9])",
        "{hour}",
        "{hour} e {minute}",
    ),
    "spa": (r"(?P<hour>[0-9]{1,2})[.:](?P<minute>[0-5][0-9]) ?h(?:rs)?\b\.?", "{hour} horas", "{hour} y {minute}"),
}
_RANGES: Mapping[str, str] = {"deu": "bis", "nld": "tot", "fra": "à", "spa": "a", "por": "a", "ita": "a"}
_SWISS_SIGNS = (r"CHF|SFr\.|Fr\.", r"CHF\b|SFr\.|Fr\.")
_MONEY: Mapping[str, tuple[str, str, str]] = {
    "deu": (*_SWISS_SIGNS, "Franken"),
    "fra": (*_SWISS_SIGNS, "francs"),
    "ita": (*_SWISS_SIGNS, "franchi"),
    "por": (r"R\$", r"(?!)", "reais"),
}
"""Signs before and behind an amount, and the word for them."""
_ARTICLES: Mapping[str, str] = {"deu": "der", "nld": "de"}
_LONG_DASH = "[\u2013\u2014]"


def of_language(language: str) -> Kinds:
    """Choose the short forms of a language other than English. Return their patterns, and what says them."""
    if language not in _SHORT:
        return {}
    return {
        "no_cents": (rf"(?<=[0-9]),(?:--?|{_LONG_DASH})(?!\w)", lambda _: ""),
        "clock": (rf"(?<![\w.,:]){_HOURS[language][0]}(?!\w)", lambda found: _said_hour(language, found)),
        "hours": (
            rf"(?<=[0-9])[ ]?(?:-|{_LONG_DASH})[ ]?(?=[0-9]{{1,2}}[ ]?(?:Uhr|uur|h\b))",
            lambda _: f" {_RANGES[language]} ",
        ),
        **_amounts(language),
        **_centuries(language),
        "ruler": (
            rf"(?<=[\w.] )(?P<ruler>{_ROMAN})(?![\w{_APOSTROPHES[1:-1]}-])(?P<point>\.?)",
            lambda found: _said_ruler(language, found),
        ),
        "short": _abbreviations(_SHORT[language]),
    }


def _amounts(language: str) -> Kinds:
    """Write amounts of the currencies that voices read by their letters. Return the kinds of a language."""
    kinds: Kinds = {}
    if language in _MONEY:
        before, after, said = _MONEY[language]
        amount = rf"(?:{_SWISS}|[0-9]{{1,3}}(?:\.[0-9]{{3}})++|[0-9]++)(?:[.,][0-9]{{2}}(?![0-9]))?+"
        kinds["amount"] = (
            rf"(?<!\w)(?:{before}) ?(?P<amount>{amount})|(?<![\w.,])(?P<amount_before>{amount}) ?(?:{after})",
            lambda found: f"{_plain(found['amount'] or found['amount_before'])} {said}",
        )
    kinds["swiss"] = (rf"(?<![\w.,]){_SWISS}(?:\.[0-9]{{1,2}})?+(?![.,]?[0-9])", lambda found: _plain(found[0]))
    return kinds


def _centuries(language: str) -> Kinds:
    """Say the centuries that are written before their word. Return the kinds of a language."""
    if language == "fra":
        return {
            "century": (
                rf"(?<!\w)(?P<century>{_ROMAN})(?:e|ème)(?= si[eè]cle)",
                lambda found: f"{roman(found['century'])}e",
            )
        }
    if language == "ita":
        orders = _ORDERS["ita"].split()
        pattern = rf"(?<!\w)(?P<century>XXI|{_ROMAN})(?= secolo)"
        return {"century": (pattern, lambda found: orders[min(roman(found["century"]), len(orders)) - 1])}
    return {}


def _plain(written: str) -> str:
    """Write an amount as its language is read. Returns the number without separators of thousands, with a comma."""
    whole, point, cents = re.sub(_APOSTROPHES, "", written).replace(",", ".").rpartition(".")
    if not point or len(cents) == 3:
        return f"{whole}{cents}".replace(".", "")
    return f"{whole.replace('.', '')},{cents}"


def _said_hour(language: str, found: re.Match[str]) -> str:
    _, full, other = _HOURS[language]
    hour, minute = found["hour"].lstrip("0") or "0", found["minute"].lstrip("0")
    return (other if minute else full).format(hour=hour, minute=minute)


def _said_ruler(language: str, found: re.Match[str]) -> str:
    """Say a numeral of a ruler, a chapter or a century; else leave it as it was written."""
    number = roman(found["ruler"])
    before = found.string[max(0, found.start() - 20) : found.start() - 1]
    word = re.split(r"[^\w.]", before)[-1]
    point = found["point"] if language != "deu" or not found.string[found.end() :].strip() else ""
    if re.fullmatch(_COUNTED[language], word):
        return f"{number}{found['point']}"
    if word not in _NAMES[language].split():
        return found[0]
    orders = _ORDERS.get(language, "").split()
    order = orders[number - 1] if number <= len(orders) else str(number)
    if language in _ARTICLES:
        order = f"{'die' if word in _WOMEN else _ARTICLES[language]} {order}"
    return order + point
