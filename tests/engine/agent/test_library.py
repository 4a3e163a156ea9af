"""A process keeps the parsed versions of agents and graphs, up to a number and a size."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from tertulia.engine.agent import library
from tertulia.engine.agent.library import Library


class Store:
    """A database that counts its reads, and has the same body under each name."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self.reads = 0

    async def read(self, _unit: Any, *_args: Any) -> Any:
        self.reads += 1
        return self._body


class Parsed:
    """A graph without references, as large as its body."""

    references: Mapping[str, tuple[str, int]] = MappingProxyType({})

    @classmethod
    def model_validate(cls, _body: Any) -> "Parsed":
        return cls()


@pytest.mark.parametrize(("size", "kept"), [(10, 3), (400, 2), (2000, 0)])
async def test_large_graphs_are_kept_in_smaller_numbers(monkeypatch: pytest.MonkeyPatch, size: int, kept: int) -> None:
    monkeypatch.setattr(library, "CACHED_BYTES", 1000)
    monkeypatch.setattr(library, "ContextGraph", Parsed)
    database: Any = Store("x" * size)
    shelves = Library()
    versions = [("a", 1), ("b", 1), ("c", 1)]
    for version in versions:
        await shelves.graphs(database, version)
    for version in reversed(versions):  # the last used first, so that no read makes room for the next
        await shelves.graphs(database, version)
    assert database.reads == 3 + (3 - kept)
