"""Traces of turns, and structured results of conversations."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import JSON, Timestamp

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "traces",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("interaction_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("context_graph_id", sa.Text(), nullable=False),
        sa.Column("is_void", sa.Boolean(), nullable=False),
        sa.Column("prompts", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("interaction_id", name=op.f("pk_traces")),
    )
    op.create_index(op.f("ix_traces_org_id_conversation_id"), "traces", ["org_id", "conversation_id"])
    op.create_index(
        "ix_traces_void",
        "traces",
        ["org_id", "user_id"],
        sqlite_where=sa.text("is_void"),
        postgresql_where=sa.text("is_void"),
    )
    op.add_column("services", sa.Column("result_schema", JSON, nullable=True))
    op.create_table(
        "results",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("schema", JSON, nullable=False),
        sa.Column("is_ready", sa.Boolean(), nullable=False),
        sa.Column("fields", JSON, nullable=True),
        sa.Column("sources", JSON, nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_results_conversation_id")),
        sa.PrimaryKeyConstraint("conversation_id", name=op.f("pk_results")),
    )
