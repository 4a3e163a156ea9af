"""Options of a choice, and the words and the schema that put them to a model.

Those of a state are the same in every turn: they and their words are made once for as long as its graph is held.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tertulia.caching import kept_while_alive
from tertulia.engine.graph import sayings
from tertulia.engine.graph.context_graph import ActionState, DecisionState, ExitCondition
from tertulia.providers.base import Option


class Choices(dict[str, str]):
    """Keys, and the text that each stands for; not changed once they are made."""

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

    @cached_property
    def named(self) -> dict[str, Mapping[str, Option]]:
        """The options with names of their own, by the state in which they were named."""
        return {}


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
