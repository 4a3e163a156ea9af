"""The one schema, for SQLite and PostgreSQL; a module per family. Every table carries the organization."""

from tertulia.storage.tables.agent import agent_versions, agents
from tertulia.storage.tables.audit import audit_heads, audit_lines
from tertulia.storage.tables.base import metadata
from tertulia.storage.tables.behavior import (
    behavior_invocations,
    behavior_set_services,
    behavior_set_versions,
    behavior_sets,
)
from tertulia.storage.tables.context_graph import context_graph_versions, context_graphs
from tertulia.storage.tables.conversation import (
    conversation_tags,
    conversations,
    idempotency_keys,
    interactions,
    messages,
    recording_parts,
    recordings,
    streams,
    traces,
)
from tertulia.storage.tables.feedback import feedback
from tertulia.storage.tables.installation import directory, maintenance, signing_keys, workers
from tertulia.storage.tables.job import jobs
from tertulia.storage.tables.memory import memories, memory_vectors, memory_words, user_models
from tertulia.storage.tables.organization import (
    api_keys,
    identities,
    mail_tokens,
    organization_usage,
    organizations,
    roles,
    statistics_progress,
    temporary_grants,
    used_sign_ins,
    user_search,
    user_statistics,
    users,
)
from tertulia.storage.tables.result import results
from tertulia.storage.tables.search import message_searches, search_progress
from tertulia.storage.tables.service import services, version_sets
from tertulia.storage.tables.share import shares
from tertulia.storage.tables.tool import tool_invocations, tool_snapshots, tool_variables, tool_versions, tools

__all__ = [
    "agent_versions",
    "agents",
    "api_keys",
    "audit_heads",
    "audit_lines",
    "behavior_invocations",
    "behavior_set_services",
    "behavior_set_versions",
    "behavior_sets",
    "context_graph_versions",
    "context_graphs",
    "conversation_tags",
    "conversations",
    "directory",
    "feedback",
    "idempotency_keys",
    "identities",
    "interactions",
    "jobs",
    "mail_tokens",
    "maintenance",
    "memories",
    "memory_vectors",
    "memory_words",
    "message_searches",
    "messages",
    "metadata",
    "organization_usage",
    "organizations",
    "recording_parts",
    "recordings",
    "results",
    "roles",
    "search_progress",
    "services",
    "shares",
    "signing_keys",
    "statistics_progress",
    "streams",
    "temporary_grants",
    "tool_invocations",
    "tool_snapshots",
    "tool_variables",
    "tool_versions",
    "tools",
    "traces",
    "used_sign_ins",
    "user_models",
    "user_search",
    "user_statistics",
    "users",
    "version_sets",
    "workers",
]
