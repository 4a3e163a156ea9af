"""Opinions of messages: one for each person and message."""

from sqlalchemy import ForeignKeyConstraint, Index, Table, UniqueConstraint

from tertulia.storage.tables.base import key, metadata, moment, text

feedback = Table(
    "feedback",
    metadata,
    key(),
    text("org_id"),
    text("conversation_id"),
    text("message_id"),
    text("user_id"),  # who gave it
    text("rating"),  # up or down
    text("comment"),
    moment("created_at"),
    moment("updated_at"),
    UniqueConstraint("message_id", "user_id"),
    ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
    Index(None, "org_id", "updated_at"),
    Index(None, "conversation_id"),
    Index(None, "user_id"),
)
