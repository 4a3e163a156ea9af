"""Lists of many users from indexes, and the parts of names and emails by which users are found."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

PART = 16
AT_ONCE = 500


def upgrade() -> None:
    for names in (["created_at"], ["first_name", "created_at"], ["last_name", "created_at"]):
        columns = ["org_id", *names, "id"]
        op.create_index(op.f(f"ix_users_{'_'.join(columns)}"), "users", columns)
    of_user = ["org_id", "user_id", "created_at"]
    op.create_index(op.f("ix_conversations_org_id_user_id_created_at"), "conversations", of_user)
    part = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "user_search",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("part", part, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "part", "user_id", name=op.f("pk_user_search")),
        sqlite_with_rowid=False,
    )
    for rows in _entries(op.get_bind()):
        op.get_bind().execute(
            sa.text("INSERT INTO user_search (org_id, part, user_id) VALUES (:org_id, :part, :user_id)"), rows
        )


def _entries(connection: sa.Connection) -> Iterator[list[dict[str, str]]]:
    """Make the entries of all users, so many users at once. Yield them."""
    users = sa.text("SELECT id, org_id, search_text FROM users WHERE id > :after ORDER BY id LIMIT :at_once")
    found = connection.execute(users, {"after": "", "at_once": AT_ONCE}).all()
    while found:
        yield [
            {"org_id": org_id, "part": part, "user_id": user_id}
            for user_id, org_id, text in found
            for part in {text[place : place + PART] for place in range(len(text)) if text[place] != " "}
        ]
        found = connection.execute(users, {"after": found[-1][0], "at_once": AT_ONCE}).all()
