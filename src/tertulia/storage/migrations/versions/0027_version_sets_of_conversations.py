"""An index of conversations by their version set."""

from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    names = ["org_id", "version_set_name", "created_at"]
    op.create_index(op.f(f"ix_conversations_{'_'.join(names)}"), "conversations", names)
