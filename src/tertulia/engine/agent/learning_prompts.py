"""Prompts of learning: what a model is asked when a conversation is over.

Messages, memories and dimensions are keys (`m1`, `memory-2`, `dimension-3`), one a line, and the schema allows no other
key: a model cannot name what there is not.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from tertulia.providers.base import Prompt
from tertulia.storage.memory import Memory
from tertulia.storage.post_processing import Followed, SaidMessage

EXTRACT_MEMORIES = "ExtractMemories"
GENERATE_USER_MODELS = "GenerateUserModels"

LONGEST_MESSAGE = 4000
"""Characters of a message that a model is shown."""

_MOST_OF_PORTION = 12
_SHOWN_OF_MEMORY = 300

_SYSTEM = (
    "You keep the notes of an agent about {user}, for later conversations. You write down nothing that was not said."
)


def message_keys(said: Sequence[SaidMessage]) -> dict[str, SaidMessage]:
    """Give keys to the messages that a memory may come from: the user's, and external events. Return them."""
    cited = [message for message in said if message.message_type != "agent-message" and message.content]
    return {f"m{number}": message for number, message in enumerate(cited, 1)}


def memory_keys(known: Sequence[Memory]) -> dict[str, Memory]:
    """Give keys to memories. Return them."""
    return {f"memory-{number}": memory for number, memory in enumerate(known, 1)}


def dimension_keys(dimensions: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Give keys to dimensions. Return them."""
    return {f"dimension-{number}": dimension for number, dimension in enumerate(dimensions, 1)}


def extract_memories(
    followed: Followed,
    said: Sequence[SaidMessage],
    known: Sequence[Memory],
    dimensions: Sequence[Mapping[str, Any]],
) -> tuple[Prompt, dict[str, Any]]:
    """Ask for what a conversation tells of its user. Return the prompt, with the schema of the list."""
    keys = {message.id: key for key, message in message_keys(said).items()}
    lines = [_line(message, keys.get(message.id)) for message in said if message.content]
    older = memory_keys(known)
    began = followed.created_at.astimezone(ZoneInfo(followed.timezone))
    question = "\n\n".join(
        part
        for part in (
            _titled(f"A conversation of {began:%A, %Y-%m-%d}:", lines),
            _titled("Notes from before:", [f"{key}: {_short(memory.content)}" for key, memory in older.items()]),
            _titled("Of most interest:", [f"- {_of_dimension(dimension)}" for dimension in dimensions]),
            _EXTRACT,
            _REPLACE if older else "",
        )
        if part
    )
    prompt = Prompt(EXTRACT_MEMORIES, _SYSTEM.format(user=followed.user_name), [], question=question)
    return prompt, _memories_schema(list(keys.values()), list(older))


_EXTRACT = """\
Write down what the user said of themselves that will matter in a later conversation: facts, wishes, plans, events. \
One thing in each note, in one short sentence, in the user's own words and language. Leave out what only mattered \
then. Each note names the messages that it comes from, and quotes them word for word. `context` says in a few words \
what they talked about. If there is nothing to write down, the list is empty. Answer in JSON."""

_REPLACE = (
    "If a new note contradicts a note from before, `replaces` names that one. What stands there already is left out."
)


def _line(message: SaidMessage, key: str | None) -> str:
    text = " ".join(message.content.split())[:LONGEST_MESSAGE]
    return f"{key or message.sender}: {text}"


def _short(text: str) -> str:
    return " ".join(text.split())[:_SHOWN_OF_MEMORY]


def _of_dimension(dimension: Mapping[str, Any]) -> str:
    tags = ", ".join(dimension["tags"])
    return f"{_short(dimension['description'])} ({tags})" if tags else _short(dimension["description"])


def _titled(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *lines]) if lines else ""


def _memories_schema(messages: list[str], older: list[str]) -> dict[str, Any]:
    reference = _object(message={"type": "string", "enum": messages}, quote=_a_text(400))
    memory: dict[str, Any] = {
        "content": _a_text(400),
        "context": {"type": "string", "maxLength": 300},
        "references": {"type": "array", "items": reference, "minItems": 1, "maxItems": 4},
    }
    if older:
        memory["replaces"] = {"type": "array", "items": {"type": "string", "enum": older}, "maxItems": 4}
    return _object(memories={"type": "array", "items": _object(**memory), "maxItems": _MOST_OF_PORTION})


def generate_user_models(
    followed: Followed, known: Sequence[Memory], dimensions: Sequence[Mapping[str, Any]]
) -> tuple[Prompt, dict[str, Any]]:
    """Ask what memories tell of a user in each dimension. Return the prompt, with the schema of the list."""
    older, named = memory_keys(known), dimension_keys(dimensions)
    notes = [f"{key}: {_short(memory.content)}" for key, memory in older.items()]
    asked = [f"{key}: {_of_dimension(dimension)}" for key, dimension in named.items()]
    question = "\n\n".join(
        [
            _titled("Notes, the newest first:", notes),
            _titled("Dimensions:", asked),
            "Sum up, for each dimension of which the notes say something, what they say of the user, in at most three "
            "short sentences, with the words of the notes, and name those notes. Leave out the other dimensions. "
            "Answer in JSON.",
        ]
    )
    prompt = Prompt(GENERATE_USER_MODELS, _SYSTEM.format(user=followed.user_name), [], question=question)
    model = _object(
        dimension={"type": "string", "enum": list(named)},
        content=_a_text(800),
        memories={"type": "array", "items": {"type": "string", "enum": list(older)}, "minItems": 1, "maxItems": 20},
    )
    return prompt, _object(models={"type": "array", "items": model, "maxItems": len(named)})


def _a_text(most: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": most}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
