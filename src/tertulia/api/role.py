"""Roles: create, list, change and give them; and what users may do for some time beyond their role."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Annotated, Any, Literal

from fastapi import Depends, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.api.http.deps import CurrentActor, CurrentCaller, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, parse_creator, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.tag_filter import parse_tag_filters
from tertulia.api.http.types import ObjectId, Tags, Text, UserInfo
from tertulia.auth import grants
from tertulia.auth.actor import Actor, confirm_actor
from tertulia.auth.attributes import Attributes, attributes_of
from tertulia.auth.permissions import Permission
from tertulia.auth.tokens import Claims
from tertulia.errors import Forbidden, Unprocessable
from tertulia.ids import new_id
from tertulia.storage import role as roles
from tertulia.storage import temporary_grant as temporary_grants
from tertulia.storage import user as users
from tertulia.storage.database.paging import Sort, Window
from tertulia.storage.role import Role, RoleDocument
from tertulia.storage.temporary_grant import TemporaryGrant, TemporaryGrantFilter

router = contract_router("/role", "Role")

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=3)
"""The times for which a temporary grant can be given."""

_RESERVED = frozenset({".", "..", "temporary_permission_grant", "temporary_permission_grants"})
"""Names that a path cannot have in the place of a role."""


# --- Grants ----------------------------------------------------------------------------------------------------------

Scalar = Annotated[str, StringConstraints(max_length=256)] | bool | int | None


class Equals(BaseModel):
    type: Literal["Equals"] = "Equals"
    value: Scalar


class NotEquals(BaseModel):
    type: Literal["NotEquals"] = "NotEquals"
    value: Scalar


class In(BaseModel):
    type: Literal["In"] = "In"
    values: Annotated[list[Scalar], Field(max_length=500)]


Condition = Annotated[Equals | In | NotEquals, Field(discriminator="type")]
"""A condition on an attribute of the target: it `Equals` a value, `NotEquals` one, or is `In` some."""


class PermissionGrant(BaseModel):
    """A permission, and the conditions under which it is given, by attribute of what it is about."""

    permission_name: Annotated[str, StringConstraints(max_length=256)]
    conditions: Annotated[dict[str, Condition], Field(max_length=20)]

    def to_grant(self, *location: str | int) -> grants.Grant:
        """Check the names and types in a grant that stands at a location of the body. Return it as roles have it.

        Raises:
            Unprocessable: there is no such permission or attribute, or a value is of another type.
        """
        if self.permission_name not in frozenset(Permission):
            text = f"There is no permission {self.permission_name}."
            raise Unprocessable(text, (*location, "permission_name"))
        known = attributes_of(Permission(self.permission_name))
        for name, condition in self.conditions.items():
            _check(known, name, condition, (*location, "conditions", name))
        found = [{"permission_name": self.permission_name, "conditions": self.model_dump()["conditions"]}]
        return grants.parse(found)[0]


def _check(known: Attributes, name: str, condition: Equals | In | NotEquals, location: tuple[str | int, ...]) -> None:
    if name not in known:
        raise Unprocessable(f"There is no attribute {name} here, but: {', '.join(sorted(known))}.", location)
    values = condition.values if isinstance(condition, In) else [condition.value]
    if any(type(value) is not known[name] for value in values):
        wanted = "true or false" if known[name] is bool else "a text"
        raise Unprocessable(f"A value of {name} is {wanted}.", location)


class GivenGrant(BaseModel):
    """A grant as it was given."""

    permission_name: str
    conditions: dict[str, Condition]


Grants = Annotated[list[PermissionGrant], Field(max_length=1000)]


MOST_OF_ONE, MOST_VALUES, MOST_TEMPORARY_VALUES = 100, 5000, 100
"""Grants of one permission in a role, values in all conditions of a role, and of a temporary grant.

A list asks for its rows by all of a caller's grants of one permission at once, and databases take no statement of any
length.
"""


def _stored(given: Sequence[PermissionGrant]) -> list[dict[str, Any]]:
    """Check grants, in the body's `permission_grants`. Return their document."""
    location = ("body", "permission_grants")
    name, number = max(Counter(one.permission_name for one in given).items(), key=itemgetter(1), default=("", 0))
    if number > MOST_OF_ONE:
        raise Unprocessable(
            f"A role has at most {MOST_OF_ONE} grants of one permission, but {name}: {number}.", location
        )
    _refuse_many_values(given, MOST_VALUES, location)
    return grants.dump([one.to_grant("body", "permission_grants", place) for place, one in enumerate(given)])


def _refuse_many_values(given: Sequence[PermissionGrant], most: int, location: tuple[str, ...]) -> None:
    conditions = [condition for one in given for condition in one.conditions.values()]
    number = sum(len(condition.values) if isinstance(condition, In) else 1 for condition in conditions)
    if number > most:
        raise Unprocessable(f"The conditions have {number} values; {most} are the most.", location)


# --- Create ----------------------------------------------------------------------------------------------------------


def _in_a_path(name: str) -> str:
    if "/" in name or name in _RESERVED or not name.isprintable():
        raise ValueError("A role cannot have this name, which has no place in a path.")
    return name


RoleName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256), AfterValidator(_in_a_path)
]
FrontendView = Literal["client", "admin"]


class NewRole(BaseModel):
    role_name: RoleName
    description: Text
    permission_grants: Grants
    frontend_view: FrontendView


class RoleId(BaseModel):
    role_id: str


@router.post(
    "/",
    operation_id="create-role",
    summary="Create a role",
    status_code=201,
    dependencies=[Depends(rate_limit(20))],
)
async def create_role(
    runtime: CurrentRuntime, organization: Organization, actor: CurrentActor, body: NewRole
) -> RoleId:
    """Create a role. Return its identifier.

    A role is compared with the rank of its giver when it is given; one that an identity provider gives is compared now,
    with the caller's, for sign-ins give it without a further check.
    """
    actor.require(Permission.ROLE_CREATE_ROLE, {"org_id": organization.org_id, "role_name": body.role_name})
    document = RoleDocument(body.description, _stored(body.permission_grants), body.frontend_view)
    providers = runtime.identity_providers
    if providers is not None and providers.gives(organization.org_id, body.role_name):
        actor.require_rank_over(
            document.permission_grants,
            "An identity provider gives this role: you can make only one of lower rank than your own.",
        )
    return RoleId(
        role_id=await organization.database.write(roles.insert_role, organization.org_id, body.role_name, document)
    )


# --- List ------------------------------------------------------------------------------------------------------------


class RoleInstance(BaseModel):
    """A role; its grants only if they were asked for."""

    id: str
    name: str
    description: str
    frontend_view: FrontendView
    permission_grants: list[GivenGrant]


class RoleList(BaseModel):
    roles: list[RoleInstance]


@router.get(
    "/",
    operation_id="get_roles_v1__organization__role__get",
    summary="Get roles",
    dependencies=[Depends(rate_limit(20))],
)
async def get_roles(
    organization: Organization,
    actor: CurrentActor,
    return_permission_grants: bool = False,
    id: Annotated[set[ObjectId], Query()] = set(),
    name: Annotated[set[str], Query()] = set(),
) -> RoleList:
    """List the roles that the caller may see, the oldest first."""
    visible = actor.visible(Permission.ROLE_GET_ROLE, roles.COLUMNS)
    found = await organization.database.read(roles.list_roles, organization.org_id, visible, sorted(id), sorted(name))
    return RoleList(roles=[_role(role, role.permission_grants if return_permission_grants else []) for role in found])


def _role(role: Role, permission_grants: object) -> RoleInstance:
    shown = {name: getattr(role, name) for name in ("id", "name", "description", "frontend_view")}
    return RoleInstance.model_validate({**shown, "permission_grants": permission_grants})


# --- Temporary grants, whose paths come before those of roles' names -------------------------------------------------


class NewTemporaryGrant(BaseModel):
    user_id: str
    duration: Annotated[timedelta, Field(ge=SHORTEST, le=LONGEST)]
    permission_grant: PermissionGrant
    tags: Tags
    justification: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=10_000)]


class CreatedTemporaryGrant(BaseModel):
    temporary_permission_grant_id: str
    expires_at: datetime


@router.post(
    "/temporary_permission_grant/",
    operation_id="create-temporary-permission-grant",
    summary="Create a temporary permission grant",
    status_code=201,
    dependencies=[Depends(rate_limit(100))],
)
async def create_temporary_grant(caller: CurrentCaller, body: NewTemporaryGrant) -> CreatedTemporaryGrant:
    """Let a user do something for some time, of what the caller's own role may do under whatever conditions."""
    made = _new_grant(caller.claims, body)
    await caller.act_now(lambda actor: caller.database.write(_give, actor, made))
    return CreatedTemporaryGrant(temporary_permission_grant_id=made.id, expires_at=made.expires_at)


def _new_grant(giver: Claims, body: NewTemporaryGrant) -> TemporaryGrant:
    (stored,) = grants.dump([body.permission_grant.to_grant("body", "permission_grant")])
    _refuse_many_values([body.permission_grant], MOST_TEMPORARY_VALUES, ("body", "permission_grant"))
    now = clock.now()
    return TemporaryGrant(
        id=new_id(),
        org_id=giver.org_id,
        user_id=body.user_id,
        permission_name=stored["permission_name"],
        conditions=stored["conditions"],
        justification=body.justification,
        tags=body.tags,
        creator_org_id=giver.org_id,
        creator_user_id=giver.user_id,
        created_at=now,
        updated_at=now,
        expires_at=now + body.duration,
    )


def _give(connection: Connection, actor: Actor, made: TemporaryGrant) -> str:
    users.lock_user(connection, actor.org_id, made.user_id)
    confirm_actor(connection, actor)
    actor.require(Permission.ROLE_CREATE_TEMPORARY_PERMISSION_GRANT, made.attributes)
    if not actor.has_by_role(made.permission_name):
        raise Forbidden("You can give only a permission that your own role has.")
    temporary_grants.insert_temporary_grant(connection, made)
    return made.id


class TemporaryGrantInstance(BaseModel):
    """A temporary grant, with the contract's `_id`."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    id: Annotated[str, Field(alias="_id")]
    org_id: str
    created_at: datetime
    updated_at: datetime
    user_id: str
    expires_at: datetime
    permission_grant: GivenGrant
    justification: str
    creator: UserInfo
    tags: dict[str, str | None]


class TemporaryGrantPage(PageModel):
    temporary_permission_grants: list[TemporaryGrantInstance]


async def narrowing(
    id: Annotated[set[ObjectId], Query()] = set(),
    user_id: Annotated[set[str], Query()] = set(),
    permission_grant_name: str | None = None,
    is_expired: bool | None = None,
    creator: Annotated[list[str], Query(description="`ORGANIZATION,USER`, each.")] = [],
    tag: Annotated[list[str], Query(description="`key:value`, `key:*` or `key:`; all must match.")] = [],
) -> TemporaryGrantFilter:
    """Read the filters of the list. Return them."""
    return TemporaryGrantFilter(
        id=sorted(id),
        user_id=sorted(user_id),
        permission_name=permission_grant_name,
        is_expired=is_expired,
        creator=[parse_creator(text, index) for index, text in enumerate(creator)],
        tag=parse_tag_filters(tag, "tag"),
    )


@router.get(
    "/temporary_permission_grants/",
    operation_id="get-temporary-permission-grants",
    summary="Get temporary permission grants",
    dependencies=[Depends(rate_limit(100))],
)
async def get_temporary_grants(
    organization: Organization,
    actor: CurrentActor,
    part: Annotated[Window, Depends(window(default=10, most=10, least=0))],
    sort_by: Annotated[Sort, Depends(sorting(*temporary_grants.SORTABLE))],
    narrow: Annotated[TemporaryGrantFilter, Depends(narrowing)],
) -> TemporaryGrantPage:
    """List the temporary grants that the caller may see, the newest first unless sorted otherwise."""
    visible = actor.visible(Permission.ROLE_GET_TEMPORARY_PERMISSION_GRANT, temporary_grants.COLUMNS)
    page = await organization.database.read(
        temporary_grants.list_temporary_grants, organization.org_id, visible, narrow, sort_by, part
    )
    return TemporaryGrantPage.of(page, temporary_permission_grants=[_temporary(found) for found in page.items])


def _temporary(found: TemporaryGrant) -> TemporaryGrantInstance:
    given: Mapping[str, Any] = {"permission_name": found.permission_name, "conditions": found.conditions}
    return TemporaryGrantInstance(
        id=found.id,
        org_id=found.org_id,
        created_at=found.created_at,
        updated_at=found.updated_at,
        user_id=found.user_id,
        expires_at=found.expires_at,
        permission_grant=GivenGrant.model_validate(given),
        justification=found.justification,
        creator=UserInfo(org_id=found.creator_org_id, user_id=found.creator_user_id),
        tags=dict(found.tags),
    )


# --- Modify ----------------------------------------------------------------------------------------------------------


class RoleChanges(BaseModel):
    """Changes of a role. Null changes nothing."""

    description: Text | None = None
    permission_grants: Grants | None = None
    frontend_view: FrontendView | None = None

    def applied_to(self, document: RoleDocument) -> RoleDocument:
        """Return a document with these changes."""
        given = self.model_dump(exclude_none=True, exclude={"permission_grants"})
        if self.permission_grants is not None:
            given["permission_grants"] = _stored(self.permission_grants)
        return replace(document, **given)


@router.post(
    "/{role_name}", operation_id="modify-role", summary="Modify a role", dependencies=[Depends(rate_limit(10))]
)
async def modify_role(caller: CurrentCaller, role_name: str, body: RoleChanges) -> RoleId:
    """Change a role of lower rank. Other grants, or another view, make another role, which all who had the old get."""
    return RoleId(role_id=await caller.act_now(lambda actor: caller.database.write(_modify, actor, role_name, body)))


def _modify(connection: Connection, actor: Actor, name: str, body: RoleChanges) -> str:
    role = roles.lock_role(connection, actor.org_id, name)
    confirm_actor(connection, actor)  # only now: another role may have been given to the caller while we waited
    actor.require(Permission.ROLE_MODIFY_ROLE, role.attributes)
    actor.require_rank_over(role.permission_grants, "You can change only a role of lower rank than your own.")
    changed = body.applied_to(role.document)
    if changed == role.document:
        return role.id
    if replace(changed, description=role.description) == role.document:
        roles.describe_role(connection, role, changed.description)
        return role.id
    actor.require_rank_over(changed.permission_grants, "You can make only a role of lower rank than your own.")
    return roles.replace_role(connection, role, changed)


# --- Assign ----------------------------------------------------------------------------------------------------------


class Assignment(BaseModel):
    user_id: str


@router.post(
    "/{role_name}/assign",
    operation_id="assign-role",
    summary="Assign a role to user",
    dependencies=[Depends(rate_limit(1000))],
)
async def assign_role(caller: CurrentCaller, role_name: str, body: Assignment) -> RoleId:
    """Give a role of lower rank to a user of lower rank, or to oneself."""
    return RoleId(
        role_id=await caller.act_now(lambda actor: caller.database.write(_assign, actor, role_name, body.user_id))
    )


def _assign(connection: Connection, actor: Actor, name: str, user_id: str) -> str:
    role = roles.hold_role(connection, actor.org_id, name)
    user = users.lock_user(connection, actor.org_id, user_id)
    confirm_actor(connection, actor)
    actor.require_rank_over(role.permission_grants, "You can give a user only a role of lower rank than your own.")
    if user.id != actor.user_id:
        former = roles.get_role(connection, actor.org_id, user.role_name)
        actor.require_rank_over(former.permission_grants, "You can give a role only to a user of lower rank.")
    users.give_role(connection, user, role.id)
    return role.id
