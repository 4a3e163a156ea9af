"""Changed and replaced roles, and temporary grants."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import JSON, Timestamp

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("roles", sa.Column("updated_at", Timestamp(), nullable=True))
    op.add_column("roles", sa.Column("expires_at", Timestamp(), nullable=True))
    op.add_column("users", sa.Column("granted_until", Timestamp(), nullable=True))
    op.create_table(
        "temporary_grants",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "org_id", "user_id", "permission_name")),
        sa.Column("conditions", JSON, nullable=False),
        sa.Column("justification", sa.Text(), nullable=False),
        sa.Column("tags", JSON, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("creator_org_id", "creator_user_id")),
        *(sa.Column(name, Timestamp(), nullable=False) for name in ("created_at", "updated_at", "expires_at")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_temporary_grants")),
    )
    for columns in (["org_id", "created_at"], ["user_id", "expires_at"]):
        op.create_index(op.f(f"ix_temporary_grants_{'_'.join(columns)}"), "temporary_grants", columns)
