"""Tokens that a mail brings, and the text by which users are searched."""

import unicodedata

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import Timestamp

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "mail_tokens",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("token_hash", "org_id", "user_id")),
        sa.Column("expires_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_mail_tokens")),
    )
    op.create_index(op.f("ix_mail_tokens_expires_at"), "mail_tokens", ["expires_at"])
    op.create_index(op.f("ix_mail_tokens_user_id"), "mail_tokens", ["user_id"])
    op.add_column("users", sa.Column("search_text", sa.Text(), nullable=False, server_default=""))
    _fill(op.get_bind())
    op.create_index("ix_users_search", "users", ["org_id", "search_text"])


def _fill(connection: sa.Connection) -> None:
    found = connection.execute(sa.text("SELECT id, first_name, last_name, email FROM users")).all()
    rows = [
        {"user": row[0], "said": unicodedata.normalize("NFKC", f"{row[1]} {row[2]} {row[3]}").casefold()}
        for row in found
    ]
    if rows:
        connection.execute(sa.text("UPDATE users SET search_text = :said WHERE id = :user"), rows)
