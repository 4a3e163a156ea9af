"""Dynamic behaviour sets, their versions and the services that they apply to, and the turns that they came up in."""

import sqlalchemy as sa
from sqlalchemy import ForeignKeyConstraint, Index, Table, UniqueConstraint

from tertulia.storage.tables.base import document, flag, key, metadata, moment, number, text

behavior_sets = Table(
    "behavior_sets",
    metadata,
    key(),
    text("org_id"),
    text("name"),
    flag("is_active"),
    flag("is_deleted"),  # a deleted set is inactive; its invocations can still be read
    document("tags"),
    number("latest_version"),
    text("searched_name"),  # the name, and the triggers of the latest version, as searches compare them
    text("searched_triggers"),
    text("creator_org_id"),
    text("creator_user_id"),
    moment("created_at"),
    text("updated_by_org_id"),
    text("updated_by_user_id"),
    moment("updated_at"),
    Index(None, "org_id", "created_at"),
)
# Two active sets of an organization never share a name.
Index(
    "uq_behavior_sets_active_name",
    behavior_sets.c.org_id,
    behavior_sets.c.name,
    unique=True,
    sqlite_where=sa.text("is_active"),
    postgresql_where=sa.text("is_active"),
)

behavior_set_services = Table(
    "behavior_set_services",
    metadata,
    text("org_id"),
    key("set_id"),
    key("service_id"),
    Index(None, "service_id"),
    ForeignKeyConstraint(["set_id"], ["behavior_sets.id"]),
    ForeignKeyConstraint(["service_id"], ["services.id"]),
)

behavior_set_versions = Table(
    "behavior_set_versions",
    metadata,
    key(),
    text("org_id"),
    text("set_id"),
    number("version"),
    document("conversation_triggers"),
    document("actions"),
    text("creator_org_id"),
    text("creator_user_id"),
    moment("created_at"),
    UniqueConstraint("set_id", "version"),
    ForeignKeyConstraint(["set_id"], ["behavior_sets.id"]),
)

behavior_invocations = Table(
    "behavior_invocations",
    metadata,
    key(),
    text("org_id"),
    text("set_id"),
    number("version"),
    text("conversation_id"),
    text("interaction_id"),
    text("service_id"),
    text("user_id"),
    text("initial_message_id"),
    text("agent_message_id", nullable=True),
    document("inner_thought_ids", nullable=True),  # null: none, so that a condition can tell
    document("external_event_ids", nullable=True),
    moment("invoked_at"),
    Index(None, "set_id", "invoked_at"),
    Index(None, "conversation_id"),
    ForeignKeyConstraint(["set_id"], ["behavior_sets.id"]),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)
