"""Erasures of deleted users, and an index for every foreign key."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import Timestamp

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "user_id", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_streams_conversation_id"), "streams", ["conversation_id"])
    op.create_index(op.f("ix_services_agent_id"), "services", ["agent_id"])
    op.create_index(op.f("ix_services_context_graph_id"), "services", ["context_graph_id"])
    op.create_index(op.f("ix_users_role_id"), "users", ["role_id"])
    op.create_index(op.f("ix_api_keys_role_id"), "api_keys", ["role_id"])
