"""A plan: what has to change on a server for it to have what a folder holds. Pure: values in, values out.

Agents, graphs, services and tools are the same if they have the same name. A dynamic behaviour that is applied to the
service and has no file is taken from the service. Bodies call tools by their names, on both sides.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from difflib import get_close_matches, unified_diff
from pathlib import PurePosixPath
from typing import Any, Final, Literal

from tertulia.files import tool_uses
from tertulia.files.bodies import Body
from tertulia.files.compact import agent_value, behavior_value, graph_value, service_value
from tertulia.files.document import Problem, WrongFile
from tertulia.files.folder import AGENT, GRAPH, SERVICE, AgentFolder, BehaviorOfFile, behavior_name, graph_name
from tertulia.files.tool_plan import ToolOnServer, ToolPlan, plan_tool
from tertulia.files.writing import to_yaml

Kind = Literal["tool", "graph", "agent", "service", "behavior", "release"]
Verb = Literal["create", "change", "detach"]
GraphVersion = tuple[str, int]
"""The name of a graph, and the number of a version."""

CONTEXT: Final = 2
"""Lines before and after each place of a diff."""


@dataclass(frozen=True, slots=True)
class VersionedOnServer:
    """An agent or a graph; `body` is its latest version, whose number `version` is 0 if there is none."""

    id: str
    name: str
    deprecated: bool
    version: int
    body: Body | None


@dataclass(frozen=True, slots=True)
class ServiceOnServer:
    """A service. `body` has the fields that a file has, those that this server knows."""

    id: str
    body: Body
    agent_id: str
    graph_id: str
    version_sets: Mapping[str, Body]

    @property
    def name(self) -> str:
        return str(self.body["name"])


@dataclass(frozen=True, slots=True)
class BehaviorOnServer:
    """A dynamic behaviour set, as the body of one that is made, and the services that it is applied to."""

    id: str
    body: Body
    version: int
    services: tuple[str, ...]

    @property
    def active(self) -> bool:
        return bool(self.body["initial_version"]["is_active"])


@dataclass(frozen=True, slots=True)
class OnServer:
    """The things that a server has. `agents` and `graphs` are by name; only those that the folder names have bodies."""

    agents: Mapping[str, VersionedOnServer]
    graphs: Mapping[str, VersionedOnServer]
    services: Sequence[ServiceOnServer]
    behaviors: Sequence[BehaviorOnServer]
    """Those that are applied to the service, and those that have the name of one in the folder."""
    tools: Mapping[str, ToolOnServer]
    """Those that are in use; only those that the folder has too know their versions."""

    def service(self, name: str) -> ServiceOnServer | None:
        """Look for a service by its name. Return it, or None."""
        return next((service for service in self.services if service.name == name), None)

    def graph_version(self, reference: Sequence[Any]) -> GraphVersion:
        """Name the graph of a reference. Return the name, or the id of a graph that is not seen, and the version."""
        name = next((graph.name for graph in self.graphs.values() if graph.id == reference[0]), reference[0])
        return str(name), int(reference[1])


@dataclass(frozen=True, slots=True)
class Step:
    """One change. `version` is the number that must come of it, 0 if there are no versions.

    `before` and `after` are what the file would say. A graph's `references` stand beside its body, by names; a tool's
    versions are in its plan.
    """

    kind: Kind
    verb: Verb
    name: str
    file: str
    id: str | None
    version: int
    body: Body
    before: str
    after: str
    references: Mapping[str, GraphVersion] = field(default_factory=dict[str, GraphVersion])
    tool: ToolPlan | None = None

    def diff(self) -> list[str]:
        """Compare what is with what will be. Return the lines of a unified diff, without its head."""
        before, after = self.before.splitlines(), self.after.splitlines()
        lines = list(unified_diff(before, after, lineterm="", n=CONTEXT))[2:]
        return [self._headed(line, before) if line.startswith("@@ ") else line for line in lines]

    def _headed(self, line: str, before: Sequence[str]) -> str:
        """Say where a part of a diff begins, instead of the numbers of lines that nobody sees. Return the line."""
        start = int(line.removeprefix("@@ -").partition(" ")[0].partition(",")[0])
        states = [name for text in before[:start] if (name := text.removeprefix("  - name: ")) != text]
        return f"@@ in the state {states[-1]}" if states and self.kind == "graph" else "@@"


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes in the order in which they are made, and remarks for the person who reads them."""

    steps: Sequence[Step]
    notes: Sequence[str]
    versions: Mapping[str, int]
    """The versions that there will be: `agent` and `graph`."""


def make_plan(folder: AgentFolder, server: OnServer, *, release: bool) -> Plan:
    """Compare a folder with a server. Return the plan.

    Raises:
        WrongFile: the folder names a graph that is not there, or an agent or a graph that was deleted.
    """
    planner = _Planner(_with_tool_names(folder, server), server)
    problems = list(planner.problems())
    if problems:
        raise WrongFile(problems)
    steps = [*planner.tool_steps(), *planner.graph_steps(), *planner.agent_steps()]
    steps += [*planner.service_steps(), *planner.behavior_steps()]
    steps += planner.release_steps() if release else ()
    return Plan(steps, list(planner.notes(steps, release=release)), planner.versions)


def _with_tool_names(folder: AgentFolder, server: OnServer) -> AgentFolder:
    """Call tools by their names, also those that the files call by their ids. Return the folder."""
    names = {tool.id: tool.name for tool in server.tools.values()}
    return replace(
        folder,
        graph=replace(folder.graph, body=tool_uses.with_names(folder.graph.body, names)),
        graphs={
            file: replace(graph, body=tool_uses.with_names(graph.body, names)) for file, graph in folder.graphs.items()
        },
        behavior_files=tuple(
            replace(each, body=change_version(each.body, lambda version: tool_uses.with_names(version, names)))
            for each in folder.behavior_files
        ),
    )


def change_version(behavior: Body, change: Callable[[Body], Body]) -> Body:
    """Change the version in the body of a dynamic behaviour set. Return the body."""
    return {**behavior, "initial_version": change(behavior["initial_version"])}


class _Planner:
    def __init__(self, folder: AgentFolder, server: OnServer) -> None:
        self._folder = folder
        self._server = server
        self._service = server.service(folder.service["name"])
        self._numbers: dict[str, int] = {}
        """The latest version of each graph of the folder, once the plan is carried out; by file."""
        self.versions: dict[str, int] = {"agent": 0, "graph": 0}

    def problems(self) -> Iterator[Problem]:
        """Look at the names. Yield a problem for each that cannot be meant."""
        folder, server = self._folder, self._server
        agent = server.agents.get(folder.agent_name)
        if agent is not None and agent.deprecated:
            yield folder.documents[AGENT].problem(
                ("name",), f"The agent {agent.name} was deleted on the server: give another `name`."
            )
        names: dict[str, str] = {}
        for file, graph in self._graphs():
            document, name = folder.documents[file], folder.graph_name(file)
            known = server.graphs.get(name)
            if known is not None and known.deprecated:
                yield document.problem(("name",), f"The graph {name} was deleted on the server: give another `name`.")
            if names.setdefault(name, file) != file:
                yield document.problem(("name",), f"The graph of {names[name]} has the name {name} too.")
            for key, (pinned, version) in graph.pins.items():
                found = server.graphs.get(pinned)
                if found is None or version > found.version:
                    text = f"The server has no version {version} of a graph {pinned}."
                    yield document.problem(("references", key), text)
            yield from self._tool_problems(file, graph.body)
        for each in folder.behavior_files:
            yield from self._tool_problems(each.file, each.body["initial_version"])

    # --- Tools -------------------------------------------------------------------------------------------------------

    def _tool_problems(self, file: str, content: Body) -> Iterator[Problem]:
        """Look for the tools that a file names. Yield a problem for each that is neither on the server nor here."""
        known = self._server.tools.keys() | self._folder.tools.keys()
        for place, use in tool_uses.uses(content):
            name = use.get("tool")
            if name is not None and name not in known:
                meant = "".join(f" Is {alike} meant?" for alike in get_close_matches(str(name), known, 1))
                text = f"There is no tool {name}: neither on the server nor in tools/.{meant}"
                yield self._folder.documents[file].problem((*place, "tool"), text)

    def tool_steps(self) -> Iterator[Step]:
        """Yield a step for each tool that is not there, or whose newest version in use has another content."""
        for name, tool in self._folder.tools.items():
            known = self._server.tools.get(name)
            planned = plan_tool(tool, known)
            if planned is not None:
                verb: Verb = "change" if known else "create"
                shown = planned.before, planned.after
                yield Step("tool", verb, name, tool.file, known.id if known else None, 0, {}, *shown, tool=planned)

    # --- Graphs ------------------------------------------------------------------------------------------------------

    def _graphs(self) -> Iterator[tuple[str, Any]]:
        yield from self._folder.graphs.items()
        yield GRAPH, self._folder.graph

    def graph_steps(self) -> Iterator[Step]:
        """Yield a step for each graph that differs; those that others refer to come first."""
        done: set[str] = set()
        for file, _graph in self._graphs():
            yield from self._graph_step(file, done)
        self.versions["graph"] = self._numbers[GRAPH]

    def _graph_step(self, file: str, done: set[str]) -> Iterator[Step]:
        if file in done:
            return
        done.add(file)
        graph = self._folder.graph if file == GRAPH else self._folder.graphs[file]
        for inner in graph.references.values():
            yield from self._graph_step(inner, done)
        name = self._folder.graph_name(file)
        known = self._server.graphs.get(name)
        references = {key: self._target(file, key, target) for key, target in graph.body["references"].items()}
        before = self._shown(known, file) if known else ""
        after = self._shown_graph(graph.body, references, name, file)
        version = known.version if known else 0
        if known is not None and before == after:
            self._numbers[file] = version
            return
        self._numbers[file] = version + 1
        yield Step(
            kind="graph",
            verb="change" if known else "create",
            name=name,
            file=file,
            id=known.id if known else None,
            version=version + 1,
            body=graph.body,
            before=before,
            after=after,
            references=references,
        )

    def _target(self, file: str, key: str, target: Sequence[Any]) -> GraphVersion:
        graph = self._folder.graph if file == GRAPH else self._folder.graphs[file]
        if key in graph.references:
            inner = graph.references[key]
            return self._folder.graph_name(inner), self._numbers[inner]
        return graph.pins[key] if key in graph.pins else self._server.graph_version(target)

    def _shown(self, known: VersionedOnServer, file: str) -> str:
        if known.body is None:
            return ""
        references = {key: self._server.graph_version(target) for key, target in known.body["references"].items()}
        return self._shown_graph(known.body, references, known.name, file)

    def _shown_graph(self, body: Body, references: Mapping[str, GraphVersion], name: str, file: str) -> str:
        shown = {key: f"{target}, version {version}" for key, (target, version) in sorted(references.items())}
        return to_yaml(graph_value(body, shown, name, graph_name(self._folder.service["name"], file)))

    # --- The others --------------------------------------------------------------------------------------------------

    def agent_steps(self) -> Iterator[Step]:
        """Yield a step if the agent differs. A voice that the file does not name stays."""
        folder = self._folder
        known = self._server.agents.get(folder.agent_name)
        body, service = folder.agent, folder.service["name"]
        kept = known.body.get("voice_config") if known and known.body else None
        body = body if "voice_config" in body or not kept else {**body, "voice_config": kept}
        before = to_yaml(agent_value(known.body, known.name, service)) if known and known.body else ""
        after = to_yaml(agent_value(body, folder.agent_name, service))
        version = known.version if known else 0
        self.versions["agent"] = version
        if before == after:
            return
        self.versions["agent"] = version + 1
        verb: Verb = "change" if known else "create"
        yield Step(
            "agent", verb, folder.agent_name, AGENT, known.id if known else None, version + 1, body, before, after
        )

    def service_steps(self) -> Iterator[Step]:
        """Yield a step if the service differs, or has another agent or graph."""
        folder, known = self._folder, self._service
        body = folder.service
        names = {"agent": folder.agent_name, "graph": folder.graph_name(GRAPH)}
        if known is None:
            after = to_yaml({**service_value(body), **names})
            yield Step("service", "create", body["name"], SERVICE, None, 0, body, "", after)
            return
        if "result_schema" not in known.body:  # this server keeps none
            body = {key: value for key, value in body.items() if key != "result_schema"}
        before_names = {
            "agent": self._name_of(self._server.agents, known.agent_id),
            "graph": self._name_of(self._server.graphs, known.graph_id),
        }
        differ = before_names != names
        before = to_yaml({**service_value(known.body), **(before_names if differ else {})})
        after = to_yaml({**service_value(body), **(names if differ else {})})
        if before != after:
            yield Step("service", "change", body["name"], SERVICE, known.id, 0, body, before, after)

    def _name_of(self, things: Mapping[str, VersionedOnServer], wanted: str) -> str:
        return next((thing.name for thing in things.values() if thing.id == wanted), wanted)

    def behavior_steps(self) -> Iterator[Step]:
        """Yield a step for each behaviour that differs, is new, or is in no file any more."""
        service_id = self._service.id if self._service else ""
        left = list(self._server.behaviors)
        pairs = [(each, _match(each, left, service_id)) for each in self._folder.behavior_files]
        for each, known in pairs:
            usual = behavior_name(self._folder.service["name"], PurePosixPath(each.file).stem)
            step = _behavior_step(each, known, usual)
            if known is None or service_id not in known.services:
                yield replace(step, before="")
            elif step.before != step.after:
                yield step
        for gone in left:
            if service_id in gone.services:
                before = to_yaml(behavior_value(gone.body, ""))
                yield Step("behavior", "detach", gone.body["name"], "behaviors", gone.id, 0, gone.body, before, "")

    def release_steps(self) -> Iterator[Step]:
        """Yield a step if the version set `release` has other versions than there will be."""
        if self._service is None:  # a new service has them from the beginning
            return
        known = self._service.version_sets.get("release", {})
        before = {
            "agent": known.get("agent_version_number"),
            "graph": known.get("service_hierarchical_state_machine_version_number"),
        }
        if before == self.versions:
            return
        shown = {key: "the latest" if number is None else number for key, number in before.items()}
        body: Body = {
            "agent_version_number": self.versions["agent"],
            "service_hierarchical_state_machine_version_number": self.versions["graph"],
            "llm_model_preferences": known.get("llm_model_preferences") or {},
        }
        name, after = self._folder.service["name"], to_yaml(self.versions)
        yield Step("release", "change", name, SERVICE, self._service.id, 0, body, to_yaml(shown), after)

    # --- Remarks -----------------------------------------------------------------------------------------------------

    def notes(self, steps: Sequence[Step], *, release: bool) -> Iterator[str]:
        """Look for what the person should know. Yield a sentence for each."""
        known = self._service
        changed = {step.kind for step in steps}
        yield from self._shared_parts(changed)
        yield from self._shared_behaviors(steps)
        for step in steps:
            if step.tool is not None:
                yield from step.tool.notes(step.name)
        if known is None:
            return
        numbers = known.version_sets.get("release", {})
        if not release and changed & {"agent", "graph"} and numbers.get("agent_version_number") is None:
            yield "The version set release follows the latest versions: users get these at once."
        if "result_schema" in self._folder.service and "result_schema" not in known.body:
            yield "This server keeps no result_schema."

    def _shared_parts(self, changed: Set[str]) -> Iterator[str]:
        """Look for other services that use what changes. Yield a sentence for the agent, and for the graph."""
        parts = {
            "agent": self._server.agents.get(self._folder.agent_name),
            "graph": self._server.graphs.get(self._folder.graph_name(GRAPH)),
        }
        others = [service for service in self._server.services if service != self._service]
        for kind, part in parts.items():
            if part is None or kind not in changed:
                continue
            users = [each.name for each in others if part.id in {each.agent_id, each.graph_id}]
            if users:
                yield f"The {kind} {part.name} is used by {', '.join(users[:3])} too."

    def _shared_behaviors(self, steps: Sequence[Step]) -> Iterator[str]:
        own = self._service.id if self._service else ""
        others = {each.id: sum(service != own for service in each.services) for each in self._server.behaviors}
        for step in steps:
            if step.kind == "behavior" and step.verb == "change" and (count := others.get(step.id or "", 0)):
                yield f"The behavior {step.name} is applied to other services too: {count}."


def _behavior_step(each: BehaviorOfFile, known: BehaviorOnServer | None, usual: str) -> Step:
    """Compare a behaviour with the one on the server, if there is one. Return the step from that to it."""
    name, after = each.body["name"], to_yaml(behavior_value(each.body, usual))
    if known is None:
        return Step("behavior", "create", name, each.file, None, 1, each.body, "", after)
    version = known.version + (_content(known.body) != _content(each.body))
    before = to_yaml(behavior_value(known.body, usual))
    return Step("behavior", "change", name, each.file, known.id, version, each.body, before, after)


def _match(each: BehaviorOfFile, left: list[BehaviorOnServer], service_id: str) -> BehaviorOnServer | None:
    """Take the set on the server that a file stands for. Return it, or None if there is none.

    An organization has each name once among those that are active, and as often as it likes among the others.
    """
    named = [known for known in left if known.body["name"] == each.body["name"]]
    if not named:
        return None
    best = max(named, key=lambda known: (service_id in known.services, known.active, known.body == each.body))
    left.remove(best)
    return best


def _content(body: Body) -> tuple[Any, Any]:
    version = body["initial_version"]
    return version["conversation_triggers"], version["actions"]
