"""Structured results: what a service's schema asks of a conversation, filled in when that has ended."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import NotFound
from tertulia.storage.database.dialect import JsonText
from tertulia.storage.database.prepared import Prepared
from tertulia.storage.database.rows import columns, find_row
from tertulia.storage.job import enqueue
from tertulia.storage.tables import jobs, results, services

FILL_RESULT = "fill-result"
"""The kind of job that fills a result in."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a conversation; `fields` and `sources` are None until it is ready."""

    org_id: str
    conversation_id: str
    schema: Mapping[str, Any]
    is_ready: bool
    fields: Mapping[str, Any] | None
    sources: Mapping[str, str | None] | None
    created_at: datetime
    updated_at: datetime


_SCHEMA = Prepared(sa.select(services.c.result_schema).where(services.c.id == sa.bindparam("id")))


def begin_result(connection: Connection, org_id: str, conversation_id: str, service_id: str) -> None:
    """Have the result of a conversation filled in that ends in this transaction, if its service has a schema."""
    found = _SCHEMA.first(connection, {"id": service_id})
    schema = None if found is None else found["result_schema"]
    if schema is None:
        return
    now = clock.now()
    result = Result(
        org_id, conversation_id, schema, is_ready=False, fields=None, sources=None, created_at=now, updated_at=now
    )
    connection.execute(sa.insert(results), asdict(result))
    enqueue(connection, org_id, FILL_RESULT, {"conversation_id": conversation_id})


def find_result(connection: Connection, conversation_id: str) -> Result | None:
    """Look for the result of a conversation. Return it, or None."""
    query = sa.select(*columns(Result, results)).where(results.c.conversation_id == conversation_id)
    return find_row(connection, query, Result)


def has_failed(connection: Connection, conversation_id: str) -> bool:
    """Return True if the job that fills a result in is dead: it has failed too often, and nobody has revived it."""
    its = sa.and_(jobs.c.kind == FILL_RESULT, JsonText(jobs.c.payload, "conversation_id") == conversation_id)
    return connection.execute(sa.select(jobs.c.id).where(its, jobs.c.due_at.is_(None))).first() is not None


def get_result(connection: Connection, conversation_id: str) -> Result:
    """Read the result of a conversation. Return it.

    Raises:
        NotFound: there is none: the conversation has not ended, or its service had no schema then.
    """
    result = find_result(connection, conversation_id)
    if result is None:
        raise NotFound("This conversation has no result: it has not ended, or its service had no result_schema then.")
    return result


def put_result(
    connection: Connection, conversation_id: str, fields: Mapping[str, Any], sources: Mapping[str, str | None]
) -> None:
    """Fill a result in; one whose conversation is gone meanwhile stays away."""
    changed = {"is_ready": True, "fields": dict(fields), "sources": dict(sources), "updated_at": clock.now()}
    connection.execute(sa.update(results).where(results.c.conversation_id == conversation_id).values(changed))
