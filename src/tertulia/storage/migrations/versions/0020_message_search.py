"""Terms by which messages are searched."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database import full_text
from tertulia.storage.database.dialect import Timestamp

revision = "0020"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "message_searches",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("org_id", "message_id", "terms")),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name=op.f("fk_message_searches_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_message_searches")),
        sa.UniqueConstraint("message_id", name=op.f("uq_message_searches_message_id")),
    )
    if op.get_bind().dialect.name == "postgresql":
        words = sa.text("string_to_array(terms, ' ')")
        op.create_index("ix_message_searches_terms", "message_searches", [words], postgresql_using="gin")
    full_text.create_index(op.get_bind())
    op.create_table(
        "search_progress",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "read_to", "holder")),
        sa.Column("held_until", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_progress")),
    )
    op.execute("INSERT INTO search_progress (id, read_to, holder, held_until) VALUES ('messages', '', '', 0)")
