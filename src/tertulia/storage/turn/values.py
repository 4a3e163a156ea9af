"""The values of a turn: its lease, its claim, and the work that it wants to commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec

from tertulia.events import MessageFormat, MessageType, VersionInfo
from tertulia.ids import new_id
from tertulia.storage.conversation import UserProfile


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to make an interaction; until `expires_at` nobody else may have the conversation."""

    owner: str
    interaction_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """The standing of a caller: all that is remembered of them, and compared with the database when a turn is claimed.

    That is a role, the end of what they have beyond it for some time, and the API key that they signed in with and its
    role; "" for none. Two places compare it: `auth.actor.confirm_actor`, and the statement of `at_once.claim_at_once`.
    """

    role_id: str
    granted_until: datetime | None = None
    key_id: str = ""
    key_role_id: str = ""


@dataclass(frozen=True, slots=True)
class Opening:
    """A conversation that is about to begin."""

    org_id: str
    user_id: str
    service_id: str
    version_set_name: str
    tags: Mapping[str, str | None]
    is_test: bool
    conversation_id: str = field(default_factory=new_id)

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name, but for the id, which nobody knows yet."""
        return {
            "org_id": self.org_id,
            "conversation_user_id": self.user_id,
            "service_id": self.service_id,
            "conversations_visible_to_admins": True,
        }


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is stored."""

    id: str
    message_type: MessageType
    format: MessageFormat
    sender: str
    content: str
    created_at: datetime


ContentType = Literal["audio/wav", "audio/mpeg"]


@dataclass(frozen=True, slots=True)
class Recording:
    """The sound of a spoken message, as a file of its content type."""

    message_id: str
    content_type: ContentType
    body: bytes


class Claim(msgspec.Struct, frozen=True):
    """A turn's right to a conversation, and the conversation as the turn sees it. `position` is None for a new one.

    `attributes` are those that a permission's conditions can name.
    """

    org_id: str
    user_id: str
    conversation_id: str
    service_id: str
    interaction_id: str
    lease_token: int
    agent: VersionInfo
    graph: VersionInfo
    llm_model_preferences: Mapping[str, Any]
    position: list[list[Any]] | None
    returning: bool
    profile: UserProfile
    attributes: Mapping[str, object]
    num_interactions: int
    last_message_time: datetime | None
    behaviors_revision: int
    """Counts the changes of the service's dynamic behaviours; 0: there never were any."""
    behavior: VersionInfo | None = None
    """The version of a dynamic behaviour set that the turn before chose."""
    working_memory: Sequence[str] = ()
    """Memories that earlier turns found, the newest last."""
    performed_queries: Sequence[str] = ()
    """The queries that recall states asked in earlier turns."""
    tool_results: Sequence[Mapping[str, Any]] = ()
    """The results of tools that earlier turns have kept, the newest last."""
    pending_calls: Sequence[Mapping[str, Any]] = ()
    """The calls of tools that wait for the user's yes."""
    history: Sequence[Message] = ()


@dataclass(frozen=True, slots=True)
class PackedStream:
    """A stream as it is stored: compressed lines, and where their sound belongs."""

    body: bytes
    sound: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Invocation:
    """The choice of a dynamic behaviour in a turn, and the messages that led to it."""

    behavior: VersionInfo
    initial_message_id: str
    agent_message_id: str | None
    inner_thought_ids: Sequence[str]
    external_event_ids: Sequence[str]
    invoked_at: datetime


@dataclass(frozen=True, slots=True)
class NewTrace:
    """The trace of a turn as it is stored; `prompts` counts the model calls whose prompts are in it."""

    body: bytes
    prompts: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """The work of a turn, to be committed as one; `stream` is its NDJSON body, packed already if it is large."""

    created_at: datetime
    messages: Sequence[Message]
    position: list[list[Any]]
    insights: Mapping[str, Any]
    finished: bool
    stream: bytes | PackedStream
    stream_expires_at: datetime
    recordings: Sequence[Recording] = ()
    behavior: VersionInfo | None = None
    """The dynamic behaviour that the next turn finds as the one before."""
    invocation: Invocation | None = None
    working_memory: Sequence[str] = ()
    """The memories that the next turn finds."""
    performed_queries: Sequence[str] = ()
    """The queries that no later recall state asks again."""
    tool_results: Sequence[Mapping[str, Any]] = ()
    """The results of tools that later turns are told."""
    pending_calls: Sequence[Mapping[str, Any]] = ()
    """The calls of tools that wait for the user's yes in the next turn."""
    trace: NewTrace | None = None
