"""The silent part of a context graph: its states that say nothing, and the ways between them.

A turn passes silent states until an action state speaks. A way may lead through other graphs: when a referenced graph
can be passed to its end in silence, the state that entered it leads to the state that is jumped back to.
"""

from collections.abc import Iterator, Mapping

from tertulia.engine.graph.context_graph import ActionState, ContextGraph, DecisionState, Graphs, NextState, State
from tertulia.events import VersionInfo

Edges = Mapping[str, list[str]]
"""Silent states by name, each with the silent states that it can lead to."""


def edges(graph: ContextGraph, referenced: Graphs) -> Edges:
    """Collect the ways between silent states, through `referenced` graphs too. Returns them by state, in order."""
    passable = _Passable(referenced)
    silent = {state.name: state for state in graph.states if not isinstance(state, ActionState)}
    return {
        name: [
            way
            for target in _ways(state)
            if (way := _silent_way(graph, target, passable)) is not None and way in silent
        ]
        for name, state in silent.items()
    }


def circles(edges: Edges) -> list[list[str]]:
    """Find circles. Returns, for each set of states that reach each other, the names of one circle in it, in order."""
    return [_shortest_circle(edges, component) for component in _components(edges)]


def long_ways(edges: Edges, most: int) -> list[str]:
    """Find ways of more than `most` states, where no circles are. Returns the states that such a way begins at."""
    length: dict[str, int] = {}
    for name in _postorder(edges):
        length[name] = 1 + max((length[way] for way in edges[name]), default=0)
    led_to = {way for ways in edges.values() for way in ways}
    return [name for name in edges if length[name] > most and name not in led_to]


class _Passable:
    """The states of other graphs from which their terminal state is reached in silence, found out once a graph."""

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._found: dict[VersionInfo, frozenset[str]] = {}

    def of(self, version: VersionInfo) -> frozenset[str]:
        """Look up a version. Returns the names of its states; none if the version is not known."""
        graph = self._graphs.get(version)
        if graph is None:
            return frozenset()
        if version not in self._found:
            self._found[version] = frozenset()  # for a version that would refer to itself
            self._found[version] = self._search(graph)
        return self._found[version]

    def _search(self, graph: ContextGraph) -> frozenset[str]:
        """Go back from the terminal state."""
        before: dict[str, list[str]] = {}
        for state in graph.states:
            for target in () if isinstance(state, ActionState) else _ways(state):
                if (way := _silent_way(graph, target, self)) is not None:
                    before.setdefault(way, []).append(state.name)
        found = {graph.terminal_state}
        waiting = [graph.terminal_state]
        while waiting:
            new = set(before.get(waiting.pop(), ())) - found
            found |= new
            waiting.extend(new)
        return frozenset(found)


def _ways(state: State) -> list[NextState]:
    if isinstance(state, ActionState | DecisionState):
        return [exit_.next_state for exit_ in state.exit_conditions]
    return [state.next_state]


def _silent_way(graph: ContextGraph, target: NextState, passable: _Passable) -> str | None:
    """Follow a target. Returns the state of `graph` that is arrived at before anything was said, if there is one."""
    if isinstance(target, str):
        return target
    reference, _, name = target[0].partition(".")
    version = graph.references.get(reference)
    return target[1] if version is not None and name in passable.of(version) else None


def _postorder(edges: Edges) -> list[str]:
    """Walk depth first. Returns every state after those that it leads to, circles apart."""
    order: list[str] = []
    seen: set[str] = set()
    for root in edges:
        if root in seen:
            continue
        seen.add(root)
        stack: list[tuple[str, Iterator[str]]] = [(root, iter(edges[root]))]
        while stack:
            name, ways = stack[-1]
            way = next((way for way in ways if way not in seen), None)
            if way is None:
                order.append(name)
                stack.pop()
            else:
                seen.add(way)
                stack.append((way, iter(edges[way])))
    return order


def _components(edges: Edges) -> list[dict[str, None]]:
    """Find the sets of states that reach each other (Kosaraju's two walks). Returns those that hold a circle."""
    backwards: dict[str, list[str]] = {name: [] for name in edges}
    for name, ways in edges.items():
        for way in ways:
            backwards[way].append(name)
    seen: set[str] = set()
    found: list[dict[str, None]] = []
    for root in reversed(_postorder(edges)):
        if root in seen:
            continue
        component: dict[str, None] = {root: None}
        waiting = [root]
        while waiting:
            new = [name for name in backwards[waiting.pop()] if name not in seen and name not in component]
            component |= dict.fromkeys(new)
            waiting.extend(dict.fromkeys(new))
        seen.update(component)
        if len(component) > 1 or root in edges[root]:
            found.append(component)
    return found


def _shortest_circle(edges: Edges, component: Mapping[str, None]) -> list[str]:
    """Walk breadth first from the first state of a component until it is met again. Returns the way."""
    first = next(iter(component))
    came_from: dict[str, str] = {}
    waiting = [first]
    for name in waiting:
        for way in edges[name]:
            if way == first:
                circle = [name]
                while circle[-1] != first:
                    circle.append(came_from[circle[-1]])
                return circle[::-1]
            if way in component and way not in came_from:
                came_from[way] = name
                waiting.append(way)
    raise AssertionError("the states of a component reach each other")
