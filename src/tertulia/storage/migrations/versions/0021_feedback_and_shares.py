"""Feedback on messages, and links to conversations."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import Timestamp

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    _create_feedback()
    _create_shares()


def _create_feedback() -> None:
    names = ("id", "org_id", "conversation_id", "message_id", "user_id", "rating", "comment")
    op.create_table(
        "feedback",
        *(sa.Column(name, sa.Text(), nullable=False) for name in names),
        *(sa.Column(name, Timestamp(), nullable=False) for name in ("created_at", "updated_at")),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_feedback_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
        sa.UniqueConstraint("message_id", "user_id", name=op.f("uq_feedback_message_id_user_id")),
    )
    for columns in (["org_id", "updated_at"], ["conversation_id"], ["user_id"]):
        op.create_index(op.f(f"ix_feedback_{'_'.join(columns)}"), "feedback", columns)


def _create_shares() -> None:
    op.create_table(
        "shares",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "org_id", "conversation_id")),
        sa.Column("message_id", sa.Text(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("user_id", "token_hash")),
        *(sa.Column(name, Timestamp(), nullable=False) for name in ("created_at", "expires_at")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("fk_shares_conversation_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shares")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_shares_token_hash")),
    )
    for column in ("conversation_id", "user_id", "expires_at"):
        op.create_index(op.f(f"ix_shares_{column}"), "shares", [column])
