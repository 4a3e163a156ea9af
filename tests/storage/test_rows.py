"""Rows: values with attributes that `decide` and `visible` agree on, and nothing else that leaves storage."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import tertulia
from tertulia.storage import agent, context_graph, service, user

PACKAGE = Path(tertulia.__file__).parent
STORAGE = PACKAGE / "storage"

ATTRIBUTED = [
    (agent.Agent, agent.COLUMNS),
    (context_graph.ContextGraph, context_graph.COLUMNS),
    (service.Service, service.COLUMNS),
    (user.User, user.COLUMNS),
]
"""Rows that permissions are asked about, and the columns that lists of them are filtered by."""

RAW = {"Record", "RowMapping"}
"""Rows that name their columns by strings."""


def filled(row: type) -> Any:
    """A row whose fields hold their own names."""
    assert is_dataclass(row)
    return row(**{field.name: field.name for field in fields(row)})


@pytest.mark.parametrize(("row", "columns"), ATTRIBUTED)
def test_the_attributes_of_a_row_are_those_of_its_list(row: type, columns: dict[str, Any]) -> None:
    assert filled(row).attributes.keys() == columns.keys()


def test_no_row_is_read_by_the_names_of_its_columns() -> None:
    found = [f"{path.relative_to(PACKAGE)}:{line}" for path in typed() for line in raw_rows(path)]

    assert found == []


def typed() -> list[Path]:
    """The modules that have typed rows: all but those of turns and conversations, whose rows come next."""
    others = re.compile("conversation|engine/turns|storage/(turn/|message|database/paging)")
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not others.search(str(path.relative_to(PACKAGE)))]


def raw_rows(path: Path) -> Iterator[int]:
    """Lines that name a raw row, or make one."""
    for node in ast.walk(ast.parse(path.read_text())):
        named = isinstance(node, ast.Name) and node.id in RAW
        imported = isinstance(node, ast.ImportFrom) and any(alias.name in RAW for alias in node.names)
        made = isinstance(node, ast.Attribute) and node.attr == "mappings"
        if named or imported or made:
            yield node.lineno
