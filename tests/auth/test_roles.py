"""The four built-in roles."""

from itertools import pairwise

from tertulia.auth import roles
from tertulia.auth.actor import Actor
from tertulia.auth.grants import outranks
from tertulia.auth.permissions import Permission

USER, ADMINISTRATOR, *_ = roles.BUILTIN


def actor(role: roles.BuiltinRole, user_id: str = "me") -> Actor:
    return Actor("demo", user_id, "role", role.name, role.grants)


def conversation_of(user_id: str, *, shown: bool = True, org_id: str = "demo") -> dict[str, object]:
    return {"org_id": org_id, "conversation_user_id": user_id, "conversations_visible_to_admins": shown}


def test_each_role_outranks_the_one_before_it() -> None:
    for lower, higher in pairwise(roles.BUILTIN):
        assert outranks(higher.grants, lower.grants)
        assert not outranks(lower.grants, higher.grants)


def test_no_role_reaches_into_another_organization() -> None:
    for role in roles.BUILTIN:
        for permission in set(Permission) - {Permission.ORGANIZATION_CREATE_ORGANIZATION}:
            assert not actor(role).may(permission, {**conversation_of("me", org_id="other"), "user_id": "me"})


def test_every_permission_belongs_to_the_highest_role() -> None:
    assert {grant.permission_name for grant in roles.BUILTIN[-1].grants} == {item.value for item in Permission}


def test_permissions_are_in_the_order_of_the_alphabet() -> None:
    names = [item.name for item in Permission]

    assert names == sorted(names)


def test_a_user_sees_their_own_conversations_only() -> None:
    assert actor(USER).may(Permission.CONVERSATION_GET_CONVERSATION, conversation_of("me"))
    assert not actor(USER).may(Permission.CONVERSATION_GET_CONVERSATION, conversation_of("them"))


def test_an_administrator_sees_what_others_leave_visible_and_all_of_their_own() -> None:
    administrator = actor(ADMINISTRATOR)

    assert administrator.may(Permission.CONVERSATION_GET_MESSAGE, conversation_of("them"))
    assert not administrator.may(Permission.CONVERSATION_GET_MESSAGE, conversation_of("them", shown=False))
    assert administrator.may(Permission.CONVERSATION_GET_MESSAGE, conversation_of("me", shown=False))


def test_nobody_creates_conversations_for_others() -> None:
    for role in roles.BUILTIN:
        assert not actor(role).may(Permission.CONVERSATION_CREATE_CONVERSATION, conversation_of("them"))
