"""The grants of a role: each a permission, and conditions that its target must meet.

A grant holds for a target when every condition does; a permission is given when one of its grants holds. There is no
other way to get one. The three kinds of condition are one thing, a set of values that an attribute must be in or must
not be in, and every question to grants comes from it: `decide` for one target, `visible` for the rows of a query,
`outranks` for two roles. An attribute that the target lacks, or that is null, meets no condition, and no value equals
one of another type.

Values may be templates: `{self_org_id}` and `{self_user_id}` stand for the caller's own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import ColumnElement

SELF_ORG_ID = "{self_org_id}"
SELF_USER_ID = "{self_user_id}"
TEMPLATES = frozenset({SELF_ORG_ID, SELF_USER_ID})

Caller = Mapping[str, str]
"""The values of the templates."""


class Equals(msgspec.Struct, frozen=True, tag_field="type", tag="Equals"):
    value: Any


class NotEquals(msgspec.Struct, frozen=True, tag_field="type", tag="NotEquals"):
    value: Any


class In(msgspec.Struct, frozen=True, tag_field="type", tag="In"):
    values: tuple[Any, ...]


Condition = Equals | NotEquals | In


class Grant(msgspec.Struct, frozen=True):
    """A permission, and its conditions by attribute of the target."""

    permission_name: str
    conditions: dict[str, Condition] = {}


Grants = Sequence[Grant]

# msgspec learns a class at its first use; threads that do so at once can end the process.
msgspec.json.Decoder(list[Grant])


class RoleGrants(tuple[Grant, ...]):
    """Grants that are found by permission without a search."""

    by_permission: dict[str, list[Grant]]

    def __new__(cls, grants: Iterable[Grant]) -> "RoleGrants":
        made = super().__new__(cls, grants)
        made.by_permission = {}
        for grant in made:
            made.by_permission.setdefault(grant.permission_name, []).append(grant)
        return made


def parse(stored: object) -> RoleGrants:
    """Read the grants of a role's document. Return them."""
    return RoleGrants(msgspec.convert(stored, list[Grant]))


def dump(grants: Grants) -> list[dict[str, Any]]:
    """Write grants for a role's document. Return plain values."""
    return msgspec.to_builtins(grants)


def decide(grants: Grants, permission: str, target: Mapping[str, object], caller: Caller) -> bool:
    """Return whether the grants give a permission on a target with these attributes."""
    return any(
        all(_holds(condition, target.get(name), caller) for name, condition in grant.conditions.items())
        for grant in _of(grants, permission)
    )


def decide_many(grants: Grants, permission: str, caller: Caller) -> Callable[[Mapping[str, object]], bool]:
    """Prepare `decide` for many targets. Return it: conditions are read and filled once, and not for each target."""
    held = [
        [(name, *_prepared(condition, caller)) for name, condition in grant.conditions.items()]
        for grant in _of(grants, permission)
    ]

    def decide_one(target: Mapping[str, object]) -> bool:
        for conditions in held:
            for name, wanted, values in conditions:
                if not _is_met(wanted, values, target.get(name)):
                    break
            else:
                return True
        return False

    return decide_one


def visible(
    grants: Grants, permission: str, columns: Mapping[str, ColumnElement[Any]], caller: Caller
) -> ColumnElement[bool]:
    """Write a condition for the rows of which `decide` is true. Return it; `columns` are the attributes of a row."""
    return sa.or_(
        sa.false(),
        *(
            sa.and_(
                sa.true(), *(_clause(condition, columns.get(name), caller) for name, condition in conditions.items())
            )
            for conditions in (grant.conditions for grant in _of(grants, permission))
        ),
    )


def is_own_only(grants: Grants, permission: str, attribute: str) -> bool:
    """Return True if the grants give a permission on nothing but what is the caller's own by an attribute."""
    own = Equals(SELF_USER_ID)
    return all(grant.conditions.get(attribute) == own for grant in _of(grants, permission))


def outranks(above: Grants, below: Grants) -> bool:
    """Return whether one role may do all that the other may, and more."""
    return _covers(above, below) and not _covers(below, above)


def within(grants: Grants, org_id: str) -> RoleGrants:
    """Work out the meaning of grants for what an organization has, as its own users have them. Return such grants.

    Conditions on the organization that are met are left out, and so are grants whose conditions on it are not. Roles of
    one organization are compared as this has them: callers reach nothing of another one, but that they make new ones.
    """
    home = {SELF_ORG_ID: org_id}
    found: list[Grant] = []
    for grant in grants:
        condition = grant.conditions.get(_ORGANIZATION)
        if condition is None or grant.permission_name in _BEYOND:
            found.append(grant)
        elif _holds(condition, org_id, home):
            others = {name: other for name, other in grant.conditions.items() if name != _ORGANIZATION}
            found.append(Grant(grant.permission_name, others))
    return RoleGrants(found)


_ORGANIZATION = "org_id"
_BEYOND = frozenset({"Organization:CreateOrganization"})
"""Permissions on another organization than the caller's own: conditions on it are part of what they give."""


def _of(grants: Grants, permission: str) -> Iterable[Grant]:
    if isinstance(grants, RoleGrants):
        return grants.by_permission.get(permission, ())
    return (grant for grant in grants if grant.permission_name == permission)


def _values(condition: Condition) -> tuple[bool, tuple[Any, ...]]:
    """Read the table of conditions. Return whether the attribute must be in the values or not, and the values."""
    match condition:
        case Equals(value):
            return True, (value,)
        case NotEquals(value):
            return False, (value,)
        case In(values):
            return True, values


def _holds(condition: Condition, actual: object, caller: Caller) -> bool:
    return _is_met(*_prepared(condition, caller), actual)


def _is_met(wanted: bool, values: list[tuple[type, Any]], actual: object) -> bool:
    """Compare an attribute with a condition that `_prepared` has read. Return True if the attribute meets it."""
    return actual is not None and ((type(actual), actual) in values) is wanted


def _prepared(condition: Condition, caller: Caller) -> tuple[bool, list[tuple[type, Any]]]:
    """Read and fill a condition. Return whether the attribute must be in the values or not, and those with types."""
    wanted, values = _values(condition)
    return wanted, [(type(value), value) for value in _filled(values, caller)]


def _clause(condition: Condition, column: ColumnElement[Any] | None, caller: Caller) -> ColumnElement[bool]:
    if column is None:
        return sa.false()
    wanted, values = _values(condition)
    comparable = [value for value in _filled(values, caller) if type(value) is column.type.python_type]
    return column.in_(comparable) if wanted else sa.and_(column.is_not(None), column.not_in(comparable))


def _covers(above: Grants, below: Grants) -> bool:
    """Return whether each grant below follows from a single grant above; whether from several is not tried."""
    return all(any(_follows(narrow, wide) for wide in _of(above, narrow.permission_name)) for narrow in below)


def _follows(narrow: Grant, wide: Grant) -> bool:
    return all(
        name in narrow.conditions and _implies(narrow.conditions[name], condition)
        for name, condition in wide.conditions.items()
    )


def _implies(narrow: Condition, wide: Condition) -> bool:
    narrow_wanted, some = _values(narrow)
    wide_wanted, others = _values(wide)
    if narrow_wanted and wide_wanted:
        return _subset(some, others)
    if not narrow_wanted and not wide_wanted:
        return _subset(others, some)
    # "Is one of these" implies "is none of those" when they share nothing; what a template stands for is not known.
    return narrow_wanted and not _has_template(some, others) and _typed(some).isdisjoint(_typed(others))


def _has_template(*groups: Sequence[Any]) -> bool:
    return any(_contains(group, template) for group in groups for template in TEMPLATES)


def _subset(some: Sequence[Any], others: Sequence[Any]) -> bool:
    return _typed(some) <= _typed(others)


def _typed(values: Iterable[Any]) -> set[tuple[type, Any]]:
    return {(type(value), value) for value in values}


def _contains(values: Iterable[Any], wanted: object) -> bool:
    return any(type(value) is type(wanted) and value == wanted for value in values)


def _filled(values: Sequence[Any], caller: Caller) -> list[Any]:
    return [caller.get(value, value) if isinstance(value, str) else value for value in values]
