"""The audit log."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import Timestamp

revision = "0016"
down_revision = "0015"

_OF_A_LINE = (
    *("action", "object_kind", "object_id", "actor_org_id", "actor_user_id", "api_key_id", "address", "request_id"),
    *("change", "content_digest"),
)


def upgrade() -> None:
    op.create_table(
        "audit_lines",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", Timestamp(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _OF_A_LINE),
        sa.Column("erased_digest", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "number", name=op.f("pk_audit_lines")),
    )
    for columns in (["at"], ["actor_user_id", "number"], ["object_id", "number"], ["action", "number"]):
        op.create_index(op.f(f"ix_audit_lines_org_id_{'_'.join(columns)}"), "audit_lines", ["org_id", *columns])
    op.create_table(
        "audit_heads",
        sa.Column("org_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("number", "base_number")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("digest", "base_digest", "base_seal")),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_audit_heads")),
    )
