"""A state as a dynamic behaviour changes it: with instructions beside its own, or in their place. Pure.

The instructions stand where they decide: last among the rules of a choice, and last in the question for a reply.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from tertulia.engine.agent.scene import Behavior
from tertulia.engine.graph.context_graph import ActionState, DecisionState, ToolCallSpec

S = TypeVar("S", ActionState, DecisionState)

OVERRIDDEN = "Do what is said below, after `Now`. Where it gives words, use these words."
"""The objective of a message whose instructions come from a behaviour alone."""

BESIDE = "Above all, in this message:"
"""The beginning of the instructions of a behaviour that stand beside those of a state."""


def for_navigation(state: S, behavior: Behavior | None) -> S:
    """Apply a behaviour to the rules by which a state is left, or its action chosen. Return the state to ask about."""
    if behavior is None or not behavior.instructions:
        return state
    field = "decision_guidelines" if isinstance(state, DecisionState) else "intra_state_navigation_guidelines"
    own: list[str] = [] if behavior.overrides else getattr(state, field)
    return state.model_copy(update={field: [*own, *behavior.instructions]})


def for_speech(state: ActionState, action: str, behavior: Behavior | None) -> tuple[ActionState, str]:
    """Apply a behaviour to a message of an action state. Return the state, and what to do in the message."""
    if behavior is None or not behavior.instructions:
        return state, action
    told = "\n".join(behavior.instructions)
    if not behavior.overrides:
        return state, f"{action}\n{BESIDE} {told}"
    bare: dict[str, Any] = {"objective": OVERRIDDEN, "action_guidelines": [], "boundary_constraints": []}
    return state.model_copy(update=bare), told


def offered(own: Sequence[ToolCallSpec], behavior: Behavior | None) -> Sequence[ToolCallSpec]:
    """Apply a behaviour to the tools of a state. Return those to offer, each once, the behaviour's first."""
    added = () if behavior is None else behavior.tool_call_specs
    kept = () if behavior is not None and behavior.overrides_tools else own
    return list({spec.tool_id: spec for spec in reversed([*added, *kept])}.values())[::-1] if added else kept
