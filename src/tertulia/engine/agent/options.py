"""Options of a choice, and the words and the schema that put them to a model.

Those of a state are the same in every turn: they and their words are made once for as long as its graph is held.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tertulia.caching import kept_while_alive
from tertulia.engine.graph import sayings
from tertulia.engine.graph.context_graph import ActionState, ContextGraph, DecisionState, ExitCondition, Graphs
from tertulia.providers.base import Option

NONE = "none"
"""The key of the option that is right if no matter is meant."""

_MOST_ORDINARY = 300  # sayings of graphs that matters are told from
_NAME = re.compile(r"\w+")


class Choices(dict[str, str]):
    """Keys, and the text that each stands for; not changed once they are made."""

    @cached_property
    def _named(self) -> dict[str, Mapping[str, Option]]:
        """The options with names of their own, by the state in which they were named."""
        return {}

    def told(self, title: str) -> str:
        """Write the options below a title. Return a line for each, which begins with its key."""
        return "\n".join([title, *(f"{key}: {sayings.described(text)}" for key, text in self.items())])

    @cached_property
    def lines(self) -> str:
        """The options as the note of a state lists them."""
        return self.told("Options:")

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """The JSON schema of an answer that names one of the keys."""
        return {
            "type": "object",
            "properties": {"choice": {"type": "string", "enum": list(self)}},
            "required": ["choice"],
            "additionalProperties": False,
        }

    def named(self, state: ActionState | DecisionState) -> Mapping[str, Option]:
        """Name the options of a state by the states that they lead to, and an action by its own state.

        An action that has others beside it is named by its first word. Return them, exits first.
        """
        if state.name not in self._named:
            self._named[state.name] = _named(state, self)
        return self._named[state.name]


@dataclass(frozen=True, slots=True)
class Matters:
    """The matters to which a conversation may have come, and the sayings of each by its key."""

    choices: Choices
    sayings: Mapping[str, Sequence[str]]

    def options(self, graphs: Graphs) -> Mapping[str, Option]:
        """Name matters by the words before their first bracket. Return them, and `none` last.

        The sayings of `none` are those of the graphs: what people say anyway.
        """
        options: dict[str, Option] = {}
        taken = {NONE}
        for key in sorted(self.choices, key=NONE.__eq__):
            name = "_".join(_NAME.findall(self.choices[key].partition("(")[0])) or key
            name = key if key == NONE else name if name not in taken else f"{name}_{key}"
            said = _ordinary(graphs) if key == NONE else self.sayings[key]
            options[key] = Option(name, self.choices[key], said)
            taken.add(name)
        return options


@dataclass(frozen=True, slots=True)
class Offer:
    """The actions and the exits of a state by their keys, and their texts."""

    by_key: Mapping[str, str | ExitCondition]
    choices: Choices


@kept_while_alive
def actions_of(state: ActionState) -> Offer:
    """Return the offer of a state that may not be left."""
    return _offer(_actions(state))


@kept_while_alive
def actions_and_exits_of(state: ActionState) -> Offer:
    """Return the offer of a state that may be left."""
    return _offer(_actions(state) | _exits(state))


@kept_while_alive
def exits_of(state: DecisionState) -> Offer:
    """Return the offer of a state that has to be left."""
    return _offer(_exits(state))


def _actions(state: ActionState) -> dict[str, str | ExitCondition]:
    return {f"action-{n}": text for n, text in enumerate(state.actions, 1)}


def _exits(state: ActionState | DecisionState) -> dict[str, str | ExitCondition]:
    return {f"exit-{n}": exit_ for n, exit_ in enumerate(state.exit_conditions, 1)}


def _offer(by_key: Mapping[str, str | ExitCondition]) -> Offer:
    texts = {key: each if isinstance(each, str) else each.description for key, each in by_key.items()}
    return Offer(by_key, Choices(texts))


def _named(state: ActionState | DecisionState, choices: Choices) -> Mapping[str, Option]:
    leads_to = {f"exit-{n}": exit_.next_state for n, exit_ in enumerate(state.exit_conditions, 1)}
    is_alone = sum(key not in leads_to for key in choices) == 1
    options: dict[str, Option] = {}
    taken: set[str] = set()
    for key, choice in sorted(choices.items(), key=lambda choice: choice[0] not in leads_to):
        text, said = sayings.described(choice), sayings.split(choice)[1]
        target = leads_to.get(key, state.name if is_alone else _first_word(text) or key)
        name = target if isinstance(target, str) else target[0]
        options[key] = Option(name if name not in taken else f"{name}_{key}", text, said)
        taken.add(name)
    return options


def _first_word(text: str) -> str:
    found = _NAME.search(text)
    return found[0].lower() if found else ""


def _ordinary(graphs: Graphs) -> Sequence[str]:
    said = dict.fromkeys(one for graph in graphs.values() for one in _sayings(graph))
    return [*said][:_MOST_ORDINARY]


@kept_while_alive
def _sayings(graph: ContextGraph) -> Sequence[str]:
    """Collect what people say in the states of a graph. Return it in the order of the states."""
    choosing = [state for state in graph.states if isinstance(state, ActionState | DecisionState)]
    options = [option for state in choosing for option in _options(state).values()]
    texts = [option if isinstance(option, str) else option.description for option in options]
    return tuple(said for text in texts for said in sayings.split(text)[1])


def _options(state: ActionState | DecisionState) -> dict[str, str | ExitCondition]:
    return _exits(state) | (_actions(state) if isinstance(state, ActionState) else {})
