"""Memories and models of users, and what conversations keep for and of them."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import JSON, Timestamp

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "user_models",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("insight_ids", JSON, nullable=False),
        sa.Column("dimensions", JSON, nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_models")),
    )
    op.create_index(op.f("ix_user_models_user_id"), "user_models", ["user_id"])
    op.create_table(
        "memories",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("message_ids", JSON, nullable=False),
        sa.Column("cites_user", sa.Boolean(), nullable=False),
        sa.Column("cites_event", sa.Boolean(), nullable=False),
        sa.Column("replaced_by", sa.Text(), nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("corrected_at", Timestamp(), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_memories_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memories")),
    )
    op.create_index(op.f("ix_memories_conversation_id"), "memories", ["conversation_id"])
    op.create_index(op.f("ix_memories_user_id_replaced_by"), "memories", ["user_id", "replaced_by"])
    op.create_table(
        "memory_vectors",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("memory_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["memory_id"], ["memories.id"], name=op.f("fk_memory_vectors_memory_id")),
        sa.PrimaryKeyConstraint("memory_id", name=op.f("pk_memory_vectors")),
    )
    op.create_index(
        op.f("ix_memory_vectors_user_id_model_memory_id_signature"),
        "memory_vectors",
        ["user_id", "model", "memory_id", "signature"],
    )
    op.create_table(
        "memory_words",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("word", sa.Text(), nullable=False),
        sa.Column("memory_id", sa.Text(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["memory_id"], ["memories.id"], name=op.f("fk_memory_words_memory_id")),
        sa.PrimaryKeyConstraint("user_id", "word", "memory_id", name=op.f("pk_memory_words")),
    )
    op.create_index(op.f("ix_memory_words_memory_id"), "memory_words", ["memory_id"])
    op.add_column("conversations", sa.Column("post_processing_error", sa.Text(), nullable=True))
    op.add_column("conversations", sa.Column("working_memory", JSON, nullable=True))
    op.add_column("conversations", sa.Column("performed_queries", JSON, nullable=True))
    op.add_column("organizations", sa.Column("user_dimensions", JSON, nullable=True))
    op.add_column("users", sa.Column("memory_revision", sa.Integer(), server_default="0", nullable=False))
    op.add_column("users", sa.Column("memory_forgotten_at", Timestamp(), nullable=True))
