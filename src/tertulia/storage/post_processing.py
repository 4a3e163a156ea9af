"""Post-processing: what follows the end of a conversation, step by step, each step a job.

The transaction that finishes a conversation makes the first step due, and the one that completes a step the next one.
A conversation that is a test has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.events import MessageType, VersionInfo
from tertulia.storage.database.dialect import JsonText
from tertulia.storage.database.prepared import Prepared
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.job import enqueue
from tertulia.storage.tables import conversations, jobs, messages, organizations, users

EXTRACT_MEMORIES = "extract-memories"
GENERATE_USER_MODELS = "generate-user-models"

STEPS = (EXTRACT_MEMORIES, GENERATE_USER_MODELS)
"""The steps in their order: kinds of jobs, and the names that `completed_post_processings` lists."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A finished conversation as post-processing reads it."""

    id: str
    org_id: str
    user_id: str
    service_id: str
    context_graph_id: str
    agent_id: str
    agent_version: int
    llm_model_preferences: Mapping[str, Any]
    is_test: bool
    completed_post_processings: Sequence[str]
    created_at: datetime
    first_name: str
    last_name: str
    preferences: Mapping[str, Any]
    memory_forgotten_at: datetime | None
    memory_revision: int
    """Counts the changes of what is remembered of the user."""

    @property
    def agent(self) -> VersionInfo:
        """The version of the agent that the user talked with."""
        return self.agent_id, self.agent_version

    @property
    def user_name(self) -> str:
        """The user's whole name."""
        return f"{self.first_name} {self.last_name}"

    @property
    def timezone(self) -> str:
        """The user's time zone, a name of the IANA database."""
        return self.preferences.get("timezone") or "UTC"


@dataclass(frozen=True, slots=True)
class SaidMessage:
    """A message of a conversation as post-processing reads it."""

    id: str
    message_type: MessageType
    sender: str
    content: str
    created_at: datetime


_IS_TEST = Prepared(sa.select(conversations.c.is_test).where(conversations.c.id == sa.bindparam("id")))


def begin(connection: Connection, org_id: str, conversation_id: str) -> None:
    """Have the first step done for a conversation that this transaction has finished, unless it is a test."""
    found = _IS_TEST.first(connection, {"id": conversation_id})
    if found is not None and not found["is_test"]:
        enqueue(connection, org_id, STEPS[0], {"conversation_id": conversation_id})


def enqueue_models(connection: Connection, org_id: str, conversation_id: str) -> None:
    """Have the models of a conversation's user made again, for a memory of the conversation has changed."""
    enqueue(connection, org_id, GENERATE_USER_MODELS, {"conversation_id": conversation_id, "again": True})


def find_followed(connection: Connection, conversation_id: str) -> Followed | None:
    """Look for a finished conversation whose user there still is. Return it, or None."""
    query = (
        sa.select(*columns(Followed, conversations, **{name: users.c[name] for name in _OF_USER}))
        .join(users, users.c.id == conversations.c.user_id)
        .where(conversations.c.id == conversation_id, conversations.c.is_finished)
    )
    return find_row(connection, query, Followed)


_OF_USER = ("first_name", "last_name", "preferences", "memory_forgotten_at", "memory_revision")


def list_said(connection: Connection, followed: Followed) -> Sequence[SaidMessage]:
    """Fetch what was said in a conversation, but for what is to be forgotten. Return it, the oldest first."""
    query = sa.select(*columns(SaidMessage, messages)).where(
        messages.c.conversation_id == followed.id, messages.c.message_type != "agent-inner-thought"
    )
    if followed.memory_forgotten_at is not None:
        query = query.where(messages.c.created_at > followed.memory_forgotten_at)
    return list_rows(connection, query.order_by(messages.c.created_at), SaidMessage)


def list_dimensions(connection: Connection, org_id: str) -> Sequence[Mapping[str, Any]]:
    """Fetch the dimensions of an organization's users. Return them in their order."""
    query = sa.select(organizations.c.user_dimensions).where(organizations.c.org_id == org_id)
    return connection.execute(query).scalar() or ()


def complete(connection: Connection, conversation_id: str, step: str) -> bool:
    """Note that a step is done, and have the next one done. Return False if it was done before: it has no effect."""
    query = sa.select(conversations.c.org_id, conversations.c.completed_post_processings)
    found = connection.execute(query.where(conversations.c.id == conversation_id).with_for_update()).first()
    if found is None or step in found[1]:
        return False
    done = [*found[1], step]
    following = next((each for each in STEPS if each not in done), None)
    values = {
        "completed_post_processings": done,
        "post_processing_error": None,
        "is_analyzed": following is None,
    }
    connection.execute(sa.update(conversations).where(conversations.c.id == conversation_id).values(values))
    if following is not None:
        enqueue(connection, found[0], following, {"conversation_id": conversation_id})
    return True


def note_error(connection: Connection, conversation_id: str, error: str) -> None:
    """Note why a step failed, in words that its user may see."""
    this = conversations.c.id == conversation_id
    connection.execute(sa.update(conversations).where(this).values(post_processing_error=error))


def retry(connection: Connection, org_id: str, conversation_id: str) -> bool:
    """Have the step that failed done again at once. Return False if none has failed."""
    failed = sa.and_(conversations.c.id == conversation_id, conversations.c.post_processing_error.is_not(None))
    query = sa.select(conversations.c.completed_post_processings).where(failed).with_for_update()
    done = connection.execute(query).scalar()
    if done is None:
        return False
    step = next((each for each in STEPS if each not in done), STEPS[-1])
    its = sa.and_(jobs.c.kind == step, JsonText(jobs.c.payload, "conversation_id") == conversation_id)
    waiting = sa.update(jobs).where(its, jobs.c.lease.is_(None)).values(due_at=clock.now(), attempts=0)
    is_due = connection.execute(waiting).rowcount or connection.execute(sa.select(jobs.c.id).where(its)).first()
    if not is_due:
        enqueue(connection, org_id, step, {"conversation_id": conversation_id})
    connection.execute(sa.update(conversations).where(failed).values(post_processing_error=None))
    return True
