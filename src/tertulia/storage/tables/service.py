"""Services and their version sets."""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, Table

from tertulia.storage.tables.base import document, flag, key, metadata, moment, number, text

services = Table(
    "services",
    metadata,
    key(),
    text("org_id"),
    text("name"),
    text("description"),
    flag("is_active"),
    text("agent_id"),
    text("context_graph_id"),
    document("tags"),
    document("keyterms"),
    document("result_schema", nullable=True),  # an extension: what is to be found out in a conversation
    text("creator_org_id"),
    text("creator_user_id"),
    text("updated_by_org_id"),
    text("updated_by_user_id"),
    moment("created_at"),
    # Counts the changes of the dynamic behaviours that apply to the service; 0: none ever did.
    Column("behaviors_revision", sa.Integer, nullable=False, default=0),
    Index(None, "agent_id"),
    Index(None, "context_graph_id"),
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
    text("org_id"),
    key("service_id"),
    key("name"),
    number("agent_version", nullable=True),  # null: the latest
    number("context_graph_version", nullable=True),  # null: the latest
    document("llm_model_preferences"),
    ForeignKeyConstraint(["service_id"], ["services.id"]),
)
