"""Insights into interactions as they are stored: values by their place, without the empty ones at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

_EMPTY: Mapping[str, Any] = {
    "current_graph": None,
    "current_state_name": "",
    "current_state_action": "",
    "current_state_objective": "",
    "state_transition_logs": [],
    "working_memory": [],
    "triggered_dynamic_behavior_set_version_info": None,
    "select_next_action_tool_call_logs": [],
    "engage_user_tool_call_logs": [],
    "pending_tool_calls": [],
    "reply_cut_short": None,
}
"""The names of insights in the order in which they are stored, each with its empty value. New ones come at the end."""


def pack_insights(insights: Mapping[str, Any]) -> list[Any]:
    """Return insights as they are stored."""
    values = [insights.get(name, empty) for name, empty in _EMPTY.items()]
    while values and not values[-1]:
        values.pop()
    return values


def unpack_insights(stored: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """Return insights by their names; older ones are stored so."""
    if isinstance(stored, Mapping):
        return {**stored}
    return {**_EMPTY, **dict(zip(_EMPTY, stored, strict=False))}
