"""Context graphs in files: checked as a server checks them, and drawn."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tertulia.cli.diagram import diagram_of, mermaid
from tertulia.cli.failure import CommandFailed
from tertulia.cli.svg import MOST_BOXES, svg
from tertulia.engine.graph import rules
from tertulia.engine.graph.context_graph import ContextGraph, Graphs
from tertulia.events import VersionInfo
from tertulia.files.document import Document, Problem, WrongFile, read
from tertulia.files.folder import graph_of
from tertulia.files.tool_uses import with_placeholders


def check(path: Path) -> list[Problem]:
    """Check a graph, and the files of the graphs that it refers to. Return its problems, in the order of its lines."""
    try:
        document = read(path)
        graph, others = _load(document)
    except WrongFile as wrong:
        return sorted(_told_once(wrong.problems), key=_place)
    wrong_places = rules.external_problems(graph, others)
    found = [document.problem(place, text) for place, text in wrong_places]
    for name in rules.unreached(graph):
        index = next(index for index, state in enumerate(graph.states) if state.name == name)
        text = f"Nothing leads from the initial states to {name}."
        if name == graph.terminal_state:
            text += " No conversation ends by itself."
        found.append(document.problem(("states", index), text))
    return sorted(found, key=_place)


def draw(path: Path, ending: str) -> str:
    """Draw a graph, as SVG if `ending` is `.svg`, else as Mermaid. Return the text of the drawing.

    Raises:
        CommandFailed: the file has no graph, or one that is too large to be looked at.
    """
    try:
        graph, _others = _load(read(path))
    except WrongFile as wrong:
        raise CommandFailed(str(wrong)) from None
    diagram = diagram_of(graph)
    if ending != ".svg":
        return mermaid(diagram)
    if len(diagram.boxes) > MOST_BOXES:
        raise CommandFailed(f"The graph has more than {MOST_BOXES} states; draw it as Mermaid (.mmd).")
    return svg(diagram)


def _told_once(problems: list[Problem]) -> list[Problem]:
    """Leave out problems without a place, which are told of line 1, if a place has the same. Return the rest."""
    placed = {problem.text for problem in problems if (problem.line, problem.column) != (1, 1)}
    return [problem for problem in problems if (problem.line, problem.column) != (1, 1) or problem.text not in placed]


def _place(problem: Problem) -> tuple[str, int, int]:
    return str(problem.path), problem.line, problem.column


def _load(document: Document) -> tuple[ContextGraph, Graphs]:
    """Read a graph, and all that it refers to by their files. Return it, and the others.

    Raises:
        WrongFile: one of them is wrong.
    """
    others: dict[VersionInfo, ContextGraph] = {}
    numbers: dict[Path, VersionInfo] = {}
    graph = _take(document, others, numbers)
    return graph, others


def _take(
    document: Document, others: dict[VersionInfo, ContextGraph], numbers: dict[Path, VersionInfo]
) -> ContextGraph:
    made = graph_of(document)
    references = dict(made.body["references"])
    for name, target, path in _files(document, made.references):
        if path is None:
            raise WrongFile([document.problem(("references", name), f"There is no file {target}.")])
        key = path.resolve()
        if key not in numbers:
            numbers[key] = (f"{len(numbers) + 1:024x}", 1)
            others[numbers[key]] = _take(read(path), others, numbers)
        references[name] = numbers[key]
    return ContextGraph.model_validate({**with_placeholders(made.body), "references": references})


def _files(document: Document, references: Mapping[str, str]) -> Iterator[tuple[str, str, Path | None]]:
    """Look for the files of referenced graphs: beside the graph, or in the folder of the agent above it."""
    for name, target in references.items():
        folders = (document.path.parent, document.path.parent.parent)
        yield name, target, next((path for folder in folders if (path := folder / target).is_file()), None)
