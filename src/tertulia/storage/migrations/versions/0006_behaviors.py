"""Dynamic behaviour sets: their versions, their services, and their invocations."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import JSON, Timestamp

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("services", sa.Column("behaviors_revision", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("conversations", sa.Column("behavior", JSON, nullable=True))
    op.create_table(
        "behavior_sets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("is_deleted", sa.Boolean(), nullable=False),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("latest_version", sa.Integer(), nullable=False),
        sa.Column("searched_name", sa.Text(), nullable=False),
        sa.Column("searched_triggers", sa.Text(), nullable=False),
        sa.Column("creator_org_id", sa.Text(), nullable=False),
        sa.Column("creator_user_id", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_by_org_id", sa.Text(), nullable=False),
        sa.Column("updated_by_user_id", sa.Text(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_behavior_sets")),
    )
    op.create_index(op.f("ix_behavior_sets_org_id_created_at"), "behavior_sets", ["org_id", "created_at"])
    op.create_index(
        "uq_behavior_sets_active_name",
        "behavior_sets",
        ["org_id", "name"],
        unique=True,
        sqlite_where=sa.text("is_active"),
        postgresql_where=sa.text("is_active"),
    )
    op.create_table(
        "behavior_set_services",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("set_id", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["behavior_sets.id"], name=op.f("fk_behavior_set_services_set_id")),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_behavior_set_services_service_id")),
        sa.PrimaryKeyConstraint("set_id", "service_id", name=op.f("pk_behavior_set_services")),
    )
    op.create_index(op.f("ix_behavior_set_services_service_id"), "behavior_set_services", ["service_id"])
    op.create_table(
        "behavior_set_versions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("set_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("conversation_triggers", JSON, nullable=False),
        sa.Column("actions", JSON, nullable=False),
        sa.Column("creator_org_id", sa.Text(), nullable=False),
        sa.Column("creator_user_id", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["behavior_sets.id"], name=op.f("fk_behavior_set_versions_set_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_behavior_set_versions")),
        sa.UniqueConstraint("set_id", "version", name=op.f("uq_behavior_set_versions_set_id_version")),
    )
    op.create_table(
        "behavior_invocations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("set_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("interaction_id", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("initial_message_id", sa.Text(), nullable=False),
        sa.Column("agent_message_id", sa.Text(), nullable=True),
        sa.Column("inner_thought_ids", JSON, nullable=True),
        sa.Column("external_event_ids", JSON, nullable=True),
        sa.Column("invoked_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["behavior_sets.id"], name=op.f("fk_behavior_invocations_set_id")),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("fk_behavior_invocations_conversation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_behavior_invocations")),
    )
    op.create_index(op.f("ix_behavior_invocations_set_id_invoked_at"), "behavior_invocations", ["set_id", "invoked_at"])
    op.create_index(op.f("ix_behavior_invocations_conversation_id"), "behavior_invocations", ["conversation_id"])
