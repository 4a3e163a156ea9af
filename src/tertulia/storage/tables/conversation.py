"""Conversations, their interactions and messages, and what turns keep beside them."""

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKeyConstraint, Index, Table, UniqueConstraint

from tertulia.storage.tables.base import document, flag, key, metadata, moment, number, number_key, text

conversations = Table(
    "conversations",
    metadata,
    key(),
    text("org_id"),
    text("user_id"),
    text("service_id"),
    text("version_set_name"),
    text("agent_id"),
    number("agent_version"),
    text("context_graph_id"),
    number("context_graph_version"),
    document("llm_model_preferences"),
    document("tags"),
    flag("is_test"),
    flag("is_finished"),
    flag("is_analyzed"),
    document("completed_post_processings"),
    text("post_processing_error", nullable=True),  # why the next step failed; null: it has not
    document("position"),  # where the conversation stands in its graphs; see engine/graph/context_graph.py
    document("behavior", nullable=True),  # set and version that the newest turn chose
    document("working_memory", nullable=True),  # memories that its turns found, the newest last
    document("performed_queries", nullable=True),  # of its recall states
    document("tool_results", nullable=True),  # that its turns have kept, the newest last
    document("pending_calls", nullable=True),  # of tools, that wait for the user's yes in the next turn
    number("num_interactions"),  # 0: its first turn has not been committed
    number("num_messages"),
    text("last_interaction_id", nullable=True),
    moment("last_message_time", nullable=True),
    moment("created_at"),
    moment("finished_at", nullable=True),
    # The claim of the one turn that may run: see storage/conversation.py.
    number("lease_token"),
    text("lease_owner", nullable=True),
    text("lease_interaction_id", nullable=True),
    moment("lease_expires_at", nullable=True),
    Index(None, "org_id", "created_at"),
    Index(None, "org_id", "user_id", "created_at"),
    Index(None, "org_id", "service_id", "created_at"),
    Index(None, "org_id", "is_finished", "created_at"),
    Index(None, "org_id", "version_set_name", "created_at"),
    Index(None, "user_id", "service_id", "is_finished"),
    Index(None, "lease_expires_at"),
)
# One unfinished conversation for a user and a service.
Index(
    "uq_conversations_unfinished",
    conversations.c.org_id,
    conversations.c.user_id,
    conversations.c.service_id,
    unique=True,
    sqlite_where=sa.text("NOT is_finished"),
    postgresql_where=sa.text("NOT is_finished"),
)

# A row for each tag of a conversation, by which lists find it. Triggers keep them: see storage/database/tag_rows.py.
conversation_tags = Table(
    "conversation_tags",
    metadata,
    key("conversation_id"),
    key("key"),
    text("org_id"),
    text("value", nullable=True),
    moment("created_at"),  # of the conversation
    Index("ix_conversation_tags_key", "org_id", "key", "created_at", "conversation_id"),
    Index("ix_conversation_tags_value", "org_id", "key", "value", "created_at", "conversation_id"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
)

interactions = Table(
    "interactions",
    metadata,
    key(),
    text("org_id"),
    text("conversation_id"),
    number("number"),  # 1 for the first of its conversation
    document("insights"),
    moment("created_at"),
    UniqueConstraint("conversation_id", "number"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)

messages = Table(
    "messages",
    metadata,
    key(),
    text("org_id"),
    text("conversation_id"),
    text("interaction_id"),
    text("message_type"),
    text("format"),
    text("sender"),
    text("content"),
    moment("created_at"),  # no two of a conversation are the same: this is their order
    UniqueConstraint("conversation_id", "created_at"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)

# What a settled turn streamed, byte for byte, for as long as it can be replayed; the sound of a spoken one is in its
# recording alone.
streams = Table(
    "streams",
    metadata,
    text("org_id"),
    key("interaction_id"),
    text("conversation_id"),
    Column("body", sa.LargeBinary, nullable=False),  # NDJSON, compressed by zlib
    document("sound", nullable=True),  # where the sound belongs: see storage/turn/outline.py
    moment("expires_at"),
    Index(None, "conversation_id"),
    Index(None, "expires_at"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)

# The sound of messages that were spoken: as it was sent, or as it was received where that can be played.
recordings = Table(
    "recordings",
    metadata,
    text("org_id"),
    key("message_id"),
    text("conversation_id"),
    text("content_type"),  # audio/wav or audio/mpeg
    number("size", nullable=True),  # in bytes; null while all of it is in `body`
    Column("body", sa.LargeBinary, nullable=False),  # a whole one, of a version before recordings had parts; else empty
    moment("created_at"),
    Index(None, "conversation_id"),
    ForeignKeyConstraint(["conversation_id"], ["conversations.id"]),
)
Index(
    "ix_recordings_whole",
    recordings.c.message_id,
    sqlite_where=sa.text("size IS NULL"),
    postgresql_where=sa.text("size IS NULL"),
)

recording_parts = Table(
    "recording_parts",
    metadata,
    text("org_id"),
    key("message_id"),
    number_key("number"),  # from 0; see storage/recording.py
    Column("body", sa.LargeBinary, nullable=False),
    ForeignKeyConstraint(["message_id"], ["recordings.message_id"]),
)

# What a turn asked of models, and what was answered; of a void turn too, whose conversation may be gone. Work on a
# conversation beside its turns has traces too, whose `interaction_id` is an id of their own.
traces = Table(
    "traces",
    metadata,
    text("org_id"),
    text("conversation_id"),
    key("interaction_id"),  # begins with its time, by which old ones are found
    text("user_id"),
    text("service_id"),
    text("context_graph_id"),  # the one that the turn ended in; of a void turn, that the conversation began in
    flag("is_void"),
    number("prompts"),  # model calls whose prompt and answer were kept
    Column("body", sa.LargeBinary, nullable=False),  # see engine/trace.py
    moment("created_at"),
    text("work", nullable=True),  # null: a turn; else what was done beside turns, such as `extract-memories`
    Index(None, "org_id", "conversation_id"),
)
# Traces of void turns are the ones that no conversation bounds.
Index(
    "ix_traces_void",
    traces.c.org_id,
    traces.c.user_id,
    sqlite_where=sa.text("is_void"),
    postgresql_where=sa.text("is_void"),
)

# Which turn a caller's key began; the row of a void turn says nothing.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    key("org_id"),
    key("user_id"),
    key("key"),
    text("request_hash"),
    text("conversation_id"),
    text("interaction_id"),
    moment("expires_at"),
    Index(None, "interaction_id"),
    Index(None, "expires_at"),
)
