"""Learning from a conversation that is over: memories of its user, and models of the user made of memories.

A model writes both, and neither is believed: each memory quotes the messages that it comes from, and its words have to
be found in them; the words of a model of the user, in the memories that it names. The rest is dropped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import structlog

from tertulia.engine.agent import learning_prompts as prompts
from tertulia.engine.agent.models import Models, model_for
from tertulia.errors import ModelMisbehaved
from tertulia.providers.base import Prompt
from tertulia.storage.memory import Memory, UserModel
from tertulia.storage.post_processing import Followed, SaidMessage
from tertulia.vocabulary import folded_stems, has_quote, has_words, numbers, stems

PORTION_CHARS = 8000
"""Characters of a conversation that a model reads at once."""

MOST_PORTIONS = 25
"""Portions of a conversation that are read, the newest."""

FOUND_OF_MEMORY = 0.75
"""The share of a memory's words that its references must have; names and numbers have to be there all."""

FOUND_OF_MODEL = 0.5
"""The share of a user model's words that its memories must have; names and numbers have to be there all."""

LONGEST = 1000
"""Characters of a memory's content, or of its context."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A memory that its references bear out. `replaces` are identifiers of the memories that it contradicts."""

    content: str
    context: str
    references: Sequence[SaidMessage]
    replaces: Sequence[str]


# --- Memories --------------------------------------------------------------------------------------------------------


def portions(said: Sequence[SaidMessage]) -> list[Sequence[SaidMessage]]:
    """Part a conversation into what a model reads at once. Return the portions, the oldest first."""
    made: list[list[SaidMessage]] = []
    room = 0
    for message in said:
        size = min(len(message.content), prompts.LONGEST_MESSAGE)
        if not made or size > room:
            made.append([])
            room = PORTION_CHARS
        made[-1].append(message)
        room -= size
    return list(made[-MOST_PORTIONS:])


async def extract_memories(
    models: Models,
    followed: Followed,
    said: Sequence[SaidMessage],
    known: Sequence[Memory],
    dimensions: Sequence[Mapping[str, Any]],
) -> list[NewMemory]:
    """Ask a model for what a portion of a conversation tells of its user. Return the memories that hold.

    `known` are earlier memories, which a new one may contradict; `dimensions` are what is of most interest.

    Raises:
        ModelError: the model cannot be had, or does not answer as it was asked.
    """
    question, schema = prompts.extract_memories(followed, said, known, dimensions)
    answers = _list(await _ask(models, followed, question, schema), "memories")
    keyed = prompts.message_keys(said)
    older = prompts.memory_keys(known)
    free = folded_stems([followed.user_name, *(message.sender for message in said)])
    made = [_memory(answer, keyed, older, said, free) for answer in answers]
    held = [memory for memory in made if memory is not None]
    if len(held) < len(made):
        log.info("memories dropped that were not said", conversation=followed.id, dropped=len(made) - len(held))
    return held


def _memory(
    answer: Any,
    keyed: Mapping[str, SaidMessage],
    older: Mapping[str, Memory],
    said: Sequence[SaidMessage],
    free: set[str],
) -> NewMemory | None:
    """Read a memory from a model's answer. Return it, or None if it cannot be read or was not said."""
    if not isinstance(answer, Mapping):
        return None
    fields = cast("Mapping[str, Any]", answer)
    content, context = _text(fields.get("content")), _text(fields.get("context"))
    unique = list({message.id: message for message in _quoted(fields.get("references"), keyed)}.values())
    evidence = [text for message in unique for text in (message.content, _answered(message, said))]
    if not stems(content) or not unique or not is_borne_out(content, evidence, free, FOUND_OF_MEMORY):
        return None
    replaces = [older[key].id for key in _keys(fields.get("replaces")) if key in older]
    if not is_borne_out(context, [*evidence, content], free, FOUND_OF_MODEL):
        context = ""
    return NewMemory(content, context, unique, replaces)


def _quoted(references: Any, keyed: Mapping[str, SaidMessage]) -> Iterable[SaidMessage]:
    """Look up the references of a memory. Yields the messages that have the words quoted of them."""
    for reference in cast("list[Any]", references) if isinstance(references, list) else []:
        if isinstance(reference, Mapping):
            fields = cast("Mapping[str, Any]", reference)
            message = keyed.get(str(fields.get("message")))
            if message is not None and has_quote(message.content, _text(fields.get("quote"))):
                yield message


def _answered(message: SaidMessage, said: Sequence[SaidMessage]) -> str:
    """Look for the agent's words before a message: a short answer takes its words from the question. Return them."""
    before = [other for other in said if other.created_at < message.created_at]
    return before[-1].content if before and before[-1].message_type == "agent-message" else ""


def is_borne_out(text: str, evidence: Sequence[str], free: set[str], share: float) -> bool:
    """Compare a text with the texts that it comes from. Return True if enough of its words are in them.

    Needed are all numbers, all words with a capital within a sentence, and a share of all words; words that say
    nothing, and those that are `free`, do not count.
    """
    if not numbers(text) <= {number for each in evidence for number in numbers(each)}:
        return False
    return has_words(text, folded_stems(evidence), free, share)


# --- Models of users -------------------------------------------------------------------------------------------------


async def generate_user_models(
    models: Models, followed: Followed, known: Sequence[Memory], dimensions: Sequence[Mapping[str, Any]]
) -> list[UserModel]:
    """Ask a model what memories tell of a user in each dimension. Return the models of the user that hold.

    Raises:
        ModelError: the model cannot be had, or does not answer as it was asked.
    """
    if not known or not dimensions:
        return []
    question, schema = prompts.generate_user_models(followed, known, dimensions)
    answers = _list(await _ask(models, followed, question, schema), "models")
    keyed, named = prompts.memory_keys(known), prompts.dimension_keys(dimensions)
    found: dict[str, UserModel] = {}
    for answer in answers:
        if isinstance(answer, Mapping):
            fields = cast("Mapping[str, Any]", answer)
            key = str(fields.get("dimension"))
            model = _user_model(fields, keyed, followed) if key in named and key not in found else None
            if model is not None:
                found[key] = UserModel(model.content, model.insight_ids, [named[key]])
    return [found[key] for key in named if key in found]


def _user_model(fields: Mapping[str, Any], keyed: Mapping[str, Memory], followed: Followed) -> UserModel | None:
    content = _text(fields.get("content"))
    sources = [keyed[key] for key in _keys(fields.get("memories")) if key in keyed]
    evidence = [text for memory in sources for text in (memory.content, memory.context)]
    free = folded_stems([followed.user_name])
    if not stems(content) or not sources or not is_borne_out(content, evidence, free, FOUND_OF_MODEL):
        return None
    return UserModel(content, [memory.id for memory in sources], [])


# --- Answers ---------------------------------------------------------------------------------------------------------


async def _ask(models: Models, followed: Followed, question: Prompt, schema: Mapping[str, Any]) -> Any:
    model, question = model_for(models, followed.llm_model_preferences, question)
    return await model.choose(question, schema)


def _list(answer: Any, key: str) -> list[Any]:
    items = cast("Mapping[str, Any]", answer).get(key) if isinstance(answer, Mapping) else None
    if not isinstance(items, list):
        raise ModelMisbehaved(f"the answer has no list of {key}")
    return cast("list[Any]", items)


def _text(value: Any) -> str:
    return " ".join(value.split())[:LONGEST] if isinstance(value, str) else ""


def _keys(value: Any) -> list[str]:
    keys = [key for key in cast("list[Any]", value) if isinstance(key, str)] if isinstance(value, list) else []
    return list(dict.fromkeys(keys))
