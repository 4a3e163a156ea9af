"""The agents, graphs, behaviours and services of an organization, read over the API."""

import time
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from tertulia.cli.client import Api, ApiError, pages
from tertulia.cli.failure import CommandFailed, warn
from tertulia.engine.graph.context_graph import ContextGraph
from tertulia.files import tool_uses
from tertulia.files.bodies import Body, complete_graph
from tertulia.files.folder import GRAPH, AgentFolder
from tertulia.files.plan import BehaviorOnServer, OnServer, ServiceOnServer, VersionedOnServer, change_version
from tertulia.files.tool_plan import ToolOnServer, ToolPlan, ToolVersionOnServer
from tertulia.files.tools import CodeTool, ToolOfFolder
from tertulia.tools import archive

AGENTS: Final = "/organization/agent"
GRAPHS: Final = "/organization/service_hierarchical_state_machine"
BEHAVIORS: Final = "/dynamic_behavior_set"
SERVICES: Final = "/service"
TOOLS: Final = "/tool"

_AGENT_FIELDS = ("initials", "identity", "background", "behaviors", "communication_patterns", "voice_config")
_GRAPH_FIELDS = (
    "description",
    "states",
    "new_user_initial_state",
    "returning_user_initial_state",
    "terminal_state",
    "references",
    "global_intra_state_navigation_guidelines",
    "global_action_guidelines",
    "global_boundary_constraints",
)
_SERVICE_FIELDS = ("name", "description", "is_active", "keyterms", "result_schema")
_TRIES = 5
_LONGEST_WAIT_S = 70
_TOO_MANY = 429
_UNKNOWN = frozenset({404, 405})
"""Statuses of a server that does not know an operation."""

T = TypeVar("T")


def patiently(call: Callable[[], T]) -> T:
    """Call the API, and wait as long as it says if there were too many requests. Return the answer.

    Raises:
        ApiError: the server refuses for another reason, or still does.
    """
    for tries in range(_TRIES):
        try:
            return call()
        except ApiError as error:
            seconds = error.retry_after
            if error.http_status != _TOO_MANY or tries == _TRIES - 1 or seconds is None or seconds > _LONGEST_WAIT_S:
                raise
            warn(f"the server's limit of requests is reached; going on in {seconds} s.")
            time.sleep(seconds)
    raise AssertionError


class Library:
    """The library of an organization, as one user sees it. Every method raises CommandFailed."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def on_server(self, folder: AgentFolder) -> OnServer:
        """Read what a folder may change: the service and its behaviours, and all that it names.

        Return it; only the agents and graphs that the folder names have their bodies.
        """
        wanted = {folder.graph_name(file) for file in (GRAPH, *folder.graphs)}
        behaviors = [body["name"] for body in folder.behaviors]
        with self.expecting():
            services = list(self.list_services())
            known = next((each for each in services if each.name == folder.service["name"]), None)
            tools = {each.name: each for each in self.list_tools(folder.tools)}
            names = {each.id: each.name for each in tools.values()}
            agents = [self._agent(each, each["name"] == folder.agent_name) for each in list(self.list_agents())]
            graphs = [self._graph(each, each["name"] in wanted) for each in list(self.list_graphs())]
            return OnServer(
                agents={each.name: each for each in agents},
                graphs={each.name: _with_tool_names(each, names) for each in graphs},
                services=services,
                behaviors=[
                    replace(each, body=name_tools(each.body, names))
                    for each in self.list_behaviors(known.id if known else None, behaviors)
                ],
                tools=tools,
            )

    @contextmanager
    def expecting(self) -> Generator[None]:
        """Read answers in the form of the API. Yield nothing; raise CommandFailed if they have another form."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            raise CommandFailed(f"{self._api.url} does not answer as this command expects: is it older?") from error

    def list_agents(self) -> Iterator[Body]:
        """List the agents. Yield each as the API tells it."""
        return self._pages(AGENTS, "agents", limit=20)

    def list_graphs(self) -> Iterator[Body]:
        """List the context graphs. Yield each as the API tells it."""
        return self._pages(GRAPHS, "service_hierarchical_state_machines", limit=50)

    def list_services(self) -> Iterator[ServiceOnServer]:
        """List the services. Yield each."""
        for each in self._pages(f"{SERVICES}/", "services", limit=20):
            yield service_of(each)

    def list_behaviors(self, service_id: str | None, names: Sequence[str] = ()) -> Iterator[BehaviorOnServer]:
        """List the dynamic behaviours of a service, and those of these names. Yield each with its latest version."""
        try:
            found = list(self._pages(f"{BEHAVIORS}/", "dynamic_behavior_sets", limit=50))
        except ApiError as error:
            if error.http_status not in _UNKNOWN:
                raise
            return
        for each in sorted(found, key=lambda each: str(each["id"])):
            if each["name"] in names or service_id in each["applied_to_services"]:
                version = self._latest(f"{BEHAVIORS}/{each['id']}/version/", "dynamic_behavior_set_versions")
                if version is not None:
                    yield behavior_of(each, version)

    def list_tools(self, with_versions: Container[str] = ()) -> Iterator[ToolOnServer]:
        """List the tools that are in use; those of these names know their versions. Yield each."""
        try:
            found = list(self._pages(f"{TOOLS}/", "tools", limit=20, deprecated=False))
        except ApiError as error:
            if error.http_status not in _UNKNOWN:
                raise
            return
        for each in found:
            variables = frozenset([*each["envvars"], *each["secret_envvars"]])
            tool = ToolOnServer(each["id"], each["name"], each["description"], variables)
            yield self._with_versions(tool) if tool.name in with_versions else tool

    def _with_versions(self, tool: ToolOnServer) -> ToolOnServer:
        path = f"{TOOLS}/{tool.id}/version"
        by_number = ["-version.major", "-version.minor", "-version.patch"]
        latest = [_tool_version(each) for each in self.get(path, limit=1, sort_by=by_number)["tool_versions"]]
        in_use = [_tool_version(each) for each in self.get(path, deprecated=False)["tool_versions"]]
        in_use.sort(key=lambda version: version.numbers)
        return replace(tool, in_use=tuple(in_use), latest=latest[0].numbers if latest else None)

    def publish_tool(self, tool_id: str, tool: ToolOfFolder, planned: ToolPlan) -> None:
        """Publish a tool of a folder as a version, after another one is taken out of use if need be."""
        path = f"{TOOLS}/{tool_id}/version"
        if planned.retired:
            self.send("DELETE", f"{path}/{quote(f'=={planned.retired}')}", None)
        if isinstance(tool, CodeTool):
            packed = archive.pack(tool.files)
            patiently(lambda: self._api.post_archive(f"{path}/archive", packed, bump_type=planned.bump))
            return
        body = {"definition": dict(tool.definition), "input_schema": dict(tool.input_schema)}
        self.send("POST", f"{path}/http", {**body, "bump_type": planned.bump})

    def agent_body(self, agent_id: str, version: int | None = None) -> tuple[int, Body]:
        """Read a version of an agent, the latest if none is named. Return its number and its body."""
        found = self._latest(f"{AGENTS}/{agent_id}/version", "agent_versions", version)
        if found is None:
            raise CommandFailed(f"The agent {agent_id} has no version{'' if version is None else f' {version}'}.")
        return int(found["version"]), agent_of(found)

    def graph_body(self, graph_id: str, version: int | None = None) -> tuple[int, Body]:
        """Read a version of a context graph, the latest if none is named. Return its number and its body."""
        found = self._latest(f"{GRAPHS}/{graph_id}/version", "state_machine_versions", version)
        if found is None:
            raise CommandFailed(f"The graph {graph_id} has no version{'' if version is None else f' {version}'}.")
        return int(found["version"]), graph_of(found)

    def _agent(self, told: Body, wanted: bool) -> VersionedOnServer:
        has = wanted and told["latest_version"] is not None
        return _versioned(told, self.agent_body(told["id"])[1] if has else None)

    def _graph(self, told: Body, wanted: bool) -> VersionedOnServer:
        has = wanted and told["latest_version"] is not None
        return _versioned(told, self.graph_body(told["id"])[1] if has else None)

    def _latest(self, path: str, key: str, version: int | None = None) -> Body | None:
        wanted = "latest" if version is None else str(version)
        found = self.get(path, version=wanted)[key]
        return found[0] if found else None

    def _pages(self, path: str, key: str, limit: int, **narrow: Any) -> Iterator[Body]:
        return pages(self._api.url, self.get, path, key, limit=limit, **narrow)

    def get(self, path: str, **query: Any) -> Any:
        """Fetch a resource, patiently. Return what it says."""
        return patiently(lambda: self._api.get(path, **query))

    def send(self, method: str, path: str, body: Any, **query: Any) -> Any:
        """Send a body, patiently. Return the answer's."""
        return patiently(lambda: self._api.send(method, path, body, **query))


def agent_of(told: Body) -> Body:
    """Take the body of an agent's version from what the API tells of it. Return it."""
    return {name: told[name] for name in _AGENT_FIELDS if told.get(name) is not None}


def graph_of(told: Body) -> Body:
    """Take the body of a graph's version from what the API tells of it. Return it, whole, in this server's form."""
    body = complete_graph({name: told[name] for name in _GRAPH_FIELDS if name in told})
    try:
        return ContextGraph.model_validate(body).model_dump(mode="json")
    except ValidationError:  # of a server with other rules
        return body


def service_of(told: Body) -> ServiceOnServer:
    """Take a service from what the API tells of it. Return it."""
    tags = {tag["key"]: tag["value"] for tag in told["tags"]}
    return ServiceOnServer(
        id=told["id"],
        body={**{name: told[name] for name in _SERVICE_FIELDS if name in told}, "tags": tags},
        agent_id=told["agent_id"],
        graph_id=told["service_hierarchical_state_machine_id"],
        version_sets=told["version_sets"],
    )


def behavior_of(told: Body, version: Body) -> BehaviorOnServer:
    """Take a dynamic behaviour set, with a version, from what the API tells of them. Return it."""
    body = {
        "name": told["name"],
        "tags": told["tags"],
        "initial_version": {
            "is_active": told["is_active"],
            "conversation_triggers": version["conversation_triggers"],
            "actions": version["actions"],
        },
    }
    return BehaviorOnServer(told["id"], body, int(version["version"]), tuple(told["applied_to_services"]))


def _versioned(told: Body, body: Body | None) -> VersionedOnServer:
    return VersionedOnServer(told["id"], told["name"], told["deprecated"], told["latest_version"] or 0, body)


def name_tools(behavior: Body, names: Mapping[str, str]) -> Body:
    """Call the tools of a dynamic behaviour set by their names. Return its body."""
    return change_version(behavior, lambda version: tool_uses.with_names(version, names))


def _with_tool_names(graph: VersionedOnServer, names: Mapping[str, str]) -> VersionedOnServer:
    return graph if graph.body is None else replace(graph, body=tool_uses.with_names(graph.body, names))


def _tool_version(told: Body) -> ToolVersionOnServer:
    numbers = tuple(int(told["version"][part]) for part in ("major", "minor", "patch"))
    return ToolVersionOnServer((numbers[0], numbers[1], numbers[2]), told["tool_commit_hash"], told["input_schema"])
