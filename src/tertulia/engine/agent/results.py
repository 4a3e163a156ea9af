"""A form that is filled in from a conversation: each field with the message and the words that it comes from.

A model claims a value, a message and words of that message for a field. A claim whose words are not in the message that
it names, or whose value says what the message does not, is taken for invented, and the field stays empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tertulia.engine.agent.evidence import Said
from tertulia.engine.agent.models import Models, model_for
from tertulia.providers.base import Prompt, Turn
from tertulia.storage.turn.values import Message
from tertulia.vocabulary import has_quote

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
    borne = Said(said.content, _question_before(message, shown)).borne(value, schema)
    return None if borne is None else StatedValue(borne, value, said.id)


def _question_before(key: str, shown: Mapping[str, Message]) -> str:
    """Look for the agent's words before a message: a short answer takes its words from there. Return them."""
    place = list(shown).index(key)
    before = list(shown.values())[place - 1] if place else None
    return before.content if before is not None and before.message_type == "agent-message" else ""
