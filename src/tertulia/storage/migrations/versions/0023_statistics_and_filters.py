"""Indexes of users by their statistics, and of conversations by their service and by their end."""

import time

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import Timestamp

revision = "0023"
down_revision = "0022"

LONGEST_TURN_S = 24 * 3600
"""Seconds before this moment since when a turn of an older version may still be running."""


def upgrade() -> None:
    op.create_table(
        "user_statistics",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("user_id", "org_id")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("num_conversations", "num_messages")),
        *(sa.Column(name, Timestamp(), nullable=False) for name in ("last_message_time", "created_at")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_user_statistics")),
    )
    counted = ("num_conversations", "num_messages", "last_message_time")
    for name, column in zip(("conversations", "messages", "last"), counted, strict=True):
        op.create_index(f"ix_user_statistics_{name}", "user_statistics", ["org_id", column, "created_at", "user_id"])
    op.execute(
        "INSERT INTO user_statistics"
        " (user_id, org_id, num_conversations, num_messages, last_message_time, created_at)"
        " SELECT id, org_id, num_conversations, num_messages, coalesce(last_message_time, 0), created_at FROM users"
    )
    op.create_table(
        "statistics_progress",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "read_to")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statistics_progress")),
    )
    read_to = f"{int(time.time()) - LONGEST_TURN_S:08x}"  # identifiers begin with their times
    op.execute(f"INSERT INTO statistics_progress (id, read_to) VALUES ('users', '{read_to}')")  # noqa: S608 - a number
    for column in ("service_id", "is_finished"):
        names = ["org_id", column, "created_at"]
        op.create_index(op.f(f"ix_conversations_{'_'.join(names)}"), "conversations", names)
