"""Tools: their variables, their versions, the code of these, and calls that turns made."""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, Table, UniqueConstraint

from tertulia.storage.tables.base import document, flag, key, metadata, moment, number, text

tools = Table(
    "tools",
    metadata,
    key(),
    text("org_id"),
    text("name"),
    text("description"),
    document("tags"),
    flag("deprecated"),
    number("published"),  # versions so far, those of no use any more among them
    text("busy_token", nullable=True),  # of the operation that changes the tool now
    moment("busy_until", nullable=True),
    text("creator_org_id"),
    text("creator_user_id"),
    moment("created_at"),
    text("updated_by_org_id"),
    text("updated_by_user_id"),
    moment("updated_at"),
    Index(None, "org_id", "created_at"),
)
# Two tools of an organization that are in use never share a name.
Index(
    "uq_tools_name",
    tools.c.org_id,
    tools.c.name,
    unique=True,
    sqlite_where=sa.text("NOT deprecated"),
    postgresql_where=sa.text("NOT deprecated"),
)

tool_variables = Table(
    "tool_variables",
    metadata,
    text("org_id"),
    key("tool_id"),
    key("name"),
    text("value"),  # encrypted, whether or not it is secret; empty after it is deleted
    flag("is_secret"),
    moment("deleted_at", nullable=True),
    ForeignKeyConstraint(["tool_id"], ["tools.id"]),
)

tool_versions = Table(
    "tool_versions",
    metadata,
    key(),
    text("org_id"),
    text("tool_id"),
    number("number"),  # counts the versions of a tool, from 1
    number("major"),
    number("minor"),
    number("patch"),
    flag("deprecated"),
    text("kind"),
    document("definition"),
    document("input_schema"),
    text("digest"),  # of the snapshot of its code; empty if there is no code
    text("commit_hash"),
    text("scaffold_hash"),
    text("project_directory"),
    document("required_envvars"),
    document("required_secret_envvars"),
    text("creator_org_id"),
    text("creator_user_id"),
    moment("created_at"),
    text("updated_by_org_id"),
    text("updated_by_user_id"),
    moment("updated_at"),
    UniqueConstraint("tool_id", "major", "minor", "patch"),
    ForeignKeyConstraint(["tool_id"], ["tools.id"]),
)

tool_snapshots = Table(
    "tool_snapshots",
    metadata,
    text("org_id"),
    key("tool_id"),
    key("digest"),
    Column("body", sa.LargeBinary, nullable=False),  # an archive; see tools/archive.py
    moment("created_at"),
    Index(None, "digest"),
    ForeignKeyConstraint(["tool_id"], ["tools.id"]),
)

# A call outlives the turn that made it, and its conversation: nothing is referred to. It is written before it is made.
tool_invocations = Table(
    "tool_invocations",
    metadata,
    key(),
    text("org_id"),
    text("tool_id"),
    number("major"),
    number("minor"),
    number("patch"),
    flag("succeeded"),
    text("output"),
    text("exception_type"),
    text("exception_message"),
    document("exception_stack_trace"),
    number("duration_ms"),
    document("inputs"),
    text("user_id"),
    text("service_id"),
    text("conversation_id", nullable=True),
    text("interaction_id", nullable=True),
    document("place"),
    moment("created_at"),
    Column("call_key", sa.Text, nullable=False, server_default=""),  # the same for the same call of a turn tried again
    Column("is_over", sa.Boolean, nullable=False, server_default=sa.true()),
    Index(None, "call_key"),
    Index(None, "org_id", "created_at"),
    Index(None, "tool_id", "created_at"),
    Index(None, "conversation_id"),
    Index(None, "user_id"),
)
