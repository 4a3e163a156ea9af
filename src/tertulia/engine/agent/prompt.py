"""Every prompt, in one place: functions from what the engine knows to what a model is asked.

Choices are keys (`action-1`, `exit-2`) that the system text lists one a line, with a JSON schema that allows no other
answer: small models follow that where they ignore free instructions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from tertulia import clock, languages
from tertulia.engine.agent.scene import Agent, Person, Scene
from tertulia.engine.graph.context_graph import ActionState, ContextGraph, DecisionState
from tertulia.providers.base import Prompt, Role, Turn
from tertulia.storage.turn.values import Message

SELECT_NEXT_ACTION = "SelectNextAction"
SELECT_NEXT_ACTION_FOR_DECISION_STATE = "SelectNextActionForDecisionState"
ENGAGE_USER = "EngageUser"
RECOMMEND_RESPONSES = "RecommendResponses"
GENERATE_CONVERSATION_STARTERS = "GenerateConversationStarters"

SPOKEN = "Your message will be spoken aloud: write as one speaks, without lists, headings, links, code or emoji."

Choices = Mapping[str, str]
"""Keys and what each stands for."""


@dataclass(frozen=True, slots=True)
class Said:
    """The conversation as a model is shown it, and what the agent has thought meanwhile."""

    turns: Sequence[Turn]
    thoughts: Sequence[str]


def said(messages: Iterable[Message]) -> Said:
    """Turns that alternate, begin and end with the user, as every vendor accepts them; thoughts apart."""
    turns: list[tuple[Role, list[str]]] = []
    thoughts: list[str] = []
    for message in messages:
        if not message.content:  # spoken, and interrupted before anything was heard
            continue
        if message.message_type == "agent-inner-thought":
            thoughts.append(message.content)
            continue
        role: Role = "assistant" if message.message_type == "agent-message" else "user"
        if not turns and role == "assistant":
            turns.append(("user", ["(The conversation begins.)"]))
        if not turns or turns[-1][0] != role:
            turns.append((role, []))
        turns[-1][1].append(_shown(message))
    if not turns:
        turns.append(("user", ["(The conversation begins. You speak first.)"]))
    elif turns[-1][0] == "assistant":
        turns.append(("user", ["(The user says nothing. Go on.)"]))
    return Said([Turn(role, "\n\n".join(texts)) for role, texts in turns], thoughts)


def _shown(message: Message) -> str:
    if message.message_type == "external-event":
        return f"(Event at {message.created_at:%Y-%m-%d %H:%M} UTC: {message.content})"
    return message.content


def choice_schema(choices: Choices) -> dict[str, Any]:
    """The schema of an answer that names one of the keys."""
    return {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": list(choices)}},
        "required": ["choice"],
        "additionalProperties": False,
    }


def select_next_action(scene: Scene, graph: ContextGraph, state: ActionState, talk: Said, choices: Choices) -> Prompt:
    """Ask for the next action of an action state, or for the exit condition that is met."""
    guidelines = [*graph.global_intra_state_navigation_guidelines, *state.intra_state_navigation_guidelines]
    system = _sections(
        _who(scene.agent),
        f"You decide silently what to do next. Your objective now: {state.objective}",
        _list("How to choose:", guidelines),
        _list("What you have thought:", talk.thoughts),
        _options(choices),
        "Choose an exit only when what was said shows that its condition is met; otherwise choose an action.",
        _answer_with_key(choices),
    )
    return Prompt(SELECT_NEXT_ACTION, system, talk.turns)


def select_exit(scene: Scene, state: DecisionState, talk: Said, choices: Choices) -> Prompt:
    """Ask by which exit to leave a decision state."""
    system = _sections(
        _who(scene.agent),
        f"You decide silently where the conversation goes. Your objective now: {state.objective}",
        _list("How to decide:", state.decision_guidelines),
        _list("What you have thought:", talk.thoughts),
        _options(choices),
        _answer_with_key(choices),
    )
    return Prompt(SELECT_NEXT_ACTION_FOR_DECISION_STATE, system, talk.turns)


def engage_user(scene: Scene, graph: ContextGraph, state: ActionState, action: str, talk: Said) -> Prompt:
    """Ask for the agent's next message to the user."""
    agent = scene.agent
    system = _sections(
        _who(agent),
        agent.background,
        _list("How you behave:", agent.behaviors),
        _list("How you talk:", agent.communication_patterns),
        _person(agent, scene.person),
        _list("What you have thought:", talk.thoughts),
        f"Your objective now: {state.objective}",
        _list("Follow these guidelines:", [*graph.global_action_guidelines, *state.action_guidelines]),
        _list("Never cross these limits:", [*graph.global_boundary_constraints, *state.boundary_constraints]),
        "" if scene.speaking is None else SPOKEN,
        f"Now: {action}\nWrite your next message to the user, and nothing else.",
    )
    return Prompt(ENGAGE_USER, system, talk.turns)


def recommend_responses(agent: Agent, context: str, talk: Said) -> tuple[Prompt, dict[str, Any]]:
    """Ask what the user might answer; with the schema of the list."""
    system = _sections(
        f"A user talks with {agent.identity.name}, {agent.identity.role}. You write what the user could say next.",
        f"About the user:\n{context}",
        "Answer in JSON with a list of two or three short, different messages in the user's words and language.",
    )
    return Prompt(RECOMMEND_RESPONSES, system, talk.turns), _texts_schema("responses", 2, 3)


def conversation_starters(
    agent: Agent, graph: ContextGraph, facets: Sequence[str], instructions: str, count: tuple[int, int]
) -> tuple[Prompt, dict[str, Any]]:
    """Ask for first messages that a user could send about some facets; with the schema of the list."""
    low, high = count
    amount = str(low) if low == high else f"{low} to {high}"
    system = _sections(
        f"Users talk with {agent.identity.name}, {agent.identity.role}. The service: {graph.description}",
        _options({f"facet-{n}": facet for n, facet in enumerate(facets, 1)}, "Facets:"),
        f"Instructions: {instructions}",
        f"Answer in JSON with {amount} prompts that a user could begin with, each with the keys of its facets.",
    )
    keys = {"type": "string", "enum": [f"facet-{n}" for n in range(1, len(facets) + 1)]}
    starter = {
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "minLength": 1},
            "facets": {"type": "array", "items": keys, "minItems": 1, "maxItems": len(facets)},
        },
        "required": ["prompt", "facets"],
        "additionalProperties": False,
    }
    turns = [Turn("user", "Write the prompts.")]
    return Prompt(GENERATE_CONVERSATION_STARTERS, system, turns), _list_schema("prompts", starter, low, high)


def _texts_schema(name: str, low: int, high: int) -> dict[str, Any]:
    return _list_schema(name, {"type": "string", "minLength": 1}, low, high)


def _list_schema(name: str, items: dict[str, Any], low: int, high: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "array", "items": items, "minItems": low, "maxItems": high}},
        "required": [name],
        "additionalProperties": False,
    }


def _sections(*sections: str) -> str:
    return "\n\n".join(section for section in sections if section)


def _list(title: str, items: Sequence[str]) -> str:
    return "\n".join([title, *(f"- {item}" for item in items)]) if items else ""


def _options(choices: Choices, title: str = "Options:") -> str:
    return "\n".join([title, *(f"{key}: {text}" for key, text in choices.items())])


def _answer_with_key(choices: Choices) -> str:
    """With an example: small models then answer with the key alone, three times as fast."""
    return f'Answer in JSON with the key of one option, for example {{"choice": "{next(iter(choices))}"}}.'


def _who(agent: Agent) -> str:
    who, relation = agent.identity, agent.identity.relationship_to_developer
    return (
        f"You are {who.name}, {who.role}, developed by {who.developed_by}. "
        f"Who owns you: {relation.ownership}. What you are to them: {relation.type}. "
        f"Whether they see your conversations: {relation.conversation_visibility}. "
        f"Whether they see your thoughts: {relation.thought_visibility}."
    )


def _person(agent: Agent, person: Person) -> str:
    language = _language(person.language or agent.identity.default_spoken_language)
    local_time = clock.now().astimezone(ZoneInfo(person.timezone))
    return _sections(
        f"You talk with {person.name}, in {language}. For them it is {local_time:%A, %d %B %Y, %H:%M}.",
        _list("What you know about them:", person.additional_context),
    )


@lru_cache(maxsize=256)
def _language(code: str) -> str:
    """The English name of an ISO 639-3 code."""
    return found.name if (found := languages.find(code)) else code
