"""Terms by which messages are searched, a row for each message, and how far the messages have been read for them."""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, Table, UniqueConstraint

from tertulia.storage.tables.base import key, metadata, moment, text

# On SQLite triggers keep a full-text index beside it, `message_index`: see storage/database/full_text.py.
message_searches = Table(
    "message_searches",
    metadata,
    Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),  # in the order of time
    text("org_id"),
    text("message_id"),
    text("terms"),  # see storage/message_search.py
    UniqueConstraint("message_id"),
    ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
)
Index(
    "ix_message_searches_terms",
    sa.func.string_to_array(message_searches.c.terms, sa.literal_column("' '")),
    postgresql_using="gin",
).ddl_if(dialect="postgresql")

# One row. One process at a time reads messages for the search: the one that holds the row.
search_progress = Table(
    "search_progress",
    metadata,
    key(),
    text("read_to"),  # messages with smaller identifiers have been read
    text("holder"),
    moment("held_until"),
)
