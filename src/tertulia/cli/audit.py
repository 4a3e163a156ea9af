"""`tertulia audit`: the audit log of an organization, read and verified in the database itself."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

from tertulia.auth.secrets import AUDIT_LOG
from tertulia.cli.failure import MISUSED, CommandFailed
from tertulia.cli.installation import open_box, open_clusters
from tertulia.errors import NotFound
from tertulia.settings import Settings
from tertulia.storage import audit
from tertulia.storage.audit import AuditFilter, AuditLine, Verified
from tertulia.storage.clusters import Clusters
from tertulia.storage.database.paging import Window
from tertulia.storage.database.units import Database

_NOTED = re.compile(r"(?P<number>\d{1,9}):(?P<digest>[0-9a-f]{64})", re.ASCII)
PAGE = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """The lines that are asked for; a time without a zone is UTC."""

    actor: Sequence[str]
    object_id: Sequence[str]
    action: Sequence[str]
    since: datetime | None

    def to_filter(self) -> AuditFilter:
        """Return the filter of storage."""
        return AuditFilter(
            actor_user_id=self.actor,
            object_id=self.object_id,
            action=self.action,
            since=_in_utc(self.since),
        )


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def list_lines(settings: Settings, org_id: str, asked: Asked, limit: int) -> list[AuditLine]:
    """List the newest lines of a log, `limit` at most. Return them.

    Raises:
        CommandFailed: there is no such organization, or no installation.
    """
    open_box(settings)
    with open_clusters(settings) as clusters:
        return asyncio.run(_list(clusters, org_id, asked.to_filter(), limit))


async def _list(clusters: Clusters, org_id: str, narrow: AuditFilter, limit: int) -> list[AuditLine]:
    database = await _locate(clusters, org_id)
    found: list[AuditLine] = []
    while len(found) < limit:
        window = Window(min(PAGE, limit - len(found)), len(found))
        page = await database.read(audit.list_lines, org_id, sa.true(), narrow, (), window)
        found += page.items
        if not page.has_more:
            break
    return found


def as_text(line: AuditLine) -> str:
    """Write a line for a person: number, time, actor, address, action, object."""
    actor = line.actor_user_id + (f" (key {line.api_key_id})" if line.api_key_id else "")
    what = f"{line.object_kind} {line.object_id}"
    return "\t".join((str(line.number), f"{line.at:%Y-%m-%d %H:%M:%S}", actor, line.address, line.action, what))


def as_json(line: AuditLine) -> str:
    """Write a line as JSON, with its change."""
    return msgspec.json.encode({**asdict(line), "change": msgspec.json.decode(line.change)}).decode()


def verify(settings: Settings, org_id: str, noted: Sequence[str]) -> Verified:
    """Verify a log, which must have the noted lines, each as `NUMBER:DIGEST`. Return the outcome.

    Raises:
        CommandFailed: there is no such organization, no installation, or a note is of another form.
    """
    expected: dict[int, str] = {}
    for note in noted:
        found = _NOTED.fullmatch(note)
        if found is None:
            raise CommandFailed(f"{note!r} is not NUMBER:DIGEST, as `tertulia audit verify` prints it.", MISUSED)
        expected[int(found["number"])] = found["digest"]
    key = open_box(settings).derive(AUDIT_LOG)
    with open_clusters(settings) as clusters:
        return asyncio.run(_verify(clusters, key, org_id, expected))


async def _verify(clusters: Clusters, key: bytes, org_id: str, expected: dict[int, str]) -> Verified:
    database = await _locate(clusters, org_id)
    return await database.read_snapshot(audit.verify, key, org_id, expected)


async def _locate(clusters: Clusters, org_id: str) -> Database:
    try:
        return await clusters.locate(org_id, None)
    except NotFound as error:
        raise CommandFailed(f"There is no organization {org_id}.") from error
