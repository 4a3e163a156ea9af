"""Tools, their variables and versions, snapshots of code, and calls."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import JSON, Timestamp

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    _create_tools()
    _create_variables()
    _create_versions()
    _create_snapshots()
    _create_invocations()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _create_tools() -> None:
    op.create_table(
        "tools",
        _text("id"),
        _text("org_id"),
        _text("name"),
        _text("description"),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("deprecated", sa.Boolean(), nullable=False),
        _number("published"),
        _text("busy_token", nullable=True),
        sa.Column("busy_until", Timestamp(), nullable=True),
        _text("creator_org_id"),
        _text("creator_user_id"),
        sa.Column("created_at", Timestamp(), nullable=False),
        _text("updated_by_org_id"),
        _text("updated_by_user_id"),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tools")),
    )
    op.create_index(op.f("ix_tools_org_id_created_at"), "tools", ["org_id", "created_at"])
    op.create_index(
        "uq_tools_name",
        "tools",
        ["org_id", "name"],
        unique=True,
        sqlite_where=sa.text("NOT deprecated"),
        postgresql_where=sa.text("NOT deprecated"),
    )


def _create_variables() -> None:
    op.create_table(
        "tool_variables",
        _text("org_id"),
        _text("tool_id"),
        _text("name"),
        _text("value"),
        sa.Column("is_secret", sa.Boolean(), nullable=False),
        sa.Column("deleted_at", Timestamp(), nullable=True),
        sa.ForeignKeyConstraint(["tool_id"], ["tools.id"], name=op.f("fk_tool_variables_tool_id")),
        sa.PrimaryKeyConstraint("tool_id", "name", name=op.f("pk_tool_variables")),
    )


def _create_versions() -> None:
    op.create_table(
        "tool_versions",
        _text("id"),
        _text("org_id"),
        _text("tool_id"),
        _number("number"),
        _number("major"),
        _number("minor"),
        _number("patch"),
        sa.Column("deprecated", sa.Boolean(), nullable=False),
        _text("kind"),
        sa.Column("definition", JSON, nullable=False),
        sa.Column("input_schema", JSON, nullable=False),
        _text("digest"),
        _text("commit_hash"),
        _text("scaffold_hash"),
        _text("project_directory"),
        sa.Column("required_envvars", JSON, nullable=False),
        sa.Column("required_secret_envvars", JSON, nullable=False),
        _text("creator_org_id"),
        _text("creator_user_id"),
        sa.Column("created_at", Timestamp(), nullable=False),
        _text("updated_by_org_id"),
        _text("updated_by_user_id"),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["tool_id"], ["tools.id"], name=op.f("fk_tool_versions_tool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_versions")),
        sa.UniqueConstraint(
            "tool_id", "major", "minor", "patch", name=op.f("uq_tool_versions_tool_id_major_minor_patch")
        ),
    )


def _create_snapshots() -> None:
    op.create_table(
        "tool_snapshots",
        _text("org_id"),
        _text("tool_id"),
        _text("digest"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["tool_id"], ["tools.id"], name=op.f("fk_tool_snapshots_tool_id")),
        sa.PrimaryKeyConstraint("tool_id", "digest", name=op.f("pk_tool_snapshots")),
    )
    op.create_index(op.f("ix_tool_snapshots_digest"), "tool_snapshots", ["digest"])


def _create_invocations() -> None:
    op.create_table(
        "tool_invocations",
        _text("id"),
        _text("org_id"),
        _text("tool_id"),
        _number("major"),
        _number("minor"),
        _number("patch"),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        _text("output"),
        _text("exception_type"),
        _text("exception_message"),
        sa.Column("exception_stack_trace", JSON, nullable=False),
        _number("duration_ms"),
        sa.Column("inputs", JSON, nullable=False),
        _text("user_id"),
        _text("service_id"),
        _text("conversation_id", nullable=True),
        _text("interaction_id", nullable=True),
        sa.Column("place", JSON, nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_invocations")),
    )
    for columns in (["org_id", "created_at"], ["tool_id", "created_at"], ["conversation_id"], ["user_id"]):
        name = op.f(f"ix_tool_invocations_{'_'.join(columns)}")
        op.create_index(name, "tool_invocations", columns)
