"""The times for which an organization keeps conversations, recordings, traces and memories."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import JSON

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("organizations", sa.Column("retention", JSON, nullable=True))
