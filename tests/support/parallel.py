"""Plugin for pytest: the databases of a test, and how workers of pytest-xdist share the tests.

A test runs on SQLite unless it, or its module, is marked `both_databases`: that is for storage and for turns, and not
for what HTTP alone decides. A worker takes one file at a time, on one database: its tests share a server. A test that
is long enough for several workers is marked `in_parts`.
"""

import re
from collections import Counter
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling, Scheduling

KINDS = ("sqlite", "postgres")
PARTS = 4
in_parts = pytest.mark.parametrize("part", range(PARTS), ids=[f"part{number}" for number in range(PARTS)])
"""Runs a long test once for each of its parts, by as many workers as there are."""

_APART = re.compile(r"\b(sqlite|postgres|part\d+)\b(?=[^\[]*\]$)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each database that it is for."""
    if "database_kind" in metafunc.fixturenames and not _is_given(metafunc.definition, "database_kind"):
        both = metafunc.definition.get_closest_marker("both_databases")
        metafunc.parametrize("database_kind", KINDS if both else KINDS[:1], indirect=True, scope="module")


def _is_given(test: pytest.Function, name: str) -> bool:
    return any(mark.args[0] == name for mark in test.iter_markers("parametrize"))


def unit_of(nodeid: str) -> tuple[str, ...]:
    """Name what one worker does in one go: a file on a database, or a part of it."""
    return nodeid.partition("::")[0], *sorted(_APART.findall(nodeid))


class ByUnit(LoadFileScheduling):
    """Gives a worker one unit after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return " ".join(unit_of(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Replace `--dist loadfile`; any other distribution is left as it was asked for."""
    return ByUnit(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers begin with the longest units, so that none has a long one left while the others are idle."""
    if not hasattr(config, "workerinput"):
        return
    lengths = Counter(unit_of(item.nodeid) for item in items)
    items.sort(key=lambda item: (len(unit_of(item.nodeid)) < 3, -lengths[unit_of(item.nodeid)], item.nodeid))
