"""The audit log of an organization: a line for each change, chained to the one before it."""

from sqlalchemy import Column, Index, Table, Text

from tertulia.storage.tables.base import key, metadata, moment, number, number_key, text

# A line is never changed, but for what an erased person has left in it: see storage/audit.py.
audit_lines = Table(
    "audit_lines",
    metadata,
    key("org_id"),
    number_key("number"),  # from 1, without a gap
    moment("at"),
    text("action"),
    text("object_kind"),
    text("object_id"),
    text("actor_org_id"),
    text("actor_user_id"),
    text("api_key_id"),  # of the key that the actor has signed in with; empty: none
    text("address"),
    text("request_id"),
    text("change"),  # JSON
    text("content_digest"),  # of what an erasure may take out of the line
    Column("erased_digest", Text, nullable=True),  # of what it has left instead
    text("digest"),  # of the whole line, and of the digest before it
    Index(None, "org_id", "at"),
    Index(None, "org_id", "actor_user_id", "number"),
    Index(None, "org_id", "object_id", "number"),
    Index(None, "org_id", "action", "number"),
)

# Where the log of an organization begins and ends; whoever writes a line holds this row.
audit_heads = Table(
    "audit_heads",
    metadata,
    key("org_id"),
    number("number"),  # of the last line
    text("digest"),  # of the last line
    number("base_number"),  # of the last line that was removed for its age; 0: none was
    text("base_digest"),  # of that line
    text("base_seal"),  # shows that the server itself has removed it
)
