"""A folder with an agent: what its files hold, complete with the defaults, and checked as far as no server is needed.

agent.yaml          who speaks
graph.yaml          the context graph
graphs/NAME.yaml    graphs that it refers to: `references: {NAME: graphs/NAME.yaml}`, or a version of one that is on
                    the server already: `references: {NAME: {graph: Its name, version: 3}}`
service.yaml        the service that joins the two
behaviors/*.yaml    its dynamic behaviours
conversations/*.yaml    conversations that it must hold
tools/NAME/         tools that it brings with it: projects, and operations of HTTP APIs
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from tertulia import problems
from tertulia.engine.graph import rules
from tertulia.engine.graph.context_graph import ContextGraph
from tertulia.files import tool_uses
from tertulia.files.bodies import (
    AgentFile,
    BehaviorFile,
    Body,
    Name,
    PinnedGraph,
    ServiceFile,
    complete_behavior,
    complete_graph,
)
from tertulia.files.document import Document, Problem, WrongFile, read
from tertulia.files.tool_uses import NOBODY
from tertulia.files.tools import ToolOfFolder, tools_in

AGENT, GRAPH, SERVICE = "agent.yaml", "graph.yaml", "service.yaml"
COLLECTIONS = ("graphs", "behaviors", "conversations")
"""The folders of files that end in `.yaml`."""


@dataclass(frozen=True, slots=True)
class GraphFile:
    """A context graph: the name that its file gives, if it does, and its body.

    `references` name the files of graphs that it refers to, and `pins` versions of graphs that are on the server
    already; in the body both have no ids. Tools that the file names are in the body by their names.
    """

    body: Body
    references: Mapping[str, str]
    pins: Mapping[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    name: str | None = None


class Step(BaseModel):
    """A step of a conversation: the words that are said, and all that must come of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    user: str | None = None
    event: str | None = None
    """Something that happened outside the conversation, in the place of the user's message."""
    state: str | None = None
    """The state that the conversation stands in afterwards."""
    says: list[str] = []
    """Words that the reply has, in any case."""
    never_says: list[str] = []
    events: list[str] = []
    """Types of the steps that are told, in this order among others."""
    behavior: str | None = None
    """The dynamic behaviour that is chosen."""
    tools: list[str] = []
    """Names of the tools that are called, in this order among others."""
    finished: bool = False


class Rehearsal(BaseModel):
    """A conversation that the agent must hold, with the model that repeats at least."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    opens: Literal["agent", "user"] = "agent"
    opening: Step = Step()
    """The expectations of the agent's first message."""
    turns: list[Step]
    result: dict[str, Any] | None = None
    """The structured result, field by field; of a text, words that stand in it, one text or a list of them."""


@dataclass(frozen=True, slots=True)
class BehaviorOfFile:
    """A dynamic behaviour set and the file that it stands in."""

    file: str
    body: Body


@dataclass(frozen=True, slots=True)
class AgentFolder:
    """The content of a folder. `graphs` and `documents` are by the paths of their files, the others by name."""

    name: str
    agent: Body
    agent_name: str
    graph: GraphFile
    graphs: Mapping[str, GraphFile]
    service: Body
    behavior_files: tuple[BehaviorOfFile, ...]
    conversations: Mapping[str, Rehearsal]
    tools: Mapping[str, ToolOfFolder]
    documents: Mapping[str, Document]

    @property
    def behaviors(self) -> tuple[Body, ...]:
        return tuple(behavior.body for behavior in self.behavior_files)

    @property
    def behavior_names(self) -> Mapping[str, str]:
        """The server's names of the behaviours, by the names of their files."""
        return {PurePosixPath(each.file).stem: str(each.body["name"]) for each in self.behavior_files}

    def graph_name(self, file: str) -> str:
        """Return the name of a graph of the folder: its own, else one that the service has given it."""
        graph = self.graph if file == GRAPH else self.graphs[file]
        return graph.name or graph_name(self.service["name"], file)


def behavior_name(service: str, stem: str) -> str:
    """Name the behaviour of a file that gives it no name. Return the name; an organization has each once."""
    return f"{service}: {stem}"


def graph_name(service: str, file: str) -> str:
    """Name the graph of a file that gives it no name. Return the name."""
    return service if file == GRAPH else f"{service}: {PurePosixPath(file).stem}"


def load(folder: Path) -> AgentFolder:
    """Read a folder. Return its content.

    Raises:
        WrongFile: files are missing or wrong; all problems are told at once.
    """
    reading = _Reading(folder)
    agent = reading.take(AGENT, _agent)
    graph = reading.take(GRAPH, graph_of)
    graphs = {file: taken for file in reading.files("graphs") if (taken := reading.take(file, graph_of))}
    service = reading.take(SERVICE, _service)
    behaviors = [(file, reading.take(file, _behavior)) for file in reading.files("behaviors")]
    own = service["name"] if service else ""
    conversations = {file: reading.take(file, _rehearsal) for file in reading.files("conversations")}
    tools = reading.tools()
    reading.found += _reference_problems(reading, {**({GRAPH: graph} if graph else {}), **graphs})
    if reading.found or agent is None or graph is None or service is None:
        raise WrongFile(reading.found)
    return AgentFolder(
        name=folder.resolve().name,
        agent=agent[1],
        agent_name=agent[0] or service["name"],
        graph=graph,
        graphs=graphs,
        service=service,
        behavior_files=tuple(
            BehaviorOfFile(file, taken.to_body(_stem_name(own, file))) for file, taken in behaviors if taken
        ),
        conversations={PurePosixPath(file).stem: taken for file, taken in conversations.items() if taken},
        tools=tools,
        documents=reading.documents,
    )


def graph_of(document: Document) -> GraphFile:
    """Read a context graph. Return it.

    Raises:
        WrongFile: it is not one.
    """
    given = _mapping(document)
    name = _checked(document, _Named, {"name": given.get("name")}).name
    body = complete_graph({key: value for key, value in given.items() if key != "name"})
    references = body["references"]
    files: dict[str, str] = {}
    pins: dict[str, tuple[str, int]] = {}
    if isinstance(references, Mapping):
        for key, target in cast("Mapping[str, Any]", references).items():
            if isinstance(target, str):
                files[key] = target
            elif isinstance(target, Mapping):
                pin = _checked(document, PinnedGraph, cast("Body", target), ("references", key))
                pins[key] = pin.graph, pin.version
        unknown = {key: [NOBODY, 1] for key in (*files, *pins)}
        body["references"] = {**cast("Mapping[str, Any]", references), **unknown}
    _require_named_tools(document, body)
    graph = _checked(document, ContextGraph, tool_uses.with_placeholders(body))
    if wrong := rules.problems(graph):
        raise WrongFile([document.problem(place, text) for place, text in wrong])
    return GraphFile(tool_uses.with_names_of(graph.model_dump(mode="json"), body), files, pins, name)


def _require_named_tools(document: Document, content: Body) -> None:
    if wrong := list(tool_uses.problems(content)):
        raise WrongFile([document.problem(place, text) for place, text in wrong])


def meaning_of(file: str, document: Document) -> object:
    """Read a file of a folder by its path. Return its content, complete, so that it can be compared.

    Raises:
        WrongFile: the content is wrong.
    """
    readers: dict[str, Callable[[Document], object]] = {AGENT: _agent, SERVICE: _service}
    kinds: dict[str, Callable[[Document], object]] = {"behaviors": _behavior, "conversations": _rehearsal}
    return readers.get(file, kinds.get(file.partition("/")[0], graph_of))(document)


class _Named(BaseModel):
    name: Name | None = None


def _agent(document: Document) -> tuple[str | None, Body]:
    agent = _checked(document, AgentFile, _mapping(document))
    return agent.name, agent.to_body()


def _service(document: Document) -> Body:
    return _checked(document, ServiceFile, _mapping(document)).to_body()


def _stem_name(service: str, file: str) -> str:
    return behavior_name(service, PurePosixPath(file).stem)


@dataclass(frozen=True, slots=True)
class _BehaviorRead:
    """A behaviour as its file has it; `actions` name tools as it does."""

    file: BehaviorFile
    actions: tuple[Body, ...]

    def to_body(self, name: str) -> Body:
        body = self.file.to_body(name)
        return {**body, "initial_version": {**body["initial_version"], "actions": list(self.actions)}}


def _behavior(document: Document) -> _BehaviorRead:
    stem = document.path.stem
    if not stem.isprintable():
        raise WrongFile([document.problem((), "The file's name is no text.")])
    given = complete_behavior(_mapping(document))
    _require_named_tools(document, given)
    file = _checked(document, BehaviorFile, tool_uses.with_placeholders(given))
    actions = tool_uses.with_names_of({"actions": [each.model_dump() for each in file.actions]}, given)["actions"]
    return _BehaviorRead(file, tuple(actions))


def _rehearsal(document: Document) -> Rehearsal:
    rehearsal = _checked(document, Rehearsal, _mapping(document))
    wrong = [
        document.problem(("turns", number), "A turn has either `user` or `event`.")
        for number, step in enumerate(rehearsal.turns)
        if (step.user is None) == (step.event is None)
    ]
    if rehearsal.opens == "user" and not rehearsal.turns:
        wrong.append(document.problem(("turns",), "The user opens this conversation, so it has a turn."))
    if wrong:
        raise WrongFile(wrong)
    return rehearsal


M = TypeVar("M", bound=BaseModel)


def _checked(document: Document, kind: type[M], body: Body, at: tuple[str, ...] = ()) -> M:
    """Check the body at a place of a document. Return it as its own type; fields that it does not know are mistakes."""
    try:
        value = kind.model_validate(body)
    except ValidationError as error:
        raise WrongFile(
            [
                _missing(document, (*at, *wrong["loc"]), kind)
                if wrong["type"] == "missing"
                else document.problem((*at, *wrong["loc"]), wrong["msg"])
                for wrong in problems.of_validation(error, body)
            ]
        ) from None
    if unknown := problems.unknown_fields(value, body):
        raise WrongFile([document.problem((*at, *place), _unknown(place[-1], kind)) for place in unknown])
    return value


def _missing(document: Document, place: problems.Place, kind: type[BaseModel]) -> Problem:
    """Say that a field is missing. Return the problem: of the field that was written in its place, if one is alike."""
    holder = _at(document.value, place[:-1])
    known = {name for model in _models(kind) for name in model.model_fields}
    written = [name for name in cast("Body", holder) if name not in known] if isinstance(holder, dict) else []
    for alike in get_close_matches(str(place[-1]), written, 1):
        return document.problem((*place[:-1], alike), f"The field {alike} is not known. Is {place[-1]} meant?")
    return document.problem(place, f"The field {place[-1]} is required.")


def _at(value: Any, place: problems.Place) -> Any:
    """Look for the value at a place. Return it, or None if the file has none there."""
    for step in place:
        try:
            value = value[step]
        except (IndexError, KeyError, TypeError):
            return None
    return value


def _unknown(field_name: object, kind: type[BaseModel]) -> str:
    """Say that a field is not known. Return the sentence, with the known field that is spelt most alike."""
    known = {name for model in _models(kind) for name in model.model_fields}
    alike = get_close_matches(str(field_name), known, 1)
    return f"The field {field_name} is not known.{f' Is {alike[0]} meant?' if alike else ''}"


@cache
def _models(kind: type[BaseModel]) -> frozenset[type[BaseModel]]:
    """Find the models that a model is made of. Return them, itself too."""
    inner = {model for field_ in kind.model_fields.values() for model in _models_in(field_.annotation)}
    return frozenset({kind}.union(*map(_models, inner)))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _mapping(document: Document) -> Body:
    if not isinstance(document.value, dict):
        raise WrongFile([document.problem((), "The file has fields, one a line: `name: value`.")])
    return cast("Body", document.value)


T = TypeVar("T")


class _Reading:
    """A folder while it is read: its documents, and the problems that were found in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.documents: dict[str, Document] = {}
        self.found: list[Problem] = []

    def files(self, collection: str) -> Iterator[str]:
        """List the files of one of the inner folders. Yield their paths; those of another ending are problems."""
        inside = self.folder / collection
        try:
            paths = sorted(inside.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            self.found.append(Problem(inside, 1, 1, f"This cannot be read as a folder: {error.strerror}."))
            return
        for path in paths:
            if path.suffix == ".yaml":
                yield f"{collection}/{path.name}"
            elif path.suffix in {".yml", ".json"}:
                self.found.append(Problem(path, 1, 1, "Files here end in .yaml: this one would not be read."))

    def tools(self) -> dict[str, ToolOfFolder]:
        """Read the tools of the folder. Return them by name; what is wrong is added to `found`."""
        found: dict[str, ToolOfFolder] = {}
        for tool, wrong in tools_in(self.folder):
            self.found += wrong
            if tool is None:
                continue
            if tool.name in found:
                self.found.append(Problem(self.folder / tool.file, 1, 1, f"{found[tool.name].file} has this name too."))
            found[tool.name] = tool
        return found

    def take(self, file: str, read_in: Callable[[Document], T]) -> T | None:
        """Read a file. Return its content, or None if it is wrong: its problems are added to `found`."""
        try:
            self.documents[file] = document = read(self.folder / file)
            return read_in(document)
        except WrongFile as wrong:
            self.found += wrong.problems
            return None


def _reference_problems(reading: _Reading, graphs: Mapping[str, GraphFile]) -> Iterator[Problem]:
    """Look at the files that graphs refer to. Yield a problem for each that is not there or leads in a circle."""
    wrong = {problem.path for problem in reading.found}
    for file, graph in graphs.items():
        for name, target in graph.references.items():
            if target not in graphs and reading.folder / target not in wrong:
                yield reading.documents[file].problem(
                    ("references", name), f"There is no file {target} in the folder: write graphs/NAME.yaml."
                )
            elif _leads_to(target, file, graphs):
                yield reading.documents[file].problem(("references", name), "These graphs refer to each other.")


def _leads_to(start: str, goal: str, graphs: Mapping[str, GraphFile]) -> bool:
    seen, waiting = set[str](), [start]
    while waiting:
        file = waiting.pop()
        if file == goal:
            return True
        if file not in seen and file in graphs:
            seen.add(file)
            waiting += graphs[file].references.values()
    return False
