"""Recordings in parts, streams without the sound that is in them, and the room that users and organizations take."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database import dialect

revision = "0005"
down_revision = "0004"

SHARDS = 8


def upgrade() -> None:
    op.add_column("recordings", sa.Column("size", sa.Integer(), nullable=True))
    op.add_column("streams", sa.Column("sound", dialect.JSON, nullable=True))
    op.create_table(
        "recording_parts",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["recordings.message_id"], name=op.f("fk_recording_parts_message_id")),
        sa.PrimaryKeyConstraint("message_id", "number", name=op.f("pk_recording_parts")),
    )
    # Their sound is moved by the servers, one recording in each transaction: see storage/recording.py.
    whole = sa.text("size IS NULL")
    op.create_index("ix_recordings_whole", "recordings", ["message_id"], sqlite_where=whole, postgresql_where=whole)
    op.add_column("users", sa.Column("stored_bytes", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "organization_usage",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("org_id", "shard", name=op.f("pk_organization_usage")),
    )
    _count()


_USERS = sa.table("users", sa.column("id"), sa.column("org_id"), sa.column("stored_bytes"))
_CONVERSATIONS = sa.table("conversations", sa.column("id"), sa.column("user_id"))
_MESSAGES = sa.table("messages", sa.column("conversation_id"), sa.column("content"))
_RECORDINGS = sa.table("recordings", sa.column("conversation_id"), sa.column("body"))
_ORGANIZATIONS = sa.table("organizations", sa.column("org_id"))
_USAGE = sa.table("organization_usage", sa.column("org_id"), sa.column("shard"), sa.column("stored_bytes"))


def _count() -> None:
    """Count the text and the sound that are there."""
    content = _MESSAGES.c.content
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    text_bytes = sa.func.length(sa.cast(content, sa.LargeBinary)) if is_sqlite else sa.func.octet_length(content)
    for table, stored in ((_MESSAGES, text_bytes), (_RECORDINGS, sa.func.length(_RECORDINGS.c.body))):
        total = sa.select(sa.func.coalesce(sa.func.sum(stored), 0)).where(
            table.c.conversation_id == _CONVERSATIONS.c.id, _CONVERSATIONS.c.user_id == _USERS.c.id
        )
        stored_bytes = _USERS.c.stored_bytes + total.correlate(_USERS).scalar_subquery()
        op.execute(sa.update(_USERS).values(stored_bytes=stored_bytes))
    of_all = sa.select(sa.func.coalesce(sa.func.sum(_USERS.c.stored_bytes), 0))
    of_all = of_all.where(_USERS.c.org_id == _ORGANIZATIONS.c.org_id).correlate(_ORGANIZATIONS)
    for shard in range(SHARDS):  # all in the first: only their sum matters
        stored = of_all.scalar_subquery() if shard == 0 else sa.literal(0)
        rows = sa.select(_ORGANIZATIONS.c.org_id, sa.literal(shard), stored)
        op.execute(sa.insert(_USAGE).from_select(["org_id", "shard", "stored_bytes"], rows))
