"""Digits that are a name and no quantity: telephone and card numbers, codes, postcodes, numbers of orders and flights.

They are known by their form (123-45-6789, groups of four, a zero in front), or by a word before them (PIN, code, room).
"""

# ruff: noqa: RUF001 - the punctuation of other languages is meant
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

_NOT_BEFORE = r"(?<![\w.,/:+-])"
_NOT_AFTER = r"(?![\w%‰°€$£¥₹/-]|[.,:][0-9]| ?[%€£¥₹°])"
_DATE = r"(?:[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|[0-3]?[0-9]-[01]?[0-9]-[0-9]{4})(?![0-9-])"

_FORMS = re.compile(
    rf"""{_NOT_BEFORE}(?:
        [0-9]{{4}}(?:[ \u00a0-][0-9]{{4}}){{2,3}}(?:[ \u00a0-][0-9]{{1,4}})?  # cards
        |[0-9]{{4}}[ -][0-9]{{6}}[ -][0-9]{{5}}
        |(?!{_DATE})[0-9]+(?:-[0-9]+){{2,}}  # 123-45-6789
        |0[1-9](?:[ .][0-9]{{2}}){{4}}  # French telephones
        |0[0-9]{{1,5}}(?:[ /-][0-9]{{2,8}}){{1,4}}
        |\+[0-9]{{1,3}}(?:[ .-]?[0-9]{{2,5}}){{2,6}}
        |(?:^|(?<=,[ ]))(?![0-9]{{2}}000)[0-9]{{5}}(?=[ ][A-Z][a-z]+)  # 10115 Berlin, in an address
        |[0-9]{{13,}}
        |0[0-9]{{3,}}
    )(?![\w%€$£/-]|[.,:][0-9])
    |(?<=[A-Z])[0-9]{{4,}}(?!\w|[.,:][0-9])
    |(?<=\#)[0-9]{{4,}}(?!\w|[.,:][0-9])
    |(?<=\b[A-Z][A-Z][ ])[0-9]{{5}}(?:-[0-9]{{4}})?(?!\w|[.,:][0-9])  # IL 62704
    """,
    re.VERBOSE | re.MULTILINE,
)

_UK_POSTCODE = re.compile(
    r"(?<!\w)[A-Z]{1,2}(?P<area>[0-9]{2}|[0-9](?=[A-Z]? )) ?[A-Z]? ?(?P<street>[0-9])[A-Z]{2}(?!\w)"
)


@dataclass(frozen=True, slots=True)
class _Cues:
    """The words of a language before digits that are a name.

    After `sure` words two digits are a name, after `likely` words four, or three if no plural follows; `calls` come
    before numbers that are called. `between` are the small words between a cue and its digits.
    """

    sure: str
    likely: str
    calls: str
    between: str


_ENGLISH = _Cues(
    "pin|passcode|password|otp|cvv|cvc|ssn|code|zip|post ?code|extension|passport|iban|social security",
    "(?:tele)?phone|tel|mobile|cell|fax|hotline|helpline|account|routing|serial|licen[cs]e|card|tracking|confirmation"
    "|order|booking|reservation|reference|ref|invoice|ticket|case|customer|member|membership|policy|flight|room|suite"
    "|apartment|apt|id|number|no\\.|visa|mastercard",
    "call|dial|ring|phone|text|sms|emergency|emergencies|police|ambulance|reach(?: us| me| them)?"
    "|contact(?: us| me| them)?",
    "number|numbers|code|no|nr|id|reference|line|is|are|was|be|will|again|(?:ending|ends) (?:in|with)|on|us|me|them"
    "|the|your|new|emergency|services|for|help|please",
)
_CUES: Mapping[str, _Cues] = {
    "eng": _ENGLISH,
    "deu": _Cues(
        "pin|tan|[a-zäöü]*code|passwort|plz|postleitzahl|tel|telefon|handy|fax|hotline|[a-zäöü]*nummer|konto|karte|iban",
        "bestellung|buchung|reservierung|rechnung|auftrag|flug|zimmer|nr",
        "notruf|wählen sie|wähle|rufen sie|ruf|anrufen unter|unter der",
        "nummer|nr|ist|lautet|sind|war|endet|auf|mit|die|der|den|unter|bitte|an|ihre|deine",
    ),
    "spa": _Cues(
        "pin|(?:código|codigo)(?: postal| de [a-zñó]+)?|clave|contraseña|c\\.?p|tel|teléfono|telefono|móvil|celular|fax"
        "|cuenta|tarjeta|iban",
        "pedido|reserva|factura|billete|vuelo|habitación|referencia|número|numero|n\\.?º",
        "llame|llama|llamar|llamen|marque|marca|marcar|emergencias?",
        "número|de|es|son|fue|termina|en|al|a|el|la|su|tu|teléfono",
    ),
    "fra": _Cues(
        "pin|code(?: postal| d[e'’] ?[a-zéè]+)?|mot de passe|tél|tel|téléphone|portable|mobile|fax|compte|carte|iban",
        "commande|réservation|facture|billet|vol|chambre|référence|numéro|n°",
        "appelez|appeler|appelle|composez|composer|urgences?",
        "numéro|de|est|sont|se|termine|par|au|à|le|la|votre|ton",
    ),
    "ita": _Cues(
        "pin|codice(?: postale| di [a-z]+)?|password|cap|tel|telefono|cellulare|fax|conto|carta|iban",
        "ordine|prenotazione|fattura|biglietto|volo|camera|stanza|riferimento|numero|n\\.?º",
        "chiami|chiama|chiamare|chiamate|componga|emergenza|emergenze",
        "numero|di|è|sono|termina|con|in|al|il|la|suo|tuo",
    ),
    "por": _Cues(
        "pin|código(?: postal| de [a-zçã]+)?|senha|cep|tel|telefone|celular|telemóvel|fax|conta|cartão|iban",
        "pedido|encomenda|reserva|fatura|bilhete|voo|quarto|referência|número|n\\.?º",
        "ligue|liga|ligar|disque|marque|emergências?",
        "número|de|é|são|termina|em|para|o|a|ao|seu",
    ),
    "nld": _Cues(
        "pin|pincode|[a-z]*code|wachtwoord|tel|telefoon|mobiel|fax|[a-z]*nummer|rekening|kaart|iban",
        "bestelling|boeking|reservering|factuur|vlucht|kamer|nr",
        "bel|belt|bellen|noodgevallen?|noodnummer",
        "nummer|nr|is|zijn|eindigt|op|met|het|de|naar|uw|je",
    ),
}
_ANYWHERE = _Cues("pin|code|tel|sms|fax|iban|otp|cvv|cvc", "id", "sos", "is")

_MARKS = r"[ \t*_`:#=(\"“„«'’.-]"
_PREFIX = r"(?:[A-Z]{1,3}[ -]?)?"
_JOINED = r"(?:[ \u00a0][0-9]{2,}|-[0-9]+)*+"
_COUNTED = (
    r"(?! (?!(?:is|was|has|does|as|leaves|arrives|departs|boards|expires|ends|starts|begins|costs)\b)"
    r"(?:[a-z]+s|people|Euro|Uhr|Prozent|euro)\b)"
)
"""Not before a plural: 500 of something are not a name."""
_NUMBER = rf"[0-9]{{2,}}{_JOINED}{_NOT_AFTER}{_COUNTED}"
_AGAIN = rf"(?P<more>(?:(?:, {_NUMBER})*+,? (?:or|and|oder|und|o|y|ou|et|e|of|en) {_NUMBER})?)"
"""More of the same: "112 or 911", "codes 1234, 5678 and 9012"."""


@cache
def _cued(language: str) -> re.Pattern[str]:
    """Compile the pattern of a language when it is first spoken: all of them take a tenth of a server's start."""
    cues = _CUES.get(language, _ANYWHERE)
    between = rf"{_MARKS}{{1,4}}(?:(?:{cues.between})(?!\w){_MARKS}{{0,4}}){{0,5}}"
    kinds = (("sure", cues.sure, 2), ("likely", cues.likely, 3), ("called", cues.calls, 3))
    digits = "|".join(
        rf"(?i:(?:{words})s?{between}){_PREFIX}(?P<{name}>[0-9]{{{least},}}{_JOINED})" for name, words, least in kinds
    )
    return re.compile(rf"(?<!\w)(?:{digits}){_NOT_AFTER}{_COUNTED}{_AGAIN}")


_ANNOUNCED = re.compile(
    r"(?<![\w.,:/-])[0-9]{3}(?= (?:is|are) (?:the |your |our )?(?:[a-z]+ ){0,2}(?:emergency|police|ambulance|number)\b)"
    r"|(?<![\w.,:/$€£-])(?:911|988|999|112)(?=[.!?]?(?:$|\n)|[!?]| (?:if|now|immediately|right|straight)\b)"
    r"|(?<![\w.,:/$€£-])(?:911|988)(?!\w|[.,:/-][0-9]| ?[%€£]| [a-z]+s\b| people\b)",
)
_DIGITS = re.compile(r"\+?[0-9]+(?:[ \u00a0./-][0-9]+)*")


def names(written: str, language: str) -> list[tuple[int, int]]:
    """Find the digits of a text that are names, in a language (ISO 639-3). Return their places, in order, apart."""
    found = {match.span() for match in _FORMS.finditer(written)}
    if language == "eng":
        found |= {match.span() for match in _ANNOUNCED.finditer(written)}
        found |= {match.span(part) for match in _UK_POSTCODE.finditer(written) for part in ("area", "street")}
    for match in _cued(language if language in _CUES else "").finditer(written):
        found |= set(_said(match))
    apart: list[tuple[int, int]] = []
    for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
        if not apart or start >= apart[-1][1]:
            apart.append((start, end))
    return apart


def _said(match: re.Match[str]) -> Iterator[tuple[int, int]]:
    """Find the digits behind a cue, and those that an "or" or a comma adds. Yield their places."""
    for part in ("sure", "likely", "called"):
        if match[part]:
            yield match.span(part)
    for more in _DIGITS.finditer(match["more"]):
        yield match.start("more") + more.start(), match.start("more") + more.end()
