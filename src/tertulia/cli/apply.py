"""`tertulia apply`: bring a server to what a folder holds. A plan first, then new versions."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rich.console import Console

from tertulia.cli.client import ApiError, Session
from tertulia.cli.failure import CommandFailed
from tertulia.cli.library import AGENTS, BEHAVIORS, GRAPHS, SERVICES, TOOLS, Library
from tertulia.cli.plans import describe, show_plan
from tertulia.cli.show import agree, printable
from tertulia.files import tool_uses
from tertulia.files.bodies import Body
from tertulia.files.document import WrongFile
from tertulia.files.folder import GRAPH, AgentFolder, load
from tertulia.files.plan import OnServer, Plan, ServiceOnServer, Step, change_version, make_plan

MOST_PROBLEMS: Final = 20
NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})
_CONFLICT: Final = 409


def read_folder(folder: Path) -> AgentFolder:
    """Read a folder. Return its content.

    Raises:
        CommandFailed: files are wrong; tells every problem, up to 20.
    """
    require_folder(folder)
    try:
        return load(folder)
    except WrongFile as wrong:
        raise problems_of(wrong) from None


def require_folder(folder: Path) -> None:
    """Refuse a path that is no folder.

    Raises:
        CommandFailed: it is none; names the command that makes one.
    """
    if folder.exists() and not folder.is_dir():
        raise CommandFailed(f"{folder} is a file: name the folder that it is in.")
    if not folder.is_dir():
        raise CommandFailed(f"There is no folder {folder}: `tertulia new {folder}` makes one.")


def problems_of(wrong: WrongFile) -> CommandFailed:
    """Say what is wrong with files. Return the failure of the command."""
    problems = sorted(wrong.problems, key=lambda problem: (str(problem.path), problem.line, problem.column))
    lines = [printable(str(problem)) for problem in problems[:MOST_PROBLEMS]]
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"... and {len(problems) - MOST_PROBLEMS} more problems.")
    head = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    return CommandFailed("\n".join([f"{head} in the folder:", *lines]), problems=problems[:MOST_PROBLEMS])


def plan_of(library: Library, folder: AgentFolder, *, release: bool) -> tuple[Plan, OnServer]:
    """Compare a folder with a server. Return the plan, and what the server has."""
    server = library.on_server(folder)
    try:
        return make_plan(folder, server, release=release), server
    except WrongFile as wrong:
        raise problems_of(wrong) from None


def run(console: Console, session: Session, folder: AgentFolder, *, release: bool, yes: bool, only_plan: bool) -> None:
    """Show what would change on the server, ask, and change it.

    Raises:
        CommandFailed: nobody agreed, or the server refuses.
    """
    library = Library(session.api)
    plan, server = plan_of(library, folder, release=release)
    name = printable(folder.service["name"])
    if not plan.steps:
        console.print(
            f"Nothing changes: {name} at {session.api.url} is as in the folder.", soft_wrap=True, markup=False
        )
        return
    console.print(f"{name} at {session.api.base_url}\n", style="dim", soft_wrap=True, markup=False)
    show_plan(console, plan)
    if only_plan:
        console.print(f"{_count(plan)} would be made; `tertulia apply` makes them.")
        return
    if not yes:
        agree(console, "Nobody is here to agree: say --yes, or look only with --plan.", f"{_count(plan)}. Apply?")
    carry_out(console, library, folder, plan, server)
    _tell(console, folder, plan, server, release=release)


def carry_out(
    console: Console,
    library: Library,
    folder: AgentFolder,
    plan: Plan,
    server: OnServer,
    variables: Mapping[str, str] = NO_VARIABLES,
) -> None:
    """Make the changes of a plan, one after another, and print each.

    Tools are given those of the `variables` that they require and do not have yet.

    Raises:
        CommandFailed: the server refuses one; those before it are made, and the same command goes on with the others.
    """
    writer = _Writer(library, folder, plan, server, variables)
    for step in plan.steps:
        try:
            writer.make(step)
        except ApiError as error:
            raise _refusal(error, folder, step) from error
        console.print(f"done: {describe(step)}", style="green", markup=False, soft_wrap=True)


def _count(plan: Plan) -> str:
    return "One change" if len(plan.steps) == 1 else f"{len(plan.steps)} changes"


def _tell(console: Console, folder: AgentFolder, plan: Plan, server: OnServer, *, release: bool) -> None:
    versions = f"agent {plan.versions['agent']}, graph {plan.versions['graph']}"
    known = server.service(folder.service["name"])
    if not {step.kind for step in plan.steps} & {"agent", "graph", "release"}:
        console.print("\nIt holds from the next turn of each conversation on.")
    elif release or known is None:
        console.print(f"\nEverybody talks with it now ({versions}).")
    else:
        console.print(
            f"\nThe version set edge has it now ({versions}); `tertulia apply --release` gives it to everybody.",
            highlight=False,
        )


def _refusal(error: ApiError, folder: AgentFolder, step: Step) -> CommandFailed:
    """Say why a step was refused, with the places in its file if the server names some. Return the failure."""
    if error.http_status == _CONFLICT and step.version and step.verb == "change":
        return CommandFailed(
            f"Somebody else has changed the {step.kind} {step.name} meanwhile ({error.detail.rstrip('.')}): nothing of "
            "theirs is lost. Run the same command again to see what would change now; `tertulia pull` takes theirs."
        )
    document = folder.documents.get(step.file)
    if not error.problems or document is None:
        return CommandFailed(f"The {step.kind} {step.name} was refused: {error.text}")
    places = [tuple(part for part in place if part != "initial_version") for place, _ in error.problems]
    problems = [
        document.problem(place, f"The server says: {text}")
        for place, (_, text) in zip(places, error.problems, strict=True)
    ]
    return problems_of(WrongFile(problems))


class _Writer:
    """The changes of a plan as requests; what is made is known by its name afterwards."""

    def __init__(
        self, library: Library, folder: AgentFolder, plan: Plan, server: OnServer, variables: Mapping[str, str]
    ) -> None:
        self._library = library
        self._folder = folder
        self._plan = plan
        self._agent = {name: thing.id for name, thing in server.agents.items()}
        self._graphs = {name: thing.id for name, thing in server.graphs.items()}
        self._variables = variables
        self._tools = {name: tool.id for name, tool in server.tools.items()}
        self._server = server
        known = server.service(folder.service["name"])
        self._service_id = known.id if known else ""

    def make(self, step: Step) -> None:
        match step.kind:
            case "tool":
                self._tool(step)
            case "graph":
                self._graph(step)
            case "agent":
                self._agent_version(step)
            case "service":
                self._service(step)
            case "behavior":
                self._behavior(step)
            case "release":
                self._release(step)

    def _tool(self, step: Step) -> None:
        tool, planned = self._folder.tools[step.name], step.tool
        tool_id = self._tools.get(step.name)
        if tool_id is None:
            body: Body = {"name": tool.name, "description": tool.description, "tags": {}}
            tool_id = self._tools[step.name] = str(self._library.send("POST", f"{TOOLS}/", body)["id"])
        if planned is not None and planned.describes:
            self._library.send("POST", f"{TOOLS}/{tool_id}", {"description": tool.description})
        given = [name for name in planned.missing if name in self._variables] if planned else []
        if given:
            inserts = [
                {"name": name, "value": self._variables[name], "is_secret": tool.variables[name]} for name in given
            ]
            self._library.send("POST", f"{TOOLS}/{tool_id}/envvar", {"inserts": inserts})
        if planned is not None and planned.version:
            self._library.publish_tool(tool_id, tool, planned)

    def _graph(self, step: Step) -> None:
        graph_id = self._graphs.get(step.name)
        if graph_id is None:
            made = self._library.send("POST", GRAPHS, {"state_machine_name": step.name})
            graph_id = self._graphs[step.name] = str(made["id"])
        references = {key: [self._graphs.get(name, name), version] for key, (name, version) in step.references.items()}
        body = {**tool_uses.with_ids(step.body, self._tools), "references": references}
        self._library.send("POST", f"{GRAPHS}/{graph_id}/", body, version=step.version)

    def _agent_version(self, step: Step) -> None:
        agent_id = self._agent.get(step.name)
        if agent_id is None:
            made = self._library.send("POST", AGENTS, {"agent_name": step.name})
            agent_id = self._agent[step.name] = str(made["id"])
        self._library.send("POST", f"{AGENTS}/{agent_id}/", step.body, version=step.version)

    def _service(self, step: Step) -> None:
        parts = {
            "agent_id": self._agent[self._folder.agent_name],
            "service_hierarchical_state_machine_id": self._graphs[self._folder.graph_name(GRAPH)],
        }
        if step.id is None:
            body = {**step.body, **parts, "release_version_set": self._release_set({})}
            self._service_id = str(self._library.send("POST", f"{SERVICES}/", body)["id"])
            return
        known = self._server.service(step.name)
        removed: Body = {}
        if known is not None:
            self._require_unchanged(known)
            removed = {"result_schema": {}} if known.body.get("result_schema") else {}
        self._library.send("POST", f"{SERVICES}/{step.id}/", {**removed, **step.body, **parts})

    def _require_unchanged(self, known: ServiceOnServer) -> None:
        """Compare a service, which has no versions, with the one that was planned for.

        Raises:
            CommandFailed: somebody else has changed it.
        """
        now = next((each for each in self._library.list_services() if each.id == known.id), None)
        if now is None or (now.body, now.agent_id, now.graph_id) != (known.body, known.agent_id, known.graph_id):
            raise CommandFailed(
                f"Somebody else has changed the service {known.name} meanwhile: run the same command again to see what "
                "would change now."
            )

    def _release_set(self, preferences: Body) -> Body:
        return {
            "agent_version_number": self._plan.versions["agent"],
            "service_hierarchical_state_machine_version_number": self._plan.versions["graph"],
            "llm_model_preferences": preferences,
        }

    def _release(self, step: Step) -> None:
        path = f"{SERVICES}/{self._service_id}/version_sets/release/"
        self._library.send("PUT", path, {"version_set": step.body})

    def _behavior(self, step: Step) -> None:
        known = next((each for each in self._server.behaviors if each.id == step.id), None)
        if known is None:
            named = change_version(step.body, lambda version: tool_uses.with_ids(version, self._tools))
            body = {**named, "applied_to_services": [self._service_id]}
            self._library.send("POST", f"{BEHAVIORS}/", body)
            return
        services = [each for each in known.services if each != self._service_id]
        if step.verb == "detach":
            self._library.send("POST", f"{BEHAVIORS}/{known.id}/", {"applied_to_services": services})
            return
        version = step.body["initial_version"]
        content = {name: version[name] for name in ("conversation_triggers", "actions")}
        content = tool_uses.with_ids(content, self._tools)
        if step.version != known.version:
            self._library.send("POST", f"{BEHAVIORS}/{known.id}/version/", content, version=step.version)
        fields = {"tags": step.body["tags"], "is_active": version["is_active"]}
        applied = {"applied_to_services": [*services, self._service_id]}
        self._library.send("POST", f"{BEHAVIORS}/{known.id}/", {**fields, **applied})
