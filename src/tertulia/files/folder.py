"""A folder with an agent: what its files hold, complete with the defaults, and checked as far as no server is needed.

agent.yaml          who speaks
graph.yaml          the context graph
graphs/NAME.yaml    graphs that it refers to: `references: {NAME: graphs/NAME.yaml}`
service.yaml        the service that joins the two
behaviors/*.yaml    its dynamic behaviours
conversations/*.yaml    conversations that it must hold
"""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from tertulia import problems
from tertulia.engine.graph import rules
from tertulia.engine.graph.context_graph import ContextGraph
from tertulia.files.bodies import AgentFile, BehaviorFile, Body, ServiceFile, complete_graph
from tertulia.files.document import Document, Problem, WrongFile, read

_NOBODY = "0" * 24
"""The id that a reference has until its graph is on a server."""


@dataclass(frozen=True, slots=True)
class GraphFile:
    """A context graph. `references` name the files of the graphs that it refers to; in the body they have no ids."""

    body: Body
    references: Mapping[str, str]


class Step(BaseModel):
    """A step of a conversation: the words that are said, and all that must come of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    finished: bool = False


class Rehearsal(BaseModel):
    """A conversation that the agent must hold, with the model that repeats at least."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    opens: Literal["agent", "user"] = "agent"
    opening: Step = Step()
    """What must come of the agent's first message."""
    turns: list[Step]
    result: dict[str, Any] | None = None
    """The structured result, field by field."""


@dataclass(frozen=True, slots=True)
class AgentFolder:
    """The content of a folder. `graphs` and `conversations` are by the names of their files."""

    name: str
    agent: Body
    graph: GraphFile
    graphs: Mapping[str, GraphFile]
    service: Body
    behaviors: tuple[Body, ...]
    conversations: Mapping[str, Rehearsal]


def load(folder: Path) -> AgentFolder:
    """Read a folder. Return its content.

    Raises:
        WrongFile: files are missing or wrong; all problems are told at once.
    """
    found: list[Problem] = []
    loaded = AgentFolder(
        name=folder.resolve().name,
        agent=_take(folder / "agent.yaml", _agent, found) or {},
        graph=_take(folder / "graph.yaml", graph_of, found) or GraphFile({}, {}),
        graphs={
            path.relative_to(folder).as_posix(): taken
            for path in sorted(folder.glob("graphs/*.yaml"))
            if (taken := _take(path, graph_of, found))
        },
        service=_take(folder / "service.yaml", _service, found) or {},
        behaviors=tuple(
            taken for path in sorted(folder.glob("behaviors/*.yaml")) if (taken := _take(path, _behavior, found))
        ),
        conversations={
            path.stem: taken
            for path in sorted(folder.glob("conversations/*.yaml"))
            if (taken := _take(path, _rehearsal, found))
        },
    )
    found += _missing_graphs(folder, loaded, {problem.path for problem in found})
    if found:
        raise WrongFile(found)
    return loaded


def graph_of(document: Document) -> GraphFile:
    """Read a context graph. Return it.

    Raises:
        WrongFile: it is not one.
    """
    body = complete_graph(_mapping(document))
    references = body["references"]
    files: dict[str, str] = {}
    if isinstance(references, Mapping):
        given = cast("Mapping[str, Any]", references)
        files = {name: target for name, target in given.items() if isinstance(target, str)}
        body["references"] = {name: [_NOBODY, 1] if name in files else target for name, target in given.items()}
    graph = _checked(document, ContextGraph, body)
    if wrong := rules.problems(graph):
        raise WrongFile([document.problem(place, text) for place, text in wrong])
    return GraphFile(graph.model_dump(mode="json"), files)


def _agent(document: Document) -> Body:
    return _checked(document, AgentFile, _mapping(document)).to_body()


def _service(document: Document) -> Body:
    return _checked(document, ServiceFile, _mapping(document)).to_body()


def _behavior(document: Document) -> Body:
    return _checked(document, BehaviorFile, _mapping(document)).to_body(document.path.stem)


def _rehearsal(document: Document) -> Rehearsal:
    rehearsal = _checked(document, Rehearsal, _mapping(document))
    wrong = [
        document.problem(("turns", number), "A turn has either `user` or `event`.")
        for number, step in enumerate(rehearsal.turns)
        if (step.user is None) == (step.event is None)
    ]
    if wrong:
        raise WrongFile(wrong)
    return rehearsal


M = TypeVar("M", bound=BaseModel)


def _checked(document: Document, kind: type[M], body: Body) -> M:
    """Check the body that a document gives. Return it as its own type; fields that it does not know are mistakes."""
    try:
        value = kind.model_validate(body)
    except ValidationError as error:
        raise WrongFile(
            [document.problem(tuple(wrong["loc"]), wrong["msg"]) for wrong in problems.of_validation(error, body)]
        ) from None
    if unknown := problems.unknown_fields(value, body):
        raise WrongFile([document.problem(place, f"The field {place[-1]} is not known.") for place in unknown])
    return value


def _mapping(document: Document) -> Body:
    if not isinstance(document.value, dict):
        raise WrongFile([document.problem((), "The file has fields, one a line: `name: value`.")])
    return cast("Body", document.value)


T = TypeVar("T")


def _take(path: Path, read_in: Callable[[Document], T], found: list[Problem]) -> T | None:
    """Read a file. Return its content, or None if it is wrong: its problems are added to `found`."""
    try:
        return read_in(read(path))
    except WrongFile as wrong:
        found += wrong.problems
        return None


def _missing_graphs(folder: Path, loaded: AgentFolder, wrong: Set[Path]) -> Iterator[Problem]:
    """Look for the graphs that are referred to. Yields a problem for each that is not there."""
    files = {folder / "graph.yaml": loaded.graph} | {folder / name: graph for name, graph in loaded.graphs.items()}
    for path, graph in files.items():
        for name, target in graph.references.items():
            if target not in loaded.graphs and folder / target not in wrong:
                yield read(path).problem(("references", name), f"There is no file {target} in the folder.")
