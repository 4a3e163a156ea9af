"""Results of tools that turns keep, and calls that wait for the user's yes."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import JSON

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("conversations", sa.Column("tool_results", JSON, nullable=True))
    op.add_column("conversations", sa.Column("pending_calls", JSON, nullable=True))
