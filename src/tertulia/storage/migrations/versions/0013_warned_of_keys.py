"""The time at which the log warned of a key's end."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import Timestamp

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("warned_at", Timestamp(), nullable=True))
