"""The first schema."""

import sqlalchemy as sa
from alembic import op

from tertulia.storage.database.dialect import JSON, Timestamp

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "agents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("deprecated", sa.Boolean(), nullable=False),
        sa.Column("latest_version", sa.Integer(), nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_agents_org_id_name")),
    )
    op.create_table(
        "context_graphs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("deprecated", sa.Boolean(), nullable=False),
        sa.Column("latest_version", sa.Integer(), nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_context_graphs")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_context_graphs_org_id_name")),
    )
    op.create_table(
        "conversations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("version_set_name", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("agent_version", sa.Integer(), nullable=False),
        sa.Column("context_graph_id", sa.Text(), nullable=False),
        sa.Column("context_graph_version", sa.Integer(), nullable=False),
        sa.Column("llm_model_preferences", JSON, nullable=False),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.Column("is_finished", sa.Boolean(), nullable=False),
        sa.Column("is_analyzed", sa.Boolean(), nullable=False),
        sa.Column("completed_post_processings", JSON, nullable=False),
        sa.Column("position", JSON, nullable=False),
        sa.Column("num_interactions", sa.Integer(), nullable=False),
        sa.Column("num_messages", sa.Integer(), nullable=False),
        sa.Column("last_interaction_id", sa.Text(), nullable=True),
        sa.Column("last_message_time", Timestamp(), nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("finished_at", Timestamp(), nullable=True),
        sa.Column("lease_token", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", Timestamp(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
    )
    op.create_index(op.f("ix_conversations_lease_expires_at"), "conversations", ["lease_expires_at"], unique=False)
    op.create_index(op.f("ix_conversations_org_id_created_at"), "conversations", ["org_id", "created_at"], unique=False)
    op.create_index(
        op.f("ix_conversations_user_id_service_id_is_finished"),
        "conversations",
        ["user_id", "service_id", "is_finished"],
        unique=False,
    )
    op.create_index(
        "uq_conversations_unfinished",
        "conversations",
        ["org_id", "user_id", "service_id"],
        unique=True,
        sqlite_where=sa.text("NOT is_finished"),
        postgresql_where=sa.text("NOT is_finished"),
    )
    op.create_table(
        "directory",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_directory")),
    )
    op.create_table(
        "organizations",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("default_user_preferences", JSON, nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_organizations")),
    )
    op.create_table(
        "roles",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("permission_grants", JSON, nullable=False),
        sa.Column("frontend_view", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_roles_org_id_name")),
    )
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=True),
        sa.Column("encrypted_secret", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
    )
    op.create_table(
        "agent_versions",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("creator_org_id", sa.Text(), nullable=False),
        sa.Column("creator_user_id", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_agent_versions_agent_id")),
        sa.PrimaryKeyConstraint("agent_id", "version", name=op.f("pk_agent_versions")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("role_id", sa.Text(), nullable=False),
        sa.Column("creator_org_id", sa.Text(), nullable=False),
        sa.Column("creator_user_id", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.Column("updated_at", Timestamp(), nullable=False),
        sa.Column("expires_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_api_keys_role_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("org_id", "key_id", name=op.f("uq_api_keys_org_id_key_id")),
    )
    op.create_table(
        "context_graph_versions",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("context_graph_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("creator_org_id", sa.Text(), nullable=False),
        sa.Column("creator_user_id", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(
            ["context_graph_id"], ["context_graphs.id"], name=op.f("fk_context_graph_versions_context_graph_id")
        ),
        sa.PrimaryKeyConstraint("context_graph_id", "version", name=op.f("pk_context_graph_versions")),
    )
    op.create_table(
        "interactions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("insights", JSON, nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("fk_interactions_conversation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interactions")),
        sa.UniqueConstraint("conversation_id", "number", name=op.f("uq_interactions_conversation_id_number")),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", sa.Text(), nullable=False),
        sa.Column("interaction_id", sa.Text(), nullable=False),
        sa.Column("message_type", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_messages_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("conversation_id", "created_at", name=op.f("uq_messages_conversation_id_created_at")),
    )
    op.create_table(
        "services",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("agent_id", sa.Text(), nullable=False),
        sa.Column("context_graph_id", sa.Text(), nullable=False),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("keyterms", JSON, nullable=False),
        sa.Column("creator_org_id", sa.Text(), nullable=False),
        sa.Column("creator_user_id", sa.Text(), nullable=False),
        sa.Column("updated_by_org_id", sa.Text(), nullable=False),
        sa.Column("updated_by_user_id", sa.Text(), nullable=False),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_services_agent_id")),
        sa.ForeignKeyConstraint(["context_graph_id"], ["context_graphs.id"], name=op.f("fk_services_context_graph_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_services")),
    )
    op.create_index(
        "uq_services_active_name",
        "services",
        ["org_id", "name"],
        unique=True,
        sqlite_where=sa.text("is_active"),
        postgresql_where=sa.text("is_active"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("role_id", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("preferences", JSON, nullable=False),
        sa.Column("conversations_visible_to_admins", sa.Boolean(), nullable=False),
        sa.Column("user_model_visible_to_admins", sa.Boolean(), nullable=False),
        sa.Column("additional_context", JSON, nullable=False),
        sa.Column("nonsensitive_variables", JSON, nullable=False),
        sa.Column("sensitive_variables", JSON, nullable=False),
        sa.Column("num_conversations", sa.Integer(), nullable=False),
        sa.Column("num_messages", sa.Integer(), nullable=False),
        sa.Column("last_message_time", Timestamp(), nullable=True),
        sa.Column("created_at", Timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_users_role_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("org_id", "email", name=op.f("uq_users_org_id_email")),
    )
    op.create_table(
        "version_sets",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("agent_version", sa.Integer(), nullable=True),
        sa.Column("context_graph_version", sa.Integer(), nullable=True),
        sa.Column("llm_model_preferences", JSON, nullable=False),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_version_sets_service_id")),
        sa.PrimaryKeyConstraint("service_id", "name", name=op.f("pk_version_sets")),
    )


def downgrade() -> None:
    op.drop_table("version_sets")
    op.drop_table("users")
    op.drop_index(
        "uq_services_active_name",
        table_name="services",
        sqlite_where=sa.text("is_active"),
        postgresql_where=sa.text("is_active"),
    )
    op.drop_table("services")
    op.drop_table("messages")
    op.drop_table("interactions")
    op.drop_table("context_graph_versions")
    op.drop_table("api_keys")
    op.drop_table("agent_versions")
    op.drop_table("signing_keys")
    op.drop_table("roles")
    op.drop_table("organizations")
    op.drop_table("directory")
    op.drop_index(
        "uq_conversations_unfinished",
        table_name="conversations",
        sqlite_where=sa.text("NOT is_finished"),
        postgresql_where=sa.text("NOT is_finished"),
    )
    op.drop_index(op.f("ix_conversations_user_id_service_id_is_finished"), table_name="conversations")
    op.drop_index(op.f("ix_conversations_org_id_created_at"), table_name="conversations")
    op.drop_index(op.f("ix_conversations_lease_expires_at"), table_name="conversations")
    op.drop_table("conversations")
    op.drop_table("context_graphs")
    op.drop_table("agents")
