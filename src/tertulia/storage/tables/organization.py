"""Organizations, their roles, users and API keys."""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, Table, UniqueConstraint

from tertulia.storage.tables.base import document, flag, key, metadata, moment, number, number_key, size, text

organizations = Table(
    "organizations",
    metadata,
    key("org_id"),
    text("name"),
    text("tenant_id"),
    document("default_user_preferences"),
    document("user_dimensions", nullable=True),  # what models of users are to say
    document("retention", nullable=True),  # the days for which things are kept; see storage/retention.py
    moment("created_at"),
    moment("deleted_at", nullable=True),  # it is gone for everybody; the rest of it is being removed
)

# The bytes that the users of an organization have together, in shards: turns would wait for each other at one row.
organization_usage = Table(
    "organization_usage",
    metadata,
    key("org_id"),
    number_key("shard"),
    size("stored_bytes"),
)

roles = Table(
    "roles",
    metadata,
    key(),
    text("org_id"),
    text("name"),
    text("description"),
    document("permission_grants"),
    text("frontend_view"),
    moment("created_at"),
    moment("updated_at", nullable=True),  # when somebody changed it; null: it is as it was made
    moment("expires_at", nullable=True),  # of a document that another one has replaced
    UniqueConstraint("org_id", "name"),
)

users = Table(
    "users",
    metadata,
    key(),
    text("org_id"),
    text("role_id"),
    text("first_name"),
    text("last_name"),
    text("email"),  # lower case: it is unique whatever its case
    Column("search_text", sa.Text, nullable=False, server_default=""),  # names and email, as a search compares them
    flag("is_verified"),
    document("preferences"),
    flag("conversations_visible_to_admins"),
    flag("user_model_visible_to_admins"),
    document("additional_context"),
    document("nonsensitive_variables"),
    document("sensitive_variables"),  # name to encrypted value
    number("num_conversations"),
    number("num_messages"),
    moment("last_message_time", nullable=True),
    # Counts the changes of what is remembered of the user; 0: nothing ever was.
    Column("memory_revision", sa.Integer, nullable=False, server_default="0"),
    moment("memory_forgotten_at", nullable=True),  # what was said before is not to be remembered
    size("stored_bytes"),  # of what was said in their conversations: text and sound
    moment("granted_until", nullable=True),  # the end of the last of their temporary grants
    moment("created_at"),
    UniqueConstraint("org_id", "email"),
    Index("ix_users_search", "org_id", "search_text"),
    Index(None, "org_id", "created_at", "id"),  # as lists are sorted
    Index(None, "org_id", "first_name", "created_at", "id"),
    Index(None, "org_id", "last_name", "created_at", "id"),
    Index(None, "role_id"),
    ForeignKeyConstraint(["role_id"], ["roles.id"]),
)

# What begins at each character of a user's search_text, so far: a text that is contained begins one of them.
user_search = Table(
    "user_search",
    metadata,
    key("org_id"),
    Column("part", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), primary_key=True),
    key("user_id"),
    sqlite_with_rowid=False,
)

# What users are sorted by, as it was when it was read last: see storage/user_statistics.py.
user_statistics = Table(
    "user_statistics",
    metadata,
    key("user_id"),
    text("org_id"),
    number("num_conversations"),
    number("num_messages"),
    moment("last_message_time"),  # 0: there is none
    moment("created_at"),
    Index("ix_user_statistics_conversations", "org_id", "num_conversations", "created_at", "user_id"),
    Index("ix_user_statistics_messages", "org_id", "num_messages", "created_at", "user_id"),
    Index("ix_user_statistics_last", "org_id", "last_message_time", "created_at", "user_id"),
)

# One row of a cluster: what was made with smaller identifiers is in user_statistics.
statistics_progress = Table("statistics_progress", metadata, key(), text("read_to"))

api_keys = Table(
    "api_keys",
    metadata,
    key(),
    text("org_id"),
    text("key_id"),
    text("name", nullable=True),
    text("key_hash"),  # SHA-256 of 256 random bits, in hexadecimal
    text("role_id"),
    text("creator_org_id"),
    text("creator_user_id"),
    moment("created_at"),
    moment("updated_at"),
    moment("expires_at"),
    moment("warned_at", nullable=True),  # when the log warned last of its end
    UniqueConstraint("org_id", "key_id"),
    Index(None, "role_id"),
    ForeignKeyConstraint(["role_id"], ["roles.id"]),
)

# What a user may do for some time beyond what their role allows.
temporary_grants = Table(
    "temporary_grants",
    metadata,
    key(),
    text("org_id"),
    text("user_id"),
    text("permission_name"),
    document("conditions"),
    text("justification"),
    document("tags"),
    text("creator_org_id"),
    text("creator_user_id"),
    moment("created_at"),
    moment("updated_at"),
    moment("expires_at"),
    Index(None, "org_id", "created_at"),
    Index(None, "user_id", "expires_at"),
)

# Tokens that a mail brings, each good for one sign-in. Of each, only a hash is stored.
mail_tokens = Table(
    "mail_tokens",
    metadata,
    key("token_hash"),
    text("org_id"),
    text("user_id"),
    moment("expires_at"),
    Index(None, "expires_at"),
    Index(None, "user_id"),
)

# Users as identity providers know them.
identities = Table(
    "identities",
    metadata,
    key(),
    text("org_id"),
    text("user_id"),
    text("issuer"),
    text("subject"),  # the lasting name of a person at their provider; an address may change hands
    moment("created_at"),
    UniqueConstraint("org_id", "issuer", "subject"),
    UniqueConstraint("user_id", "issuer"),
    ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
)

# ID tokens and sign-ins of the page that were used, until they would have ended. Of each, only a hash is stored.
used_sign_ins = Table(
    "used_sign_ins",
    metadata,
    key("hash"),
    text("org_id"),
    moment("expires_at"),
    Index(None, "expires_at"),
)
