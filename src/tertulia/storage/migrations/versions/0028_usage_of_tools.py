"""The code of tools counts for the quota of its organization."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

_USAGE = sa.table("organization_usage", sa.column("org_id"), sa.column("shard"), sa.column("stored_bytes"))
_SNAPSHOTS = sa.table("tool_snapshots", sa.column("org_id"), sa.column("body"))


def upgrade() -> None:
    code = sa.select(sa.func.coalesce(sa.func.sum(sa.func.length(_SNAPSHOTS.c.body)), 0))
    code = code.where(_SNAPSHOTS.c.org_id == _USAGE.c.org_id).correlate(_USAGE)
    first = _USAGE.c.shard == 0  # only the sum of the shards matters
    op.execute(sa.update(_USAGE).where(first).values(stored_bytes=_USAGE.c.stored_bytes + code.scalar_subquery()))
