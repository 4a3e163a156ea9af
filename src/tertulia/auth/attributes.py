"""The attributes that conditions of grants can name, for each permission: those of what the permission is about.

docs/guide/users-and-permissions.md lists them. A condition on another attribute would never hold.
"""

from collections.abc import Mapping

from tertulia.auth.permissions import Permission

Attributes = Mapping[str, type]
"""The names of attributes, and the types of their values."""

_ANYTHING: Attributes = {"org_id": str}
_CONVERSATION: Attributes = {
    **_ANYTHING,
    "conversation_id": str,
    "conversation_user_id": str,
    "service_id": str,
    "conversations_visible_to_admins": bool,
}
_MESSAGE: Attributes = {**_CONVERSATION, "message_type": str}
_USER: Attributes = {**_ANYTHING, "user_id": str, "user_role_name": str, "user_model_visible_to_admins": bool}
_SERVICE: Attributes = {**_ANYTHING, "service_id": str}
_VERSION_SET: Attributes = {**_SERVICE, "version_set_name": str}
_AGENT: Attributes = {**_ANYTHING, "agent_id": str}
_GRAPH: Attributes = {**_ANYTHING, "service_hierarchical_state_machine_id": str}
_BEHAVIOR: Attributes = {**_ANYTHING, "dynamic_behavior_set_id": str}
_TOOL: Attributes = {**_ANYTHING, "tool_id": str}
_API_KEY: Attributes = {**_ANYTHING, "api_key_id": str, "role_name": str}
_ROLE: Attributes = {**_ANYTHING, "role_name": str}
_TEMPORARY_GRANT: Attributes = {**_ANYTHING, "user_id": str, "permission_name": str}

_OF_RESOURCES: Mapping[str, Attributes] = {
    "Conversation": _CONVERSATION,
    "DynamicBehaviorInstruction": _BEHAVIOR,
    "Role": _ROLE,
    "Service": _SERVICE,
    "Tool": _TOOL,
    "User": _USER,
}
_OF_ACTS: Mapping[str, Attributes] = {
    "Message": _MESSAGE,
    "VersionSet": _VERSION_SET,
    "Agent": _AGENT,
    "ServiceHierarchicalStateMachine": _GRAPH,
    "APIKey": _API_KEY,
    "TemporaryPermissionGrant": _TEMPORARY_GRANT,
}


def attributes_of(permission: Permission) -> Attributes:
    """Look up what the conditions of a grant of a permission can name. Return the attributes with their types."""
    resource, _, act = permission.value.partition(":")
    thing = act.removesuffix("Version")
    named = next((found for name, found in _OF_ACTS.items() if thing.endswith(name)), None)
    return named or _OF_RESOURCES.get(resource, _ANYTHING)
