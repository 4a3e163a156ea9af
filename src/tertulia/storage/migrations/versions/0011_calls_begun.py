"""Calls of tools that are on record from their beginning, and the keys that they have in common with earlier ones."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("tool_invocations", sa.Column("call_key", sa.Text(), server_default="", nullable=False))
    op.add_column("tool_invocations", sa.Column("is_over", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.create_index(op.f("ix_tool_invocations_call_key"), "tool_invocations", ["call_key"])
