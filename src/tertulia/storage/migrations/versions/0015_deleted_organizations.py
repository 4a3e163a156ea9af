"""The time at which an organization was deleted, while the rest of it is removed."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import Timestamp

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("organizations", sa.Column("deleted_at", Timestamp(), nullable=True))
