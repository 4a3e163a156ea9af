"""Services and their version sets."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from tertulia import clock
from tertulia.errors import BadRequest, Conflict, NotFound
from tertulia.storage.agent import AGENT
from tertulia.storage.context_graph import CONTEXT_GRAPH
from tertulia.storage.conversation import tag_condition
from tertulia.storage.database.paging import Page, Sort, Window, cut, ordering
from tertulia.storage.tables import organizations, services, version_sets
from tertulia.storage.versioned import Author, Kind

COLUMNS: Mapping[str, ColumnElement[Any]] = {"org_id": services.c.org_id, "service_id": services.c.id}
"""The attributes of a service that a permission's conditions can name."""

LOCKED_SETS = frozenset({"edge", "release"})
"""The version sets that every service has."""


@dataclass(frozen=True, slots=True)
class VersionSet:
    """Which versions of its agent and context graph a service runs, and on which models; None is the latest version."""

    agent_version: int | None = None
    context_graph_version: int | None = None
    llm_model_preferences: Mapping[str, Any] | None = None


EDGE = VersionSet()


@dataclass(frozen=True, slots=True)
class ServiceFilter:
    """What a list of services is narrowed to; an empty field narrows nothing. Every tag must match."""

    id: Sequence[str] = ()
    is_active: bool | None = None
    tags: Sequence[tuple[str, str]] = ()
    """Pairs of a key and a value, where the value `*` stands for any, and an empty one for null."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The agent and the context graph that a service uses; they stay as they are until the transaction ends."""

    agent: RowMapping
    graph: RowMapping


def get_service(connection: Connection, org_id: str, service_id: str) -> RowMapping:
    """A service that nobody else changes before a transaction that writes ends. Raises NotFound."""
    query = sa.select(services).where(services.c.id == service_id, services.c.org_id == org_id)
    row = connection.execute(query.with_for_update()).mappings().first()
    if row is None:
        raise NotFound(f"There is no service {service_id}.")
    return row


def find_parts(connection: Connection, org_id: str, agent_id: str, graph_id: str) -> Parts | str:
    """A service's agent and context graph, or the text that says which of them does not exist."""
    agent = _find_part(connection, AGENT, org_id, agent_id)
    if agent is None:
        return f"There is no agent {agent_id}."
    graph = _find_part(connection, CONTEXT_GRAPH, org_id, graph_id)
    return Parts(agent, graph) if graph is not None else f"There is no context graph {graph_id}."


def _find_part(connection: Connection, kind: Kind, org_id: str, part_id: str) -> RowMapping | None:
    query = sa.select(kind.things).where(kind.things.c.id == part_id, kind.things.c.org_id == org_id)
    return connection.execute(query.with_for_update(read=True)).mappings().first()


def list_services(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: ServiceFilter,
    sort: Sort,
    window: Window,
) -> Page[RowMapping]:
    """Services, the oldest first unless sorted otherwise."""
    conditions = [services.c.org_id == org_id, visible]
    if narrow.id:
        conditions.append(services.c.id.in_(narrow.id))
    if narrow.is_active is not None:
        conditions.append(services.c.is_active.is_(narrow.is_active))
    conditions += [tag_condition(services.c.tags, key, value) for key, value in narrow.tags]
    columns = {"name": services.c.name, "is_active": services.c.is_active}
    query = (
        sa.select(services)
        .where(*conditions)
        .order_by(*ordering(sort, columns, services.c.created_at, services.c.id))
        .limit(window.limit + 1)
        .offset(window.offset)
    )
    return cut(connection.execute(query).mappings().all(), window)


def list_version_sets(connection: Connection, service_ids: Sequence[str]) -> dict[str, dict[str, VersionSet]]:
    """The version sets of services by service and name."""
    query = sa.select(version_sets).where(version_sets.c.service_id.in_(service_ids)).order_by(version_sets.c.name)
    found: dict[str, dict[str, VersionSet]] = {service_id: {} for service_id in service_ids}
    for row in connection.execute(query):
        found[row.service_id][row.name] = VersionSet(
            row.agent_version, row.context_graph_version, row.llm_model_preferences
        )
    return found


def list_tags(connection: Connection, org_id: str) -> list[str]:
    """Every tag of an organization's services, in the form that a filter takes."""
    rows = connection.execute(sa.select(services.c.tags).where(services.c.org_id == org_id)).scalars()
    return sorted({f"{key}:{'' if value is None else value}" for tags in rows for key, value in tags.items()})


def create_service(
    connection: Connection, row: Mapping[str, Any], author: Author, sets: Mapping[str, VersionSet]
) -> None:
    """A new service with its version sets. Raises Conflict: an active service has the name."""
    values = {
        **row,
        "creator_org_id": author.org_id,
        "creator_user_id": author.user_id,
        "updated_by_org_id": author.org_id,
        "updated_by_user_id": author.user_id,
        "created_at": clock.now(),
    }
    with _unique_name(str(row["name"])):
        connection.execute(sa.insert(services).values(values))
    for name, version_set in sets.items():
        put_version_set(connection, str(row["org_id"]), str(row["id"]), name, version_set)


def update_service(connection: Connection, service: RowMapping, changes: Mapping[str, Any], author: Author) -> None:
    """Change fields of a service that this transaction got. Raises Conflict: an active service has the name."""
    values = {**changes, "updated_by_org_id": author.org_id, "updated_by_user_id": author.user_id}
    with _unique_name(str(changes.get("name", service["name"]))):
        connection.execute(sa.update(services).where(services.c.id == service["id"]).values(values))


def has_version_set(connection: Connection, org_id: str, service_id: str, name: str) -> bool:
    """Whether a service has a version set of this name. Raises NotFound: there is no such service."""
    get_service(connection, org_id, service_id)
    query = sa.select(version_sets.c.name).where(version_sets.c.service_id == service_id, version_sets.c.name == name)
    return connection.execute(query).first() is not None


def put_version_set(connection: Connection, org_id: str, service_id: str, name: str, version_set: VersionSet) -> None:
    """Make or replace a version set of a service that this transaction got or made."""
    key = {"service_id": service_id, "name": name}
    connection.execute(sa.delete(version_sets).filter_by(**key))
    values = {
        "org_id": org_id,
        "agent_version": version_set.agent_version,
        "context_graph_version": version_set.context_graph_version,
        "llm_model_preferences": version_set.llm_model_preferences or {},
    }
    connection.execute(sa.insert(version_sets).values({**key, **values}))


def delete_version_set(
    connection: Connection, org_id: str, service_id: str, name: str, authorize: Callable[[], None]
) -> None:
    """Remove a version set.

    Raises:
        NotFound, Forbidden.
        BadRequest: every service has this one.
    """
    if not has_version_set(connection, org_id, service_id, name):
        raise NotFound(f"The service has no version set {name}.")
    authorize()
    if name in LOCKED_SETS:
        raise BadRequest(f"The version set {name} cannot be deleted.")
    connection.execute(sa.delete(version_sets).filter_by(service_id=service_id, name=name))


def find_keyterms(connection: Connection, org_id: str, service_id: str) -> list[str]:
    """Terms that transcription often gets wrong: those of a service, then those of its organization."""
    query = (
        sa.select(services.c.keyterms, organizations.c.default_user_preferences)
        .join(organizations, organizations.c.org_id == services.c.org_id)
        .where(services.c.org_id == org_id, services.c.id == service_id)
    )
    row = connection.execute(query).first()
    return [*row.keyterms, *row.default_user_preferences.get("audio_keyterms", ())] if row else []


@contextmanager
def _unique_name(name: str) -> Generator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(f"There is already an active service of this name: {name}.") from error
