"""Rows: values with attributes that `decide` and `visible` agree on, and nothing else that leaves storage."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import tertulia
from tertulia.auth.attributes import attributes_of
from tertulia.auth.permissions import Permission
from tertulia.storage import (
    agent,
    api_key,
    behavior,
    context_graph,
    conversation,
    message,
    role,
    service,
    temporary_grant,
    tool,
    trace,
    user,
)
from tertulia.storage.turn.values import Opening

PACKAGE = Path(tertulia.__file__).parent
VECTORS = PACKAGE / "providers" / "embeddings" / "kept.py"
"""Keeps a file of its own beside the databases; none of its rows leaves it."""
STORAGE = PACKAGE / "storage"
RAW = {"Record", "Row", "RowMapping"}
"""Rows that name their columns by strings."""

Columns = Mapping[str, Any]


def filled(row: type) -> Any:
    """A row whose fields hold their own names, or such rows."""
    hints = get_type_hints(row)
    return row(**{field.name: _filling(hints[field.name], field.name) for field in fields(row)})


def _filling(kind: Any, name: str) -> Any:
    return filled(kind) if isinstance(kind, type) and is_dataclass(kind) else name


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (agent.Agent, agent.COLUMNS),
        (api_key.ListedKey, api_key.COLUMNS),
        (behavior.BehaviorSet, behavior.COLUMNS),
        (context_graph.ContextGraph, context_graph.COLUMNS),
        (conversation.Conversation, conversation.COLUMNS),
        (conversation.ListedConversation, conversation.COLUMNS),
        (conversation.Owner, user.COLUMNS),
        (role.Role, role.COLUMNS),
        (service.Service, service.COLUMNS),
        (temporary_grant.TemporaryGrant, temporary_grant.COLUMNS),
        (tool.Tool, tool.COLUMNS),
        (trace.StoredTrace, conversation.COLUMNS),
        (user.User, user.COLUMNS),
    ],
)
def test_the_attributes_of_a_row_are_those_of_its_list(row: type, columns: Columns) -> None:
    assert filled(row).attributes.keys() == columns.keys()


@pytest.mark.parametrize(
    ("permission", "columns"),
    [
        (Permission.CONVERSATION_GET_CONVERSATION, conversation.COLUMNS),
        (Permission.CONVERSATION_GET_MESSAGE, message.COLUMNS),
        (Permission.DYNAMIC_BEHAVIOR_GET, behavior.COLUMNS),
        (Permission.ORGANIZATION_GET_AGENT, agent.COLUMNS),
        (Permission.ORGANIZATION_GET_API_KEY, api_key.COLUMNS),
        (Permission.ORGANIZATION_CREATE_AGENT_VERSION, agent.COLUMNS),
        (Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE, context_graph.COLUMNS),
        (Permission.ROLE_GET_ROLE, role.COLUMNS),
        (Permission.ROLE_GET_TEMPORARY_PERMISSION_GRANT, temporary_grant.COLUMNS),
        (Permission.SERVICE_GET_SERVICE, service.COLUMNS),
        (Permission.TOOL_INVOKE_TOOL, tool.COLUMNS),
        (Permission.USER_GET_USER_INFO, user.COLUMNS),
    ],
)
def test_conditions_can_name_the_attributes_of_what_their_permission_is_about(
    permission: Permission, columns: Columns
) -> None:
    assert {name: column.type.python_type for name, column in columns.items()} == attributes_of(permission)


def test_the_attributes_of_a_message_are_those_of_its_list() -> None:
    said_in = filled(conversation.Conversation)

    assert message.attributes(said_in, "user-message").keys() == message.COLUMNS.keys()


def test_a_conversation_that_is_about_to_begin_lacks_its_identifier_alone() -> None:
    opening = Opening("org", "user", "service", "release", {}, is_test=False)

    assert {*opening.attributes, "conversation_id"} == conversation.COLUMNS.keys()


def test_no_row_that_names_its_columns_by_strings_leaves_storage() -> None:
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if path != VECTORS]

    assert [f"{path.relative_to(PACKAGE)}:{line}" for path in paths for line in raw_rows(path)] == []


def raw_rows(path: Path) -> Iterator[int]:
    """Lines that name the class of such a row; outside storage, also those that make one."""
    outside = STORAGE not in path.parents
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Name(id=name) if name in RAW:
                yield node.lineno
            case ast.ImportFrom(names=names) if any(alias.name in RAW for alias in names):
                yield node.lineno
            case ast.Attribute(attr="execute" | "mappings") if outside:
                yield node.lineno
            case _:
                pass
