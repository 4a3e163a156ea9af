"""The values of a turn: its lease, its claim, and the work that it wants to commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from tertulia.events import MessageFormat, MessageType, VersionInfo
from tertulia.ids import new_id
from tertulia.storage.conversation import Record


@dataclass(frozen=True, slots=True)
class Lease:
    """Which worker runs a turn, which interaction it makes, and until when nobody else may have the conversation."""

    owner: str
    interaction_id: str
    expires_at: datetime


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


@dataclass(frozen=True, slots=True)
class Claim:
    """A turn's right to a conversation, and what the turn has to know of it. `position` is None for a new one."""

    org_id: str
    user_id: str
    conversation_id: str
    interaction_id: str
    lease_token: int
    agent: VersionInfo
    graph: VersionInfo
    llm_model_preferences: Mapping[str, Any]
    position: list[list[Any]] | None
    returning: bool
    user: Record
    num_interactions: int
    last_message_time: datetime | None
    history: Sequence[Message] = ()


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a turn made, to be committed as one; `stream` is its NDJSON body."""

    created_at: datetime
    messages: Sequence[Message]
    position: list[list[Any]]
    insights: Mapping[str, Any]
    finished: bool
    stream: bytes
    stream_expires_at: datetime
    recordings: Sequence[Recording] = ()
