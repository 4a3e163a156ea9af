"""The objects that changes are made to, as the audit log shows them before a change and after it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Table
from sqlalchemy.engine import Connection

from tertulia.storage import tables


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of object: its table, the columns that its id names, and the columns that a change is told of."""

    table: Table
    key: tuple[str, ...]
    shown: tuple[str, ...]


_VERSIONED = ("name", "deprecated", "latest_version")
_KINDS: Mapping[str, _Kind] = {
    "agent": _Kind(tables.agents, ("id",), _VERSIONED),
    "api_key": _Kind(tables.api_keys, ("key_id",), ("name", "role_id", "expires_at")),
    "conversation": _Kind(tables.conversations, ("id",), ("tags", "is_finished")),
    "dynamic_behavior_set": _Kind(
        tables.behavior_sets, ("id",), ("name", "is_active", "is_deleted", "tags", "latest_version")
    ),
    "organization": _Kind(
        tables.organizations, ("org_id",), ("name", "default_user_preferences", "user_dimensions", "retention")
    ),
    "role": _Kind(tables.roles, ("name",), ("name", "description", "permission_grants", "frontend_view")),
    "service": _Kind(
        tables.services,
        ("id",),
        ("name", "description", "is_active", "agent_id", "context_graph_id", "tags", "keyterms", "result_schema"),
    ),
    "service_hierarchical_state_machine": _Kind(tables.context_graphs, ("id",), _VERSIONED),
    "temporary_permission_grant": _Kind(
        tables.temporary_grants, ("id",), ("user_id", "permission_name", "conditions", "justification", "expires_at")
    ),
    "tool": _Kind(tables.tools, ("id",), ("name", "description", "tags", "deprecated", "published")),
    "user": _Kind(
        tables.users,
        ("id",),
        (
            "first_name",
            "last_name",
            "email",
            "role_id",
            "is_verified",
            "preferences",
            "conversations_visible_to_admins",
            "user_model_visible_to_admins",
            "additional_context",
            "nonsensitive_variables",
            "sensitive_variables",
        ),
    ),
    "version_set": _Kind(
        tables.version_sets,
        ("service_id", "name"),
        ("agent_version", "context_graph_version", "llm_model_preferences"),
    ),
}


def find_object(connection: Connection, org_id: str, kind: str, object_id: str) -> dict[str, Any]:
    """Look for an object of an organization. Return what the log shows of it; nothing if there is none."""
    known = _KINDS.get(kind)
    if known is None or not object_id:
        return {}
    table = known.table
    values = object_id.split("/", len(known.key) - 1)
    if len(values) != len(known.key):
        return {}
    query = sa.select(*(table.c[name] for name in known.shown)).where(table.c.org_id == org_id)
    for name, value in zip(known.key, values, strict=True):
        query = query.where(table.c[name] == value)
    found = connection.execute(query).mappings().first()
    return {} if found is None else dict(found)


def is_hidden(connection: Connection, org_id: str, kind: str, object_id: str) -> bool:
    """Return True if an object is a conversation whose user hides theirs from administrators."""
    if kind != "conversation":
        return False
    owner = tables.conversations.c.user_id == tables.users.c.id
    query = sa.select(tables.users.c.conversations_visible_to_admins).select_from(
        tables.conversations.join(tables.users, owner)
    )
    this = tables.conversations.c.org_id == org_id, tables.conversations.c.id == object_id
    return connection.execute(query.where(*this)).scalar() is False
