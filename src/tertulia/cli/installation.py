"""An installation: its secret key, the schema of its clusters, its signing key, its demo organization."""

import asyncio
import json
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.engine import Connection

from tertulia.auth import roles
from tertulia.auth.secrets import AUDIT_LOG, SecretBox, create_key_file
from tertulia.auth.tokens import Tokens, add_signing_key, ensure_signing_key
from tertulia.cli.failure import MISUSED, CommandFailed
from tertulia.demo import organization as demo
from tertulia.demo.organization import Demo, Founded
from tertulia.errors import NotFound
from tertulia.ids import ORGANIZATION_ID_PATTERN
from tertulia.settings import Settings
from tertulia.storage import clusters as directory
from tertulia.storage import job as jobs
from tertulia.storage import maintenance, migrations, organization, organization_erasure, user, versioned
from tertulia.storage.agent import AGENT
from tertulia.storage.audit import AuditEntry, append_line
from tertulia.storage.clusters import Clusters
from tertulia.storage.database import dialect
from tertulia.storage.job import Job
from tertulia.storage.library import get_agent_body

T = TypeVar("T")
M = TypeVar("M", Demo, Founded)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A bearer token and whose it is."""

    user_id: str
    token: str


_ORGANIZATION_ID = re.compile(ORGANIZATION_ID_PATTERN)


def migrate(settings: Settings) -> None:
    """Bring every cluster up to date, and make the keys of the installation where there are none."""
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not settings.secret_key.get_secret_value():
        create_key_file(settings.data)
    box = open_box(settings)
    with open_clusters(settings) as clusters:
        for name in settings.cluster_urls:
            migrations.upgrade(clusters.open(name).engine)
            asyncio.run(clusters.open(name).write(_bring_roles_up_to_date))
        asyncio.run(clusters.default.write(_first_signing_key, box))


def make_demo(settings: Settings, org_id: str, cluster: str | None) -> Demo:
    """Migrate, then make the demo organization if it is not there, in a cluster; a new API key each time.

    The vectors of its sayings are put into the data folder, so that no message waits for them.

    Raises:
        CommandFailed: as `make_organization`.
    """
    from tertulia.demo.vectors import read_vectors  # noqa: PLC0415 - a server has no use for them
    from tertulia.providers.embeddings.kept import VectorFile  # noqa: PLC0415 - the same

    made = _make(settings, org_id, cluster, demo.bootstrap, "init")
    VectorFile(settings.data).add(read_vectors())
    return made


def make_organization(settings: Settings, org_id: str, cluster: str | None, command: str) -> Founded:
    """Migrate, then make an organization with an administrator if it is not there; a new API key each time.

    The line of the audit log names `command`.

    Raises:
        CommandFailed: there is no such cluster, the organization is in another, or its identifier is not one.
    """
    return _make(settings, org_id, cluster, demo.found, command)


def _line(org_id: str, command: str, kind: str, object_id: str, **after: str) -> AuditEntry:
    """Say what an operator has done with a command, as nobody's user. Return the line to be written."""
    return AuditEntry(
        org_id=org_id,
        action=f"tertulia {command}",
        object_kind=kind,
        object_id=object_id,
        actor_org_id="",
        actor_user_id="operator",
        api_key_id="",
        address="",
        request_id="",
        change=json.dumps({"after": after} if after else {}),
    )


def _make(
    settings: Settings, org_id: str, cluster: str | None, unit: Callable[[Connection, str], M], command: str
) -> M:
    if not _ORGANIZATION_ID.fullmatch(org_id):
        raise CommandFailed(f"{org_id!r} is no identifier: use at most 63 letters, digits and hyphens.", MISUSED)
    if cluster is not None and cluster not in settings.cluster_urls:
        known = ", ".join(settings.cluster_urls)
        raise CommandFailed(f"There is no storage cluster {cluster}; the settings name {known}.", MISUSED)
    migrate(settings)
    key = open_box(settings).derive(AUDIT_LOG)

    def make(connection: Connection, org_id: str) -> M:
        made = unit(connection, org_id)
        line = _line(org_id, command, "organization", org_id, api_key_id=made.api_key_id)
        append_line(connection, key, line)
        return made

    with open_clusters(settings) as clusters:
        return asyncio.run(_make_in(clusters, org_id, cluster, make))


def list_organizations(settings: Settings) -> list[tuple[str, str, str]]:
    """List the organizations of every cluster. Return identifier, name and cluster of each."""
    open_box(settings)
    with open_clusters(settings) as clusters:
        return [
            (found.org_id, found.name, name)
            for name in clusters.names
            for found in asyncio.run(clusters.open(name).read(organization.list_organizations))
        ]


def delete_organization(settings: Settings, org_id: str) -> None:
    """Delete an organization with all that it has. Safe to repeat; what a repetition finds is removed.

    Raises:
        CommandFailed: there is none.
    """
    open_box(settings)
    with open_clusters(settings) as clusters:
        asyncio.run(_delete_organization(clusters, org_id))


async def _delete_organization(clusters: Clusters, org_id: str) -> None:
    entry = await clusters.default.read(directory.find_entry, org_id)
    database = clusters.open(entry or directory.DEFAULT)
    if not await database.read(organization.is_taken, org_id):
        raise CommandFailed(f"There is no organization {org_id}.")
    await database.write(organization_erasure.begin_deletion, org_id, "")
    await organization_erasure.erase_organization(clusters, database, org_id)


def issue_token(settings: Settings, org_id: str, user_id: str | None, *, administrator: bool) -> IssuedToken:
    """Issue a bearer token of a user, or else of the demo user or administrator. Return it."""
    box = open_box(settings)
    with open_clusters(settings) as clusters:
        return asyncio.run(_issue_token(clusters, box, org_id, user_id, administrator=administrator))


def add_visitor(settings: Settings, org_id: str) -> IssuedToken:
    """Make a user who has no memory of anything yet, and sees what agents do. Return a token of theirs."""
    box = open_box(settings)
    with open_clusters(settings) as clusters:
        return asyncio.run(_add_visitor(clusters, box, org_id))


def find_agent_name(settings: Settings, org_id: str, agent_id: str, version: int | None) -> str | None:
    """Look for the name of an agent, in a version or else its latest one. Returns None if there is none."""
    with open_clusters(settings) as clusters:
        try:
            return asyncio.run(_find_agent_name(clusters, org_id, agent_id, version))
        except NotFound:
            return None


def rotate_signing_key(settings: Settings) -> None:
    """Make a new key that signs from now on; tokens of the old key are good until they expire."""
    box = open_box(settings)
    with open_clusters(settings) as clusters:
        asyncio.run(clusters.default.write(add_signing_key, box))


def set_maintenance(settings: Settings, *, on: bool) -> None:
    """Begin or end the maintenance of the installation, for all its workers; safe to repeat."""
    open_box(settings)  # there is an installation
    with open_clusters(settings) as clusters:
        asyncio.run(clusters.default.write(_set_maintenance, on))


def list_jobs(settings: Settings) -> list[tuple[str, ...]]:
    """Describe the jobs of every cluster that are not done. Return a row of texts for each; dead ones come first."""
    open_box(settings)
    with open_clusters(settings) as clusters:
        found = [asyncio.run(clusters.open(name).read(jobs.list_jobs)) for name in settings.cluster_urls]
    return [_describe(job) for of_cluster in found for job in of_cluster]


def _describe(job: Job) -> tuple[str, ...]:
    when = f"due {job.due_at:%Y-%m-%d %H:%M:%S}" if job.due_at else "dead"
    return job.id, job.kind, job.org_id, when, f"attempts {job.attempts}", job.error or ""


def revive_jobs(settings: Settings, job_id: str | None) -> int:
    """Make a dead job due again, or all of them. Return how many there were."""
    open_box(settings)
    with open_clusters(settings) as clusters:
        return sum(asyncio.run(clusters.open(name).write(jobs.revive_jobs, job_id)) for name in settings.cluster_urls)


async def _make_in(clusters: Clusters, org_id: str, cluster: str | None, unit: Callable[[Connection, str], T]) -> T:
    holder = await clusters.default.write(directory.claim_entry, org_id, cluster or directory.DEFAULT)
    if cluster is not None and holder != cluster:
        raise CommandFailed(f"The organization {org_id} is in the storage cluster {holder}.", MISUSED)
    return await clusters.open(holder).write(unit, org_id)


async def _issue_token(
    clusters: Clusters, box: SecretBox, org_id: str, user_id: str | None, *, administrator: bool
) -> IssuedToken:
    database = await clusters.locate(org_id, None)
    user_id = user_id or await database.read(demo.find_user, org_id, administrator=administrator)
    if user_id is None:
        raise CommandFailed(
            f"The organization {org_id} has no demo user: name one with --user, or run `tertulia init`."
        )
    if await database.read(user.find_role_of, org_id, user_id) is None:
        raise CommandFailed(f"The organization {org_id} has no user {user_id}.")
    await database.write(append_line, box.derive(AUDIT_LOG), _line(org_id, "token", "user", user_id))
    token, _expires_at = await Tokens(clusters.default, box).issue(org_id, user_id)
    return IssuedToken(user_id, token)


async def _add_visitor(clusters: Clusters, box: SecretBox, org_id: str) -> IssuedToken:
    key = box.derive(AUDIT_LOG)

    def add(connection: Connection) -> str:
        made = demo.add_visitor(connection, org_id)
        append_line(connection, key, _line(org_id, "rehearse", "user", made))
        return made

    database = await clusters.locate(org_id, None)
    user_id = await database.write(add)
    token, _expires_at = await Tokens(clusters.default, box).issue(org_id, user_id)
    return IssuedToken(user_id, token)


async def _find_agent_name(clusters: Clusters, org_id: str, agent_id: str, version: int | None) -> str | None:
    database = await clusters.locate(org_id, None)
    if version is None:
        version = (await database.read(versioned.get, AGENT, org_id, agent_id)).latest_version
    if version is None:
        return None
    body = await database.read(get_agent_body, (agent_id, version))
    return str(body["identity"]["name"])


def _set_maintenance(connection: Connection, on: bool) -> None:
    dialect.lock_schema(connection)  # of several that begin it at once, one does
    maintenance.set_maintenance(connection, on=on)


def _bring_roles_up_to_date(connection: Connection) -> None:
    """Give the roles that organizations begin with the permissions that this version has more."""
    dialect.lock_schema(connection)
    for found in organization.list_organizations(connection):
        roles.insert_builtin(connection, found.org_id)


def _first_signing_key(connection: Connection, box: SecretBox) -> None:
    dialect.lock_schema(connection)  # of several that begin at once, one makes it
    ensure_signing_key(connection, box)


def open_box(settings: Settings) -> SecretBox:
    """Open the secrets of an installation. Return the box, or raise CommandFailed if there is none."""
    try:
        return SecretBox.open(settings)
    except FileNotFoundError as error:
        raise CommandFailed(f"{settings.data} holds no installation: run `tertulia init` first.") from error
    except ValueError as error:
        raise CommandFailed(f"TERTULIA_SECRET_KEY: {error}", MISUSED) from error


@contextmanager
def open_clusters(settings: Settings) -> Generator[Clusters]:
    """Open the storage clusters of an installation while the block runs. Yield them."""
    clusters = Clusters(settings)
    try:
        yield clusters
    finally:
        clusters.close()
