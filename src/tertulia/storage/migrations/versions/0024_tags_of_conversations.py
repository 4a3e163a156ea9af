"""Tags of conversations in rows, by which lists find them; the database keeps them beside the conversations' own."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database import tag_rows
from tertulia.storage.database.dialect import Timestamp

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.create_table(
        "conversation_tags",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("conversation_id", "key", "org_id")),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_conversation_tags_conversation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("conversation_id", "key", name=op.f("pk_conversation_tags")),
    )
    for name, columns in (("key", ["key"]), ("value", ["key", "value"])):
        index = ["org_id", *columns, "created_at", "conversation_id"]
        op.create_index(f"ix_conversation_tags_{name}", "conversation_tags", index)
    tag_rows.keep(op.get_bind())
