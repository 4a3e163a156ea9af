"""The one schema, for SQLite and PostgreSQL. Every table carries the organization."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, Table, UniqueConstraint

from tertulia.storage.database.dialect import JSON, Timestamp

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, sa.Text, nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, Timestamp, nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, sa.Integer, nullable=nullable)


def _flag(name: str) -> Column[bool]:
    return Column(name, sa.Boolean, nullable=False)


def _json(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, JSON, nullable=nullable)


def _id(name: str = "id") -> Column[str]:
    return Column(name, sa.Text, primary_key=True)


# In the default cluster alone: which cluster holds which organization, and what signs tokens.
directory = Table("directory", metadata, _id("org_id"), _text("cluster"))

signing_keys = Table(
    "signing_keys",
    metadata,
    _id("kid"),
    _text("org_id", nullable=True),  # always null: the keys are the installation's
    _text("encrypted_secret"),
    _time("created_at"),
)

organizations = Table(
    "organizations",
    metadata,
    _id("org_id"),
    _text("name"),
    _text("tenant_id"),
    _json("default_user_preferences"),
    _time("created_at"),
)

roles = Table(
    "roles",
    metadata,
    _id(),
    _text("org_id"),
    _text("name"),
    _text("description"),
    _json("permission_grants"),
    _text("frontend_view"),
    _time("created_at"),
    UniqueConstraint("org_id", "name"),
)

users = Table(
    "users",
    metadata,
    _id(),
    _text("org_id"),
    _text("role_id"),
    _text("first_name"),
    _text("last_name"),
    _text("email"),  # lower case: it is unique whatever its case
    _flag("is_verified"),
    _json("preferences"),
    _flag("conversations_visible_to_admins"),
    _flag("user_model_visible_to_admins"),
    _json("additional_context"),
    _json("nonsensitive_variables"),
    _json("sensitive_variables"),  # name to encrypted value
    _number("num_conversations"),
    _number("num_messages"),
    _time("last_message_time", nullable=True),
    _time("created_at"),
    UniqueConstraint("org_id", "email"),
    ForeignKeyConstraint(["role_id"], ["roles.id"]),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    _text("org_id"),
    _text("key_id"),
    _text("name", nullable=True),
    _text("key_hash"),  # SHA-256 of 256 random bits, in hexadecimal
    _text("role_id"),
    _text("creator_org_id"),
    _text("creator_user_id"),
    _time("created_at"),
    _time("updated_at"),
    _time("expires_at"),
    UniqueConstraint("org_id", "key_id"),
    ForeignKeyConstraint(["role_id"], ["roles.id"]),
)

agents = Table(
    "agents",
    metadata,
    _id(),
    _text("org_id"),
    _text("name"),
    _flag("deprecated"),
    _number("latest_version", nullable=True),
    _time("created_at"),
    UniqueConstraint("org_id", "name"),
)

agent_versions = Table(
    "agent_versions",
    metadata,
    _text("org_id"),
    _id("agent_id"),
    Column("version", sa.Integer, primary_key=True),
    _json("body"),
    _text("creator_org_id"),
    _text("creator_user_id"),
    _time("created_at"),
    ForeignKeyConstraint(["agent_id"], ["agents.id"]),
)

context_graphs = Table(
    "context_graphs",
    metadata,
    _id(),
    _text("org_id"),
    _text("name"),
    _flag("deprecated"),
    _number("latest_version", nullable=True),
    _time("created_at"),
    UniqueConstraint("org_id", "name"),
)

context_graph_versions = Table(
    "context_graph_versions",
    metadata,
    _text("org_id"),
    _id("context_graph_id"),
    Column("version", sa.Integer, primary_key=True),
    _json("body"),
    _text("creator_org_id"),
    _text("creator_user_id"),
    _time("created_at"),
    ForeignKeyConstraint(["context_graph_id"], ["context_graphs.id"]),
)

services = Table(
    "services",
    metadata,
    _id(),
    _text("org_id"),
    _text("name"),
    _text("description"),
    _flag("is_active"),
    _text("agent_id"),
    _text("context_graph_id"),
    _json("tags"),
    _json("keyterms"),
    _text("creator_org_id"),
    _text("creator_user_id"),
    _text("updated_by_org_id"),
    _text("updated_by_user_id"),
    _time("created_at"),
    ForeignKeyConstraint(["agent_id"], ["agents.id"]),
    ForeignKeyConstraint(["context_graph_id"], ["context_graphs.id"]),
)
# Two active services of an organization never share a name.
Index(
    "uq_services_active_name",
    services.c.org_id,
    services.c.name,
    unique=True,
    sqlite_where=sa.text("is_active"),
    postgresql_where=sa.text("is_active"),
)

version_sets = Table(
    "version_sets",
    metadata,
    _text("org_id"),
    _id("service_id"),
    _id("name"),
    _number("agent_version", nullable=True),  # null: the latest
    _number("context_graph_version", nullable=True),  # null: the latest
    _json("llm_model_preferences"),
    ForeignKeyConstraint(["service_id"], ["services.id"]),
)

conversations = Table(
    "conversations",
    metadata,
    _id(),
    _text("org_id"),
    _text("user_id"),
    _text("service_id"),
    _text("version_set_name"),
    _text("agent_id"),
    _number("agent_version"),
    _text("context_graph_id"),
    _number("context_graph_version"),
    _json("llm_model_preferences"),
    _json("tags"),
    _flag("is_test"),
    _flag("is_finished"),
    _flag("is_analyzed"),
    _json("completed_post_processings"),
    _json("position"),  # where the conversation stands in its graphs; see engine/graph/context_graph.py
    _number("num_interactions"),  # 0: its first turn has not been committed
    _number("num_messages"),
    _text("last_interaction_id", nullable=True),
    _time("last_message_time", nullable=True),
    _time("created_at"),
    _time("finished_at", nullable=True),
    # The claim of the one turn that may run: see storage/conversation.py.
    _number("lease_token"),
    _text("lease_owner", nullable=True),
    _text("lease_interaction_id", nullable=True),
    _time("lease_expires_at", nullable=True),
    Index(None, "org_id", "created_at"),
    Index(None, "user_id", "service_id", "is_finished"),
    Index(None, "lease_expires_at"),
)
# One unfinished conversation for a user and a service.
Index(
    "uq_conversations_unfinished",
    conversations.c.org_id,
    conversations.c.user_id,
    conversations.c.service_id,
    unique=True,
    sqlite_where=sa.text("NOT is_finished"),
    postgresql_where=sa.text("NOT is_finished"),
)

interactions = Table(
    "interactions",
    metadata,
    _id(),
    _text("org_id"),
    _text("conversation_id"),
    _number("number"),  # 1 for the first of its conversation
    _json("insights"),
    _time("created_at"),
    UniqueConstraint("conversation_id", "number"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)

messages = Table(
    "messages",
    metadata,
    _id(),
    _text("org_id"),
    _text("conversation_id"),
    _text("interaction_id"),
    _text("message_type"),
    _text("format"),
    _text("sender"),
    _text("content"),
    _time("created_at"),  # no two of a conversation are the same: this is their order
    UniqueConstraint("conversation_id", "created_at"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)

# What a settled turn streamed, byte for byte, for as long as it can be replayed.
streams = Table(
    "streams",
    metadata,
    _text("org_id"),
    _id("interaction_id"),
    _text("conversation_id"),
    Column("body", sa.LargeBinary, nullable=False),  # NDJSON, compressed by zlib
    _time("expires_at"),
    Index(None, "expires_at"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)

# The sound of messages that were spoken: as it was sent, or as it was received where that can be played.
recordings = Table(
    "recordings",
    metadata,
    _text("org_id"),
    _id("message_id"),
    _text("conversation_id"),
    _text("content_type"),  # audio/wav or audio/mpeg
    Column("body", sa.LargeBinary, nullable=False),
    _time("created_at"),
    Index(None, "conversation_id"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)

# Which turn a caller's key began; the row of a void turn says nothing.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    _id("org_id"),
    _id("user_id"),
    _id("key"),
    _text("request_hash"),
    _text("conversation_id"),
    _text("interaction_id"),
    _time("expires_at"),
    Index(None, "interaction_id"),
    Index(None, "expires_at"),
)

# In the default cluster alone: the processes that run turns, and where the others reach them.
workers = Table(
    "workers",
    metadata,
    _id(),
    _text("org_id", nullable=True),  # always null: a worker serves every organization
    _text("address"),
    _time("expires_at"),
)

# In the default cluster alone: a row while the installation is under maintenance.
maintenance = Table(
    "maintenance",
    metadata,
    _id(),
    _text("org_id", nullable=True),  # always null: it holds for every organization
    _time("since"),
)
