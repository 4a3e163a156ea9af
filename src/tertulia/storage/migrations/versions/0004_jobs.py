"""Jobs, and an index for every foreign key."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import JSON, Timestamp

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", Timestamp(), nullable=True),
        sa.Column("lease", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_kind_due_at"), "jobs", ["kind", "due_at"])
    op.create_index(op.f("ix_streams_conversation_id"), "streams", ["conversation_id"])
    op.create_index(op.f("ix_services_agent_id"), "services", ["agent_id"])
    op.create_index(op.f("ix_services_context_graph_id"), "services", ["context_graph_id"])
    op.create_index(op.f("ix_users_role_id"), "users", ["role_id"])
    op.create_index(op.f("ix_api_keys_role_id"), "api_keys", ["role_id"])
