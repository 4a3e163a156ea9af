"""Traces of work on a conversation beside its turns."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0024"


def upgrade() -> None:
    op.add_column("traces", sa.Column("work", sa.Text(), nullable=True))
