"""Links that show a conversation, or a message of it, to whoever has them. Of each token, only a hash is stored."""

from sqlalchemy import ForeignKeyConstraint, Index, Table, UniqueConstraint

from tertulia.storage.tables.base import key, metadata, moment, text

shares = Table(
    "shares",
    metadata,
    key(),
    text("org_id"),
    text("conversation_id"),
    text("message_id", nullable=True),  # null: the whole conversation
    text("user_id"),  # who made it, and as whom it is read
    text("token_hash"),
    moment("created_at"),
    moment("expires_at"),
    UniqueConstraint("token_hash"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
    Index(None, "conversation_id"),
    Index(None, "user_id"),
    Index(None, "expires_at"),
)
