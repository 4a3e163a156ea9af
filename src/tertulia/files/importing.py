"""Agents, context graphs and services as an API tells them, in JSON, made the content of a folder.

An object is known by its fields, however deep it stands: pages of lists, single answers, and several of them
side by side.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from tertulia.files.bodies import Body
from tertulia.files.pulling import Pulled, Version
from tertulia.files.tool_uses import with_names

_KINDS: Final[Mapping[str, frozenset[str]]] = {
    "graph": frozenset({"states", "terminal_state"}),
    "agent": frozenset({"identity", "background"}),
    "service": frozenset({"agent_id", "service_hierarchical_state_machine_id"}),
    "behavior version": frozenset({"conversation_triggers", "dynamic_behavior_set_id"}),
    "behavior": frozenset({"applied_to_services", "name"}),
    "name": frozenset({"id", "name", "latest_version"}),
    "tool": frozenset({"id", "name", "envvars"}),
}
"""The fields by which an object is known."""

_NEW_AGENT: Final[Body] = {"voice_config": None}


class NothingFound(Exception):
    """A lack in what was imported, in words."""


class Imported:
    """All objects that stand in some files."""

    def __init__(self, values: list[Any]) -> None:
        self._found: dict[str, list[Body]] = {kind: [] for kind in _KINDS}
        for value in values:
            self._take(value)

    def _take(self, value: Any) -> None:
        if isinstance(value, list):
            for item in cast("list[Any]", value):
                self._take(item)
        if not isinstance(value, dict):
            return
        told = cast("Body", value)
        kind = next((kind for kind, fields in _KINDS.items() if fields <= told.keys()), None)
        if kind is not None:
            self._found[kind].append(told)
            return
        for item in told.values():
            self._take(item)

    def choose(self, wanted: str | None, title: str) -> tuple[Body, Body, Body]:
        """Choose a service, and the newest versions of its agent and graph. Return what the API tells of them.

        `title` names a service that is not there. Raises NothingFound.
        """
        services = self._found["service"]
        if wanted is not None:
            services = [each for each in services if wanted in {each.get("name"), each.get("id")}]
            if not services:
                raise NothingFound(f"There is no service {wanted} in what was imported.")
        if len(services) > 1:
            names = ", ".join(str(each.get("name")) for each in services[:10])
            raise NothingFound(f"There are several services; name one with --service: {names}.")
        service = services[0] if services else {"name": title}
        agent = _newest(self._found["agent"], "agent_id", service.get("agent_id"))
        graph = _newest(
            self._found["graph"],
            "service_hierarchical_state_machine_id",
            service.get("service_hierarchical_state_machine_id"),
        )
        if agent is None or graph is None:
            lacking = "version of an agent (with its identity)" if agent is None else "version of a context graph"
            raise NothingFound(f"There is no {lacking} in what was imported.")
        return service, agent, graph

    def pulled(self, wanted: str | None, title: str, graph_of: Callable[[Body], Body]) -> Pulled:
        """Make a service and its parts the content of a folder. Return it.

        Raises:
            NothingFound: parts are missing, or there are several services and none is `wanted`.
        """
        service, agent, graph = self.choose(wanted, title)
        names = {str(each["id"]): str(each["name"]) for each in self._found["name"]}
        root = _version(graph)
        name = str(service.get("name") or title)
        graphs = {_version(each): graph_of(each) for each in self._found["graph"]} | {root: graph_of(graph)}
        reached = {root: graphs[root]}
        waiting = [root]
        while waiting:
            for target in graphs[waiting.pop()]["references"].values():
                version = (str(target[0]), int(target[1]))
                if version in graphs and version not in reached and version[0] != root[0]:
                    reached[version] = graphs[version]
                    waiting.append(version)
        return Pulled(
            service={"description": name, **_service_fields(service), "name": name},
            agent_name=names.get(str(agent.get("agent_id")), name),
            agent={**_NEW_AGENT, **{key: value for key, value in agent.items() if value is not None}},
            graph=root,
            graphs={version: with_names(body, self._tools) for version, body in reached.items()},
            names={**names, root[0]: names.get(root[0], name)},
            behaviors=list(self._behaviors(service.get("id"))),
        )

    @property
    def _tools(self) -> Mapping[str, str]:
        """The names of tools in use, by their identifiers."""
        return {str(each["id"]): str(each["name"]) for each in self._found["tool"] if not each.get("deprecated")}

    def _behaviors(self, service_id: object) -> Iterator[Body]:
        for told in self._found["behavior"]:
            if service_id is not None and service_id not in told["applied_to_services"]:
                continue
            version = _newest(self._found["behavior version"], "dynamic_behavior_set_id", told.get("id"))
            if version is not None:
                content = {name: version[name] for name in ("conversation_triggers", "actions")}
                content = with_names(content, self._tools)
                active = {"is_active": told.get("is_active", True)}
                yield {"name": told["name"], "tags": told.get("tags") or {}, "initial_version": {**active, **content}}


def _service_fields(service: Body) -> Body:
    fields = ("description", "is_active", "keyterms", "result_schema")
    found = {name: service[name] for name in fields if service.get(name) is not None}
    tags: Any = service.get("tags") or []
    if isinstance(tags, list):
        tags = {tag["key"]: tag["value"] for tag in cast("list[Body]", tags)}
    return {"is_active": True, "keyterms": [], **found, "tags": tags}


def _newest(found: list[Body], key: str, wanted: object) -> Body | None:
    """Look for the newest version of a thing, or of anything if no thing is wanted. Return it, or None."""
    fitting = [each for each in found if wanted is None or each.get(key) in {wanted, None}]
    return max(fitting, key=lambda each: int(each.get("version") or 0), default=None)


def _version(graph: Body) -> Version:
    return str(graph.get("service_hierarchical_state_machine_id") or ""), int(graph.get("version") or 1)
