"""Conversations: one, many, tags. Their turns, and their end, are in storage/turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, bindparam
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from tertulia.errors import NotFound
from tertulia.events import MessageType, VersionInfo
from tertulia.storage.database.dialect import Unindexed
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.prepared import Prepared
from tertulia.storage.database.rows import columns
from tertulia.storage.database.shapes import among, padded
from tertulia.storage.database.tags import tag_conditions
from tertulia.storage.tables import conversation_tags, conversations, messages, roles, services, users

COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": conversations.c.org_id,
    "conversation_id": conversations.c.id,
    "conversation_user_id": conversations.c.user_id,
    "service_id": conversations.c.service_id,
    "conversations_visible_to_admins": users.c.conversations_visible_to_admins,
}
"""The attributes of a conversation that a permission's conditions can name."""

VERSION_SET_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": conversations.c.org_id,
    "service_id": conversations.c.service_id,
    "version_set_name": conversations.c.version_set_name,
}
"""The attributes of the version set that a conversation began with."""


@dataclass(frozen=True, slots=True)
class UserProfile:
    """A user as a turn knows them."""

    first_name: str
    last_name: str
    preferences: Mapping[str, Any]
    additional_context: Sequence[str]
    memory_revision: int = 0
    """Counts the changes of what is remembered of the user; 0: nothing ever was."""
    memory_forgotten_at: datetime | None = None
    """The time when all that was remembered of the user was forgotten last."""

    @property
    def name(self) -> str:
        """The user's whole name."""
        return f"{self.first_name} {self.last_name}"

    @property
    def language(self) -> str | None:
        """The language that the user prefers, ISO 639-3."""
        return self.preferences.get("preferred_language")

    @property
    def timezone(self) -> str:
        """The user's time zone, a name of the IANA database."""
        return self.preferences.get("timezone") or "UTC"

    @property
    def keyterms(self) -> Sequence[str]:
        """Words that are likely in the user's speech."""
        return self.preferences.get("audio_keyterms", ())


@dataclass(frozen=True, slots=True)
class Owner:
    """The user of a conversation, as permissions ask for them."""

    org_id: str
    user_id: str
    role_name: str
    model_visible_to_admins: bool
    conversations_visible_to_admins: bool

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes of a user that a permission's conditions can name."""
        return {
            "org_id": self.org_id,
            "user_id": self.user_id,
            "user_role_name": self.role_name,
            "user_model_visible_to_admins": self.model_visible_to_admins,
        }


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A conversation's lease as its row has it; `interaction_id` and `expires_at` are None while nobody holds it."""

    token: int
    interaction_id: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation with its owner."""

    id: str
    org_id: str
    service_id: str
    owner: Owner
    profile: UserProfile
    agent: VersionInfo
    graph: VersionInfo
    llm_model_preferences: Mapping[str, Any]
    tags: Mapping[str, str | None]
    is_finished: bool
    position: list[list[Any]]
    behaviors_revision: int
    behavior: VersionInfo | None
    """The version of a dynamic behaviour set that the newest turn chose."""
    working_memory: Sequence[str]
    """Memories that the turns found, the newest last."""
    performed_queries: Sequence[str]
    """The queries that recall states have asked."""
    tool_results: Sequence[Mapping[str, Any]]
    """The results of tools that the turns have kept, the newest last."""
    pending_calls: Sequence[Mapping[str, Any]]
    """The calls of tools that wait for the user's yes."""
    num_interactions: int
    last_interaction_id: str | None
    last_message_time: datetime | None
    lease: HeldLease

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes of a conversation that a permission's conditions can name."""
        return {
            "org_id": self.org_id,
            "conversation_id": self.id,
            "conversation_user_id": self.owner.user_id,
            "service_id": self.service_id,
            "conversations_visible_to_admins": self.owner.conversations_visible_to_admins,
        }


_CONVERSATION = (
    sa.select(
        conversations.c.id,
        conversations.c.org_id,
        conversations.c.user_id,
        conversations.c.service_id,
        conversations.c.agent_id,
        conversations.c.agent_version,
        conversations.c.context_graph_id,
        conversations.c.context_graph_version,
        conversations.c.llm_model_preferences,
        conversations.c.tags,
        conversations.c.is_finished,
        conversations.c.position,
        conversations.c.behavior,
        conversations.c.working_memory,
        conversations.c.performed_queries,
        conversations.c.tool_results,
        conversations.c.pending_calls,
        conversations.c.num_interactions,
        conversations.c.last_interaction_id,
        conversations.c.last_message_time,
        conversations.c.lease_token,
        conversations.c.lease_interaction_id,
        conversations.c.lease_expires_at,
        users.c.first_name,
        users.c.last_name,
        users.c.preferences,
        users.c.additional_context,
        users.c.memory_revision,
        users.c.memory_forgotten_at,
        users.c.conversations_visible_to_admins,
        users.c.user_model_visible_to_admins,
        roles.c.name.label("role_name"),
        services.c.behaviors_revision,
    )
    .join(services, services.c.id == conversations.c.service_id)
    .join(users, users.c.id == conversations.c.user_id)
    .join(roles, roles.c.id == users.c.role_id)
    .where(conversations.c.org_id == bindparam("org_id"), conversations.c.id == bindparam("conversation_id"))
)

_GET = Prepared(_CONVERSATION)
_LOCK = _CONVERSATION.with_for_update(of=conversations)


def get_conversation(connection: Connection, org_id: str, conversation_id: str) -> Conversation:
    """Read a conversation with its owner. Return it.

    Raises:
        NotFound: there is none.
    """
    row = _GET.first(connection, {"org_id": org_id, "conversation_id": conversation_id})
    return _conversation(row, conversation_id)


def lock_conversation(connection: Connection, org_id: str, conversation_id: str) -> Conversation:
    """Read a conversation, and keep others from changing it until the transaction ends. Return it.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(_LOCK, {"org_id": org_id, "conversation_id": conversation_id}).mappings().first()
    return _conversation(row, conversation_id)


def _conversation(row: Mapping[Any, Any] | None, conversation_id: str) -> Conversation:
    if row is None:
        raise NotFound(f"There is no conversation {conversation_id}.")
    return Conversation(
        id=row["id"],
        org_id=row["org_id"],
        service_id=row["service_id"],
        owner=Owner(
            row["org_id"],
            row["user_id"],
            row["role_name"],
            row["user_model_visible_to_admins"],
            row["conversations_visible_to_admins"],
        ),
        profile=UserProfile(
            row["first_name"],
            row["last_name"],
            row["preferences"],
            row["additional_context"],
            row["memory_revision"],
            row["memory_forgotten_at"],
        ),
        agent=(row["agent_id"], row["agent_version"]),
        graph=(row["context_graph_id"], row["context_graph_version"]),
        llm_model_preferences=row["llm_model_preferences"],
        tags=row["tags"],
        is_finished=row["is_finished"],
        position=row["position"],
        behaviors_revision=row["behaviors_revision"],
        behavior=None if row["behavior"] is None else (row["behavior"][0], row["behavior"][1]),
        working_memory=row["working_memory"] or (),
        performed_queries=row["performed_queries"] or (),
        tool_results=row["tool_results"] or (),
        pending_calls=row["pending_calls"] or (),
        num_interactions=row["num_interactions"],
        last_interaction_id=row["last_interaction_id"],
        last_message_time=row["last_message_time"],
        lease=HeldLease(row["lease_token"], row["lease_interaction_id"], row["lease_expires_at"]),
    )


def put_tags(connection: Connection, conversation_id: str, tags: Mapping[str, str | None]) -> None:
    """Replace the tags of a conversation that this transaction has locked."""
    connection.execute(sa.update(conversations).where(conversations.c.id == conversation_id).values(tags=dict(tags)))


@dataclass(frozen=True, slots=True)
class ListedConversation:
    """A settled conversation in a list, with its last message."""

    id: str
    org_id: str
    user_id: str
    service_id: str
    version_set_name: str
    agent_id: str
    agent_version: int
    context_graph_id: str
    context_graph_version: int
    llm_model_preferences: Mapping[str, Any]
    tags: Mapping[str, str | None]
    is_finished: bool
    is_analyzed: bool
    completed_post_processings: Sequence[str]
    post_processing_error: str | None
    num_messages: int
    num_interactions: int
    is_test: bool
    position: list[list[Any]]
    """Frames of a graph's id, its version and a state; the last is where the conversation stands."""
    last_message_time: datetime | None
    created_at: datetime
    conversations_visible_to_admins: bool
    final_message: str
    final_message_type: MessageType

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes of a conversation that a permission's conditions can name."""
        return {
            "org_id": self.org_id,
            "conversation_id": self.id,
            "conversation_user_id": self.user_id,
            "service_id": self.service_id,
            "conversations_visible_to_admins": self.conversations_visible_to_admins,
        }


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """A filter of conversations; an empty field narrows nothing."""

    id: Sequence[str] = ()
    user_id: Sequence[str] = ()
    service_id: Sequence[str] = ()
    is_finished: bool | None = None
    tag: Sequence[tuple[str, str]] = ()
    """Pairs of a key and a value, where the value `*` stands for any, and an empty one for null."""
    is_test: bool | None = None
    version_set_name: Sequence[str] = ()


def _final(column: Column[Any], otherwise: str) -> ColumnElement[Any]:
    """Select a column of a conversation's last message. Return it; no join, by which a database expects few rows."""
    its = messages.c.conversation_id == conversations.c.id, messages.c.created_at == conversations.c.last_message_time
    return sa.func.coalesce(sa.select(column).where(*its).scalar_subquery(), otherwise)


_LISTED = columns(
    ListedConversation,
    conversations,
    conversations_visible_to_admins=users.c.conversations_visible_to_admins,
    final_message=_final(messages.c.content, ""),
    final_message_type=_final(messages.c.message_type, "agent-message"),
)


def list_conversations(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: ConversationFilter,
    sort: Sort,
    window: Window,
) -> Page[ListedConversation]:
    """List settled conversations with their last message. Return a page, newest first by default."""
    tags: Sequence[ColumnElement[bool]] = ()
    if narrow.tag and not narrow.user_id:
        tags, narrow = _of_tags(connection, org_id, narrow.tag), replace(narrow, tag=())
    created_at, key = conversations.c.created_at, conversations.c.id
    if tags:
        created_at, key = conversation_tags.c.created_at, conversation_tags.c.conversation_id
    order = ordering(sort, {"created_at": created_at}, created_at.desc(), key.desc())
    if not (tags or narrow.id or narrow.user_id) and 1 < len(narrow.service_id) <= SERVICES_APART:
        one = _listed(visible, tags).where(*_chosen(org_id, replace(narrow, service_id=())))
        query = _listed(visible, tags).where(conversations.c.id.in_(_of_each(one, narrow.service_id, order, window)))
    else:
        query = _listed(visible, tags).where(*_chosen(org_id, narrow))
    return fetch_page(connection, query.order_by(*order), window, ListedConversation)


SERVICES_APART = 32
"""Services whose conversations are looked for one service after the other; of more, all are looked through."""

_RARE = 200
"""Conversations with a tag beyond which it does not matter how many there are."""


def _listed(visible: ColumnElement[bool], tags: Sequence[ColumnElement[bool]]) -> sa.Select[Any]:
    query = sa.select(*_LISTED).join(users, users.c.id == conversations.c.user_id)
    if tags:
        query = query.join(conversation_tags, conversation_tags.c.conversation_id == conversations.c.id)
    return query.where(conversations.c.num_interactions > 0, visible, *tags)


def _of_each(
    query: sa.Select[Any], service_ids: Sequence[str], order: Sequence[ColumnElement[Any]], window: Window
) -> sa.CompoundSelect[Any]:
    """Return the query of the first conversations of each service, as many as a page may need of one."""
    some = query.with_only_columns(conversations.c.id).order_by(*order).limit(window.offset + window.limit + 1)
    each = (some.where(conversations.c.service_id == service_id).subquery() for service_id in service_ids)
    return sa.union_all(*(sa.select(found.c.id) for found in each))


_KINDS: Sequence[Callable[[str], bool]] = (lambda value: not value, "*".__eq__, lambda value: value not in {"", "*"})
"""Kinds of a filter's values: they stand kind by kind, so that the order and number of filters make few statements."""


def _of_tags(connection: Connection, org_id: str, tags: Sequence[tuple[str, str]]) -> Sequence[ColumnElement[bool]]:
    """Return the conditions of a filter's tags, for a query that has rows of tags: those of the rarest are read."""

    def is_tag(table: Any, tag: tuple[str, str]) -> ColumnElement[bool]:
        value = {"": table.value.is_(None), "*": sa.true()}.get(tag[1], table.value == tag[1])
        return sa.and_(table.org_id == org_id, table.key == tag[0], value)

    def count(tag: tuple[str, str]) -> int:
        few = sa.select(conversation_tags.c.key).where(is_tag(conversation_tags.c, tag)).limit(_RARE).subquery()
        return connection.execute(sa.select(sa.func.count()).select_from(few)).scalar_one()

    rarest_first = sorted(dict.fromkeys(tags), key=count) if len(tags) > 1 else tags
    conditions = [is_tag(conversation_tags.c, tag) for tag in rarest_first[:1]]
    kinds = [[tag for tag in rarest_first[1:] if kind(tag[1])] for kind in _KINDS]
    for tag in chain.from_iterable(padded(kind) for kind in kinds):
        other = conversation_tags.alias()
        same = other.c.conversation_id == conversation_tags.c.conversation_id
        conditions.append(sa.exists().where(same, is_tag(other.c, tag)))
    return conditions


def _chosen(org_id: str, narrow: ConversationFilter) -> list[ColumnElement[bool]]:
    """List the conditions of a filter in an organization. Return them, so that the best index is chosen for them."""
    here = conversations.c.org_id == org_id
    # SQLite might choose an index of one of these, which finds more rows than that of a user.
    further = bool(narrow.service_id or narrow.tag) or narrow.is_finished is not None
    by_user = len(narrow.user_id) > 1 or (bool(narrow.user_id) and further)
    few = bool(narrow.id) or by_user
    found = [sa.literal(org_id) == Unindexed(conversations.c.org_id) if few else here]
    if by_user:
        theirs = sa.select(conversations.c.id).where(here, among(conversations.c.user_id, narrow.user_id))
        found.append(conversations.c.id.in_(theirs))
    return [*found, *narrowed(replace(narrow, user_id=()) if by_user else narrow)]


def narrowed(narrow: ConversationFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter, for a query that has the conversations."""
    conditions: list[ColumnElement[bool]] = [
        among(conversations.c[name], values)
        for name in ("id", "user_id", "service_id", "version_set_name")
        if (values := getattr(narrow, name))
    ]
    if narrow.is_finished is not None:
        conditions.append(conversations.c.is_finished.is_(narrow.is_finished))
    if narrow.is_test is not None:
        conditions.append(conversations.c.is_test.is_(narrow.is_test))
    return [*conditions, *tag_conditions(conversations.c.tags, narrow.tag)]
