"""A form that is filled in from a conversation: each field with the message and the words that it comes from.

A model claims a value, a message and words of that message for a field. A claim whose words are not in the message that
it names, or whose value says what the message does not, is taken for invented, and the field stays empty.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast

from tertulia.engine.agent.models import Models, model_for
from tertulia.providers.base import Prompt, Turn
from tertulia.storage.turn.values import Message
from tertulia.vocabulary import (
    digit_runs,
    fold,
    folded_stems,
    has_quote,
    has_words,
    said_digits,
    said_numbers,
    stems,
    without_number_words,
)

GENERATE_RESULT = "GenerateResult"

MOST_CHARS = 60_000
"""Characters of a conversation that are read for its result; the oldest messages are left out first."""

_SYSTEM = (
    "You fill in a form from a conversation that is over. You write down what was said, and nothing else: a field of "
    "which nothing was said is null."
)
_QUESTION = (
    "[Note. Fill in the form. For each field give its value, the key of the message that says it, and the words of "
    "that message, copied letter by letter; give null for a field of which nothing was said. A text has the words in "
    "which it was said. If something was corrected later, the later message counts. The fields:\n{fields}\n"
    "Answer in JSON.]"
)
_NO_CLAIMS: Mapping[str, Any] = {}
_ROLES = {"user-message": "user", "agent-message": "agent", "external-event": "event"}


@dataclass(frozen=True, slots=True)
class StatedValue:
    """The value of a field as a message says it, and as the model claimed it."""

    value: Any
    claimed: Any
    message_id: str


async def fill(
    models: Models, preferences: Mapping[str, Any], schema: Mapping[str, Any], messages: Sequence[Message]
) -> dict[str, StatedValue]:
    """Ask the model for the fields of a schema. Return those whose words are in the message that they name.

    Raises:
        ModelError: the model cannot be had, or has failed.
    """
    shown = _shown(messages)
    if not shown:
        return {}
    question, form = _question(schema, shown)
    model, question = model_for(models, preferences, question)
    answer = await model.choose(question, form)
    claims: Mapping[str, Any] = cast("Mapping[str, Any]", answer) if isinstance(answer, Mapping) else _NO_CLAIMS
    found = {name: _claim(claims.get(name), fields, shown) for name, fields in schema["properties"].items()}
    return {name: claim for name, claim in found.items() if claim is not None}


def _shown(messages: Sequence[Message]) -> dict[str, Message]:
    """Choose the messages that can say something, the newest within bounds. Return them by key, the oldest first."""
    room = MOST_CHARS
    chosen: list[Message] = []
    for message in reversed([message for message in messages if message.message_type in _ROLES and message.content]):
        room -= len(message.content)
        if room < 0 and chosen:
            break
        chosen.append(message)
    return {f"m{number}": message for number, message in enumerate(reversed(chosen), 1)}


def _question(schema: Mapping[str, Any], shown: Mapping[str, Message]) -> tuple[Prompt, dict[str, Any]]:
    """Ask for the fields. Return the prompt, with the schema of the answer."""
    lines = [f"{key} ({_ROLES[message.message_type]}): {message.content}" for key, message in shown.items()]
    properties: Mapping[str, Mapping[str, Any]] = schema["properties"]
    fields = "\n".join(f"{name}: {value.get('description', name)}" for name, value in properties.items())
    form = {
        "type": "object",
        "properties": {name: _claim_schema(value, list(shown)) for name, value in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    turns = [Turn("user", "\n".join(lines))]
    return Prompt(GENERATE_RESULT, _SYSTEM, turns, question=_QUESTION.format(fields=fields)), form


def _claim_schema(value: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    claim = {
        "type": "object",
        "properties": {
            "value": dict(value),
            "message": {"type": "string", "enum": list(keys)},
            "words": {"type": "string", "minLength": 1},
        },
        "required": ["value", "message", "words"],
        "additionalProperties": False,
    }
    return {"anyOf": [claim, {"type": "null"}]}


def _claim(claimed: Any, schema: Mapping[str, Any], shown: Mapping[str, Message]) -> StatedValue | None:
    """Check a claim. Return what of it was said, or None if its words are not there."""
    if not isinstance(claimed, Mapping):
        return None
    claim = cast("Mapping[str, Any]", claimed)
    message, words, value = claim.get("message"), claim.get("words"), claim.get("value")
    if not isinstance(message, str) or not isinstance(words, str) or message not in shown:
        return None
    said = shown[message]
    if not has_quote(said.content, words):
        return None
    borne = Statement(said.content, _question_before(message, shown)).borne(value, schema)
    return None if borne is None else StatedValue(borne, value, said.id)


def _question_before(key: str, shown: Mapping[str, Message]) -> str:
    """Look for the agent's words before a message: a short answer takes its words from there. Return them."""
    place = list(shown).index(key)
    before = list(shown.values())[place - 1] if place else None
    return before.content if before is not None and before.message_type == "agent-message" else ""


# --- What a message says ----------------------------------------------------------------------------------------------

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
_MAY: Final = re.compile(
    r"\d(?:st|nd|rd|th)?,? (?:of )?[Mm]ay\b|\b[Mm]ay,? (?:the )?\d|"
    r"\b(?:in|of|since|until|till|by|last|next|this|early|late|mid) may\b|"
    r"\bMay\b(?! (?:I|we|you|he|she|it|they|the|my|our)\b)",
)
"""The month, and not the verb."""


@dataclass(frozen=True)
class Statement:
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
        return has_words(rest, folded_stems((self.text, self.before)), set(_NOT), FOUND_OF_VALUE)

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
        words = self._words if _MAY.search(self._meant) else self._words - {"may"}
        named = [number for number, names in enumerate(_MONTHS, 1) if not words.isdisjoint(names)]
        months = named or ([month] if month in self._numbers or day else [])
        return month in months and (day == 0 or day in self._numbers)


def _is_choice(value: Any, schema: Mapping[str, Any]) -> bool:
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    return any(_is_choice(value, each) for each in schema.get("anyOf", ()))
