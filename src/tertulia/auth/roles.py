"""The four roles that every organization has, each with all that the one before it may do, and more.

All of them act in their own organization alone, but that the highest makes new ones. Of other people's conversations
and user models, administrators see those that are left visible to administrators.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from tertulia.auth.grants import SELF_ORG_ID, SELF_USER_ID, Condition, Equals, Grant, dump
from tertulia.auth.permissions import Permission
from tertulia.storage.role import RoleDocument, put_role

USER = "DefaultUserRole"
ADMINISTRATOR = "DefaultAdministratorRole"
AMIGO_ADMINISTRATOR = "DefaultAmigoAdministratorRole"
SUPER_ADMINISTRATOR = "DefaultSuperAdministratorRole"


@dataclass(frozen=True, slots=True)
class BuiltinRole:
    """A role that every organization has."""

    name: str
    description: str
    frontend_view: str
    grants: tuple[Grant, ...]


def _allow(permissions: Iterable[Permission], **conditions: Condition) -> tuple[Grant, ...]:
    """Make grants in the caller's own organization, under these conditions. Return one for each permission."""
    return tuple(Grant(permission.value, {"org_id": Equals(SELF_ORG_ID), **conditions}) for permission in permissions)


_CONVERSATION = (
    Permission.CONVERSATION_FINISH_CONVERSATION,
    Permission.CONVERSATION_GET_CONVERSATION,
    Permission.CONVERSATION_GET_MESSAGE,
    Permission.CONVERSATION_GET_RECOMMENDED_RESPONSES,
    Permission.CONVERSATION_INTERACT_WITH_CONVERSATION,
    Permission.CONVERSATION_MODIFY_CONVERSATION,
)

_USER = (
    *_allow((Permission.CONVERSATION_CREATE_CONVERSATION, *_CONVERSATION), conversation_user_id=Equals(SELF_USER_ID)),
    *_allow((Permission.SERVICE_GET_SERVICE, Permission.SERVICE_GET_VERSION_SET)),
    *_allow(
        (Permission.USER_GET_USER_INFO, Permission.USER_GET_USER_MODEL, Permission.USER_UPDATE_USER_INFO),
        user_id=Equals(SELF_USER_ID),
    ),
)

_INSIDE = (Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, Permission.CONVERSATION_SHARE_CONVERSATION)

_ADMINISTRATOR = (
    *_USER,
    *_allow(_INSIDE, conversation_user_id=Equals(SELF_USER_ID)),
    *_allow(
        (*_CONVERSATION, *_INSIDE),
        conversations_visible_to_admins=Equals(value=True),
    ),
    *_allow(
        (
            Permission.ADMIN_GET_MODELS,
            Permission.DYNAMIC_BEHAVIOR_CREATE,
            Permission.DYNAMIC_BEHAVIOR_DELETE,
            Permission.DYNAMIC_BEHAVIOR_GET,
            Permission.DYNAMIC_BEHAVIOR_UPDATE,
            Permission.ORGANIZATION_CREATE_AGENT,
            Permission.ORGANIZATION_CREATE_AGENT_VERSION,
            Permission.ORGANIZATION_CREATE_SERVICE_HIERARCHICAL_STATE_MACHINE,
            Permission.ORGANIZATION_CREATE_SERVICE_HIERARCHICAL_STATE_MACHINE_VERSION,
            Permission.ORGANIZATION_DELETE_AGENT,
            Permission.ORGANIZATION_DELETE_SERVICE_HIERARCHICAL_STATE_MACHINE,
            Permission.ORGANIZATION_GET_AGENT,
            Permission.ORGANIZATION_GET_AUDIT_LOG,
            Permission.ORGANIZATION_GET_ORGANIZATION_DETAILS,
            Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE,
            Permission.ORGANIZATION_MODIFY_ORGANIZATION,
            Permission.ROLE_CREATE_ROLE,
            Permission.ROLE_GET_ROLE,
            Permission.ROLE_MODIFY_ROLE,
            Permission.SERVICE_CREATE_SERVICE,
            Permission.SERVICE_CREATE_VERSION_SET,
            Permission.SERVICE_DELETE_VERSION_SET,
            Permission.SERVICE_UPDATE_SERVICE,
            Permission.SERVICE_UPDATE_VERSION_SET,
            Permission.TOOL_CREATE_TOOL,
            Permission.TOOL_DELETE_TOOL,
            Permission.TOOL_INVOKE_TOOL,
            Permission.TOOL_MODIFY_TOOL,
            Permission.USER_DELETE_USER,
            Permission.USER_GET_USER_INFO,
            Permission.USER_INVITE_USER,
            Permission.USER_UPDATE_USER_INFO,
        )
    ),
    *_allow((Permission.USER_GET_USER_MODEL,), user_model_visible_to_admins=Equals(value=True)),
)

_AMIGO_ADMINISTRATOR = (
    *_ADMINISTRATOR,
    *_allow(
        (
            Permission.ORGANIZATION_CREATE_API_KEY,
            Permission.ORGANIZATION_DELETE_API_KEY,
            Permission.ORGANIZATION_GET_API_KEY,
            Permission.ROLE_CREATE_TEMPORARY_PERMISSION_GRANT,
            Permission.ROLE_GET_TEMPORARY_PERMISSION_GRANT,
            Permission.USER_EXPORT_USER,
        )
    ),
)

_SUPER_ADMINISTRATOR = (
    *_AMIGO_ADMINISTRATOR,
    *_allow((Permission.ORGANIZATION_DELETE_ORGANIZATION,)),
    Grant(Permission.ORGANIZATION_CREATE_ORGANIZATION.value),  # what is to be made is not their own yet
)

BUILTIN = (
    BuiltinRole(USER, "Talks with agents and sees what is their own.", "client", _USER),
    BuiltinRole(ADMINISTRATOR, "Runs an organization: its agents, services and users.", "admin", _ADMINISTRATOR),
    BuiltinRole(
        AMIGO_ADMINISTRATOR, "An administrator who also hands out API keys and grants.", "admin", _AMIGO_ADMINISTRATOR
    ),
    BuiltinRole(SUPER_ADMINISTRATOR, "Everything, the organization itself included.", "admin", _SUPER_ADMINISTRATOR),
)
"""Lowest first."""


def insert_builtin(connection: Connection, org_id: str) -> dict[str, str]:
    """Give an organization its built-in roles, or bring them up to date. Return their ids by name."""
    return {builtin.name: put_role(connection, org_id, builtin.name, _document(builtin)) for builtin in BUILTIN}


def _document(builtin: BuiltinRole) -> RoleDocument:
    return RoleDocument(builtin.description, dump(builtin.grants), builtin.frontend_view)
