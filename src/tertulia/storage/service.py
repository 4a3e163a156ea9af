"""Services and their version sets."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from tertulia.errors import Conflict, NotFound
from tertulia.storage import versioned
from tertulia.storage.agent import AGENT, Agent
from tertulia.storage.context_graph import CONTEXT_GRAPH, ContextGraph
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.rows import columns, find_row
from tertulia.storage.database.shapes import among
from tertulia.storage.database.tags import tag_conditions
from tertulia.storage.tables import organizations, services, version_sets


@dataclass(frozen=True, slots=True)
class Service:
    """A service: an agent and a context graph that users talk to."""

    id: str
    org_id: str
    name: str
    description: str
    is_active: bool
    agent_id: str
    context_graph_id: str
    tags: Mapping[str, str | None]
    keyterms: Sequence[str]
    creator_org_id: str
    creator_user_id: str
    updated_by_org_id: str
    updated_by_user_id: str
    created_at: datetime
    result_schema: Mapping[str, Any] | None = None

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name; `COLUMNS` has the same ones."""
        return {"org_id": self.org_id, "service_id": self.id}


COLUMNS: Mapping[str, ColumnElement[Any]] = {"org_id": services.c.org_id, "service_id": services.c.id}
"""The attributes of a service, as columns."""

LOCKED_SETS = frozenset({"edge", "release"})
"""The version sets that every service has."""


@dataclass(frozen=True, slots=True)
class VersionSet:
    """The versions and the models that a service runs; None is the latest version."""

    agent_version: int | None = None
    context_graph_version: int | None = None
    llm_model_preferences: Mapping[str, Any] | None = None


EDGE = VersionSet()


def version_set_attributes(org_id: str, service_id: str, name: str) -> dict[str, object]:
    """Return the attributes of a version set that a permission's conditions can name."""
    return {"org_id": org_id, "service_id": service_id, "version_set_name": name}


@dataclass(frozen=True, slots=True)
class ServiceFilter:
    """A filter of services; an empty field narrows nothing. Every tag must match."""

    id: Sequence[str] = ()
    is_active: bool | None = None
    tags: Sequence[tuple[str, str]] = ()
    """Pairs of a key and a value; the value `*` stands for any, and an empty one for null."""


@dataclass(frozen=True, slots=True)
class ServiceParts:
    """The agent and the context graph that a service uses."""

    agent: Agent
    graph: ContextGraph


def find_service_id(connection: Connection, org_id: str, name: str) -> str | None:
    """Look for a service by its name. Return the identifier of the active one, or else of the oldest, or None."""
    query = sa.select(services.c.id).where(services.c.org_id == org_id, services.c.name == name)
    return connection.execute(query.order_by(services.c.is_active.desc(), services.c.created_at)).scalars().first()


def find_service_name(connection: Connection, service_id: str) -> str:
    """Look for the name of a service. Return it, "" if there is none."""
    return connection.execute(sa.select(services.c.name).where(services.c.id == service_id)).scalar() or ""


def lock_service(connection: Connection, org_id: str, service_id: str) -> Service:
    """Fetch a service that nobody else changes before this transaction ends. Return its row, or raise NotFound."""
    query = sa.select(*columns(Service, services)).where(services.c.id == service_id, services.c.org_id == org_id)
    service = find_row(connection, query.with_for_update(), Service)
    if service is None:
        raise NotFound(f"There is no service {service_id}.")
    return service


def lock_parts(connection: Connection, org_id: str, agent_id: str, graph_id: str) -> ServiceParts:
    """Fetch an agent and a context graph that nobody changes before this transaction ends. Return both.

    Raises:
        NotFound: one of them does not exist.
    """
    agent = versioned.lock_shared(connection, AGENT, org_id, agent_id)
    return ServiceParts(agent, versioned.lock_shared(connection, CONTEXT_GRAPH, org_id, graph_id))


def list_services(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: ServiceFilter,
    sort: Sort,
    window: Window,
) -> Page[Service]:
    """Fetch a page of services, the oldest first unless sorted otherwise. Return those that are `visible`."""
    conditions = [services.c.org_id == org_id, visible]
    if narrow.id:
        conditions.append(among(services.c.id, narrow.id))
    if narrow.is_active is not None:
        conditions.append(services.c.is_active.is_(narrow.is_active))
    conditions += tag_conditions(services.c.tags, narrow.tags)
    sortable = {"name": services.c.name, "is_active": services.c.is_active}
    query = (
        sa.select(*columns(Service, services))
        .where(*conditions)
        .order_by(*ordering(sort, sortable, services.c.created_at, services.c.id))
    )
    return fetch_page(connection, query, window, Service)


def list_version_sets(connection: Connection, service_ids: Sequence[str]) -> dict[str, dict[str, VersionSet]]:
    """Fetch the version sets of services. Return them by service and name."""
    query = sa.select(version_sets).where(among(version_sets.c.service_id, service_ids)).order_by(version_sets.c.name)
    found: dict[str, dict[str, VersionSet]] = {service_id: {} for service_id in service_ids}
    for row in connection.execute(query):
        found[row.service_id][row.name] = VersionSet(
            row.agent_version, row.context_graph_version, row.llm_model_preferences
        )
    return found


def list_tags(connection: Connection, org_id: str) -> list[str]:
    """Collect the tags of an organization's services. Return each once, in the form that a filter takes."""
    rows = connection.execute(sa.select(services.c.tags).where(services.c.org_id == org_id)).scalars()
    return sorted({f"{key}:{'' if value is None else value}" for tags in rows for key, value in tags.items()})


def insert_service(connection: Connection, service: Service, sets: Mapping[str, VersionSet]) -> None:
    """Insert a service with its version sets. Raises Conflict: an active service has the name."""
    with _unique_name(service.name):
        connection.execute(sa.insert(services).values(asdict(service)))
    for name, version_set in sets.items():
        put_version_set(connection, service, name, version_set)


def update_service(connection: Connection, service: Service) -> None:
    """Write the fields of a service that this transaction has locked. Raises Conflict: the name is taken."""
    with _unique_name(service.name):
        connection.execute(sa.update(services).where(services.c.id == service.id).values(asdict(service)))


def has_version_set(connection: Connection, service: Service, name: str) -> bool:
    """Return whether a service that this transaction has locked has a version set of this name."""
    query = sa.select(version_sets.c.name).where(version_sets.c.service_id == service.id, version_sets.c.name == name)
    return connection.execute(query).first() is not None


def put_version_set(connection: Connection, service: Service, name: str, version_set: VersionSet) -> None:
    """Make or replace a version set of a service that this transaction has locked or made."""
    delete_version_set(connection, service, name)
    values = {
        "org_id": service.org_id,
        "service_id": service.id,
        "name": name,
        "agent_version": version_set.agent_version,
        "context_graph_version": version_set.context_graph_version,
        "llm_model_preferences": version_set.llm_model_preferences or {},
    }
    connection.execute(sa.insert(version_sets).values(values))


def delete_version_set(connection: Connection, service: Service, name: str) -> None:
    """Remove the version set of this name, if there is one, from a service that this transaction has locked."""
    connection.execute(sa.delete(version_sets).filter_by(service_id=service.id, name=name))


def find_keyterms(connection: Connection, org_id: str, service_id: str) -> list[str]:
    """Collect terms that transcription often gets wrong. Return a service's own, then those of its organization."""
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
