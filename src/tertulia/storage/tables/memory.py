"""Memories of users, what finds them, and the models of users that are made of them."""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, Table

from tertulia.storage.tables.base import document, flag, key, metadata, moment, number, text

memories = Table(
    "memories",
    metadata,
    key(),
    text("org_id"),
    text("user_id"),
    text("conversation_id"),
    text("content"),
    text("context"),
    document("message_ids"),  # the messages that the memory comes from
    flag("cites_user"),  # true if a user's message is among them, so that a condition can tell
    flag("cites_event"),  # likewise for external events
    text("replaced_by", nullable=True),  # the memory that contradicts this one
    moment("created_at"),
    moment("corrected_at", nullable=True),
    Index(None, "user_id", "replaced_by"),
    Index(None, "conversation_id"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)

# The words of the memories that hold: a search reads the rows of its own words alone.
memory_words = Table(
    "memory_words",
    metadata,
    text("org_id"),
    key("user_id"),
    key("word"),
    key("memory_id"),
    number("weight"),  # BM25's part of the word in the memory, in thousandths
    Index(None, "memory_id"),
    ForeignKeyConstraint(["memory_id"], ["memories.id"]),
)

# The meaning of the memories that hold. A search compares all signatures, and reads the vectors of the nearest.
memory_vectors = Table(
    "memory_vectors",
    metadata,
    text("org_id"),
    text("user_id"),
    key("memory_id"),
    text("model"),  # and the length of its vectors
    text("signature"),  # the signs of the first numbers of the vector, in hexadecimal
    Column("vector", sa.LargeBinary, nullable=False),  # 16-bit floats of a vector of length 1
    Index(None, "user_id", "model", "memory_id", "signature"),
    ForeignKeyConstraint(["memory_id"], ["memories.id"]),
)

user_models = Table(
    "user_models",
    metadata,
    key(),
    text("org_id"),
    text("user_id"),
    text("content"),
    document("insight_ids"),  # the memories that the model is made of
    document("dimensions"),
    moment("created_at"),
    Index(None, "user_id"),
)
