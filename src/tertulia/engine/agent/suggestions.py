"""Suggestions for a user: the next message of a conversation, or a first one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tertulia.engine.agent import prompt
from tertulia.engine.agent.models import Models, model_for
from tertulia.engine.agent.prompt import Setting
from tertulia.engine.agent.scene import Agent
from tertulia.engine.graph.context_graph import ContextGraph
from tertulia.errors import ModelMisbehaved
from tertulia.providers.base import Prompt
from tertulia.storage.turn.values import Message
from tertulia.texts import is_blank


@dataclass(frozen=True, slots=True)
class StarterWish:
    """A wish for first messages about some facets: `least` of them at least, `most` at most."""

    facets: Sequence[str]
    instructions: str
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Starter:
    """A first message that a user could send, and the facets that it is about."""

    prompt: str
    facets: Sequence[str]


async def recommend_responses(
    models: Models, preferences: Mapping[str, Any], setting: Setting, history: Sequence[Message], context: str
) -> list[str]:
    """Ask the model for answers that the user might give now. Return them. Raises ModelError."""
    question, schema = prompt.recommend_responses(setting, context, prompt.said(history, setting.person.timezone))
    answer = await _ask(models, preferences, question, schema)
    return [text for text in _list(answer, "responses") if isinstance(text, str) and not is_blank(text)]


async def conversation_starters(
    models: Models, preferences: Mapping[str, Any], agent: Agent, graph: ContextGraph, wish: StarterWish
) -> list[Starter]:
    """Ask the model for first messages. Return them. Raises ModelError."""
    count = wish.least, wish.most
    question, schema = prompt.conversation_starters(agent, graph, wish.facets, wish.instructions, count)
    answer = await _ask(models, preferences, question, schema)
    names = {f"facet-{n}": facet for n, facet in enumerate(wish.facets, 1)}
    starters = [_starter(item, names) for item in _list(answer, "prompts")][: wish.most]
    if len(starters) < wish.least:
        raise ModelMisbehaved("too few conversation starters")
    return starters


async def _ask(models: Models, preferences: Mapping[str, Any], question: Prompt, schema: Mapping[str, Any]) -> Any:
    model, question = model_for(models, preferences, question)
    return await model.choose(question, schema)


def _list(answer: Any, key: str) -> list[Any]:
    items = cast("Mapping[str, Any]", answer).get(key) if isinstance(answer, Mapping) else None
    if not isinstance(items, list):
        raise ModelMisbehaved(f"the answer has no list of {key}")
    return cast("list[Any]", items)


def _starter(item: Any, names: Mapping[str, str]) -> Starter:
    try:
        facets, text = dict.fromkeys(names[key] for key in item["facets"]), item["prompt"]
    except (KeyError, TypeError) as error:
        raise ModelMisbehaved("a conversation starter is not of the asked form") from error
    if not isinstance(text, str) or is_blank(text):
        raise ModelMisbehaved("a conversation starter has no text")
    return Starter(text, list(facets))
