"""The audit log: read it, and verify that nothing of it was removed or altered."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Query
from pydantic import AwareDatetime, BaseModel

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import MAX_INTEGER
from tertulia.auth.permissions import Permission
from tertulia.storage import audit
from tertulia.storage.audit import AuditFilter, AuditLine
from tertulia.storage.database.paging import Sort, Window

router = contract_router("/audit", "Audit")


class AuditActor(BaseModel):
    """The user who has done something; with an API key, the key that they had signed in with."""

    org_id: str
    user_id: str
    api_key_id: str | None


class AuditObject(BaseModel):
    """The thing that something was done to."""

    kind: str
    id: str


class AuditInstance(BaseModel):
    """A line of the log. `change` has what was asked, and the fields that changed, before and after, without secrets.

    `digest` covers the line and the digest before it. Of an erased person nothing is left in a line but that it was
    there.
    """

    number: int
    at: datetime
    actor: AuditActor
    action: str
    object: AuditObject
    address: str
    request_id: str
    change: dict[str, Any]
    is_erased: bool
    digest: str


class AuditPage(PageModel):
    audit_lines: list[AuditInstance]


async def narrowing(
    number: Annotated[set[Annotated[int, Query(ge=0, le=MAX_INTEGER)]], Query()] = set(),
    actor_user_id: Annotated[set[str], Query()] = set(),
    object_kind: Annotated[set[str], Query()] = set(),
    object_id: Annotated[set[str], Query()] = set(),
    action: Annotated[set[str], Query(description="Operations, by their identifiers in the OpenAPI document.")] = set(),
    since: Annotated[AwareDatetime | None, Query(description="The earliest time, included.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="The latest time, left out.")] = None,
) -> AuditFilter:
    """Read the filters of the list. Return them."""
    return AuditFilter(
        number=sorted(number),
        actor_user_id=sorted(actor_user_id),
        object_kind=sorted(object_kind),
        object_id=sorted(object_id),
        action=sorted(action),
        since=since,
        until=until,
    )


@router.get("/", operation_id="get-audit-log", summary="Get the audit log", dependencies=[Depends(rate_limit(60))])
async def get_audit_log(
    organization: Organization,
    actor: CurrentActor,
    part: Annotated[Window, Depends(window(default=50, most=100))],
    sort_by: Annotated[Sort, Depends(sorting(*audit.SORTABLE))],
    narrow: Annotated[AuditFilter, Depends(narrowing)],
) -> AuditPage:
    """List the lines of the audit log that the caller may see, the newest first unless sorted otherwise."""
    visible = actor.visible(Permission.ORGANIZATION_GET_AUDIT_LOG, audit.COLUMNS)
    page = await organization.database.read(audit.list_lines, organization.org_id, visible, narrow, sort_by, part)
    return AuditPage.of(page, audit_lines=[_instance(line) for line in page.items])


def _instance(line: AuditLine) -> AuditInstance:
    return AuditInstance(
        number=line.number,
        at=line.at,
        actor=AuditActor(org_id=line.actor_org_id, user_id=line.actor_user_id, api_key_id=line.api_key_id or None),
        action=line.action,
        object=AuditObject(kind=line.object_kind, id=line.object_id),
        address=line.address,
        request_id=line.request_id,
        change=msgspec.json.decode(line.change),
        is_erased=line.erased_digest is not None,
        digest=line.digest,
    )


class Verification(BaseModel):
    """The outcome of a verification: the lines that are kept, and how many of them an erasure has taken out.

    `number` and `digest` are those of the last line: whoever notes them sees later that the log was not cut off.
    """

    lines: int
    erased: int
    number: int
    digest: str
    problems: list[str]


@router.get(
    "/verification",
    operation_id="verify-audit-log",
    summary="Verify the audit log",
    dependencies=[Depends(rate_limit(5))],
)
async def verify_audit_log(runtime: CurrentRuntime, organization: Organization, actor: CurrentActor) -> Verification:
    """Follow the chain of digests through the whole log. Return what is wrong, if anything."""
    actor.require(Permission.ORGANIZATION_GET_AUDIT_LOG, organization.attributes)
    async with runtime.searches.place((actor.org_id, actor.user_id)):
        found = await organization.database.read_snapshot(audit.verify, runtime.audit_key, organization.org_id, {})
    return Verification(
        lines=found.lines,
        erased=found.erased,
        number=found.number,
        digest=found.digest,
        problems=list(found.problems),
    )
