"""Turns that run, at whatever worker: those whose leases hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage.database.paging import Page, Window, fetch_page
from tertulia.storage.database.rows import columns
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import conversations, users


@dataclass(frozen=True, slots=True)
class RunningTurn:
    """A turn that runs; `owner` is the worker that runs it, `number` 1 for the first of its conversation."""

    conversation_id: str
    interaction_id: str
    user_id: str
    service_id: str
    version_set_name: str
    number: int
    owner: str


@dataclass(frozen=True, slots=True)
class RunningFilter:
    """A filter of running turns; an empty field narrows nothing."""

    conversation_id: Sequence[str] = ()
    user_id: Sequence[str] = ()
    service_id: Sequence[str] = ()


_RUNNING = columns(
    RunningTurn,
    conversations,
    conversation_id=conversations.c.id,
    interaction_id=conversations.c.lease_interaction_id,
    number=conversations.c.num_interactions + 1,
    owner=conversations.c.lease_owner,
)


def list_running(
    connection: Connection, org_id: str, visible: ColumnElement[bool], narrow: RunningFilter, window: Window
) -> Page[RunningTurn]:
    """List the turns of an organization that run. Return a page, those that began first before the others.

    `visible` may name columns of the conversation and of its owner.
    """
    filters = {
        conversations.c.id: narrow.conversation_id,
        conversations.c.user_id: narrow.user_id,
        conversations.c.service_id: narrow.service_id,
    }
    query = (
        sa.select(*_RUNNING)
        .join(users, users.c.id == conversations.c.user_id)
        .where(conversations.c.lease_expires_at > clock.now(), conversations.c.org_id == org_id, visible)
        .where(*(among(column, values) for column, values in filters.items() if values))
        .order_by(conversations.c.lease_interaction_id)
    )
    return fetch_page(connection, query, window, RunningTurn)
