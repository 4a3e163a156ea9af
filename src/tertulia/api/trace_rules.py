"""Rules of traces: the callers who may see them, and those who may see the prompts and answers in them."""

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.storage.message import MESSAGE_TYPES
from tertulia.storage.trace import COLUMNS, GRAPH_COLUMNS, StoredTrace


def require_trace(actor: Actor, trace: StoredTrace) -> None:
    """Raise Forbidden unless a caller may see a trace: as for the insights of its interaction."""
    actor.require(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, trace.attributes)
    graph = {"org_id": trace.org_id, "service_hierarchical_state_machine_id": trace.context_graph_id}
    actor.require(Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE, graph)


def may_read_prompts(actor: Actor, trace: StoredTrace) -> bool:
    """Return True if a caller may read a trace's prompts, in which messages of every type can be."""
    return all(
        actor.may(Permission.CONVERSATION_GET_MESSAGE, {**trace.attributes, "message_type": message_type})
        for message_type in MESSAGE_TYPES
    )


def visible_traces(actor: Actor) -> ColumnElement[bool]:
    """Write a condition for the traces that a caller may see. Return it."""
    return sa.and_(
        actor.visible(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, COLUMNS),
        actor.visible(Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE, GRAPH_COLUMNS),
    )


def visible_prompts(actor: Actor) -> ColumnElement[bool]:
    """Write a condition for the traces whose prompts a caller may read. Return it."""
    message = [{**COLUMNS, "message_type": sa.literal(message_type)} for message_type in MESSAGE_TYPES]
    return sa.and_(
        visible_traces(actor),
        *(actor.visible(Permission.CONVERSATION_GET_MESSAGE, columns) for columns in message),
    )
