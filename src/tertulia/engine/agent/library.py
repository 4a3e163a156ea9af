"""Agents and context graphs, parsed once for each version, and dynamic behaviours, once for each revision."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from tertulia.engine.agent import behaviors
from tertulia.engine.agent.scene import Agent, Behavior
from tertulia.engine.graph.context_graph import ContextGraph, Graphs
from tertulia.events import VersionInfo
from tertulia.storage import library as stored
from tertulia.storage.behavior import list_active
from tertulia.storage.database.units import Database

T = TypeVar("T")

CACHED_VERSIONS = 1000
CACHED_BYTES = 16 << 20
"""The bytes of the bodies, as JSON, whose parsed forms are kept of each kind; these are several times as large."""


class Library:
    """The agents, graphs and behaviours that a process has read."""

    def __init__(self) -> None:
        self._agents = _Shelf(Agent.model_validate)
        self._graphs = _Shelf(ContextGraph.model_validate)
        self._behaviors = _Shelf(behaviors.parse)

    async def agent(self, database: Database, version: VersionInfo) -> Agent:
        """Read a version of an agent. Return it. Raises NotFound."""
        agent = self._agents.find(version)
        if agent is None:
            agent = self._agents.put(version, await database.read(stored.get_agent_body, version))
        return agent

    async def graphs(self, database: Database, version: VersionInfo) -> Graphs:
        """Read a version of a context graph, and every version that it refers to. Return them all. Raises NotFound."""
        found: dict[VersionInfo, ContextGraph] = {}
        wanted = [version]
        while wanted:
            key = wanted.pop()
            if key in found:
                continue
            graph = self._graphs.find(key)
            if graph is None:
                graph = self._graphs.put(key, await database.read(stored.get_context_graph_body, key))
            found[key] = graph
            wanted.extend(graph.references.values())
        return found

    async def behaviors(self, database: Database, service_id: str, revision: int) -> Sequence[Behavior]:
        """Read the dynamic behaviours of a service, whose changes `revision` counts. Return those that are active."""
        if revision == 0:  # there never were any
            return ()
        key = (service_id, revision)
        known = self._behaviors.find(key)
        return self._behaviors.put(key, await database.read(list_active, service_id)) if known is None else known


class _Shelf(Generic[T]):
    """A cache that is bounded in items and in the size of their bodies; the least recently used leaves first."""

    def __init__(self, parse: Callable[[Any], T]) -> None:
        self._parse = parse
        self._items: OrderedDict[VersionInfo, tuple[T, int]] = OrderedDict()
        self._size = 0

    def find(self, version: VersionInfo) -> T | None:
        found = self._items.get(version)
        if found is None:
            return None
        self._items.move_to_end(version)
        return found[0]

    def put(self, version: VersionInfo, body: Any) -> T:
        """Parse a body and keep the result. Return it; one that is too large to be kept is returned all the same."""
        item, size = self._parse(body), len(msgspec.json.encode(body))
        self._take(version)
        self._items[version] = item, size
        self._size += size
        while self._size > CACHED_BYTES or len(self._items) > CACHED_VERSIONS:
            self._take(next(iter(self._items)))
        return item

    def _take(self, version: VersionInfo) -> None:
        _item, size = self._items.pop(version, (None, 0))
        self._size -= size
