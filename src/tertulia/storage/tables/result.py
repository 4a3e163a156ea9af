"""Structured results of conversations."""

from sqlalchemy import ForeignKeyConstraint, Table

from tertulia.storage.tables.base import document, flag, key, metadata, moment, text

# A row from the end of a conversation whose service has a schema then; filled in by a job.
results = Table(
    "results",
    metadata,
    text("org_id"),
    key("conversation_id"),
    document("schema"),
    flag("is_ready"),
    document("fields", nullable=True),  # values by name
    document("sources", nullable=True),  # the message that each value comes from, by name
    moment("created_at"),
    moment("updated_at"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)
