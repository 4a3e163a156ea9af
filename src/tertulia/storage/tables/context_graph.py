"""Context graphs and their versions."""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Table, UniqueConstraint

from tertulia.storage.tables.base import document, flag, key, metadata, moment, number, text

context_graphs = Table(
    "context_graphs",
    metadata,
    key(),
    text("org_id"),
    text("name"),
    flag("deprecated"),
    number("latest_version", nullable=True),
    moment("created_at"),
    UniqueConstraint("org_id", "name"),
)

context_graph_versions = Table(
    "context_graph_versions",
    metadata,
    text("org_id"),
    key("context_graph_id"),
    Column("version", sa.Integer, primary_key=True),
    document("body"),
    text("creator_org_id"),
    text("creator_user_id"),
    moment("created_at"),
    ForeignKeyConstraint(["context_graph_id"], ["context_graphs.id"]),
)
