"""A service of a server as the files of a folder, which change nothing when they are applied there."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tertulia.files.bodies import Body
from tertulia.files.compact import agent_value, behavior_value, graph_value, service_value
from tertulia.files.folder import AGENT, GRAPH, SERVICE, behavior_name, graph_name
from tertulia.files.template import heading
from tertulia.files.writing import to_yaml

Version = tuple[str, int]
"""The id of a graph and the number of a version."""

_LONGEST: Final = 60
"""Characters of the name of a file."""
_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)")


@dataclass(frozen=True, slots=True)
class Pulled:
    """A service with its parts, in the versions that are wanted.

    `graphs` are those that become files: the service's own, `graph`, and all that they refer to in their latest
    versions. `names` are the names of graphs by their ids.
    """

    service: Body
    agent_name: str
    agent: Body
    graph: Version
    graphs: Mapping[Version, Body]
    names: Mapping[str, str]
    behaviors: Sequence[Body]


def values_of(pulled: Pulled) -> dict[str, Body]:
    """Write a service as files. Return the value of each by its path."""
    service = str(pulled.service["name"])
    paths = dict(_graph_paths(pulled))
    values = {AGENT: agent_value(pulled.agent, pulled.agent_name, service)}
    for version, path in paths.items():
        body = pulled.graphs[version]
        references = {key: _reference(pulled, paths, target) for key, target in body["references"].items()}
        name = pulled.names.get(version[0], version[0])
        values[path] = graph_value(body, references, name, graph_name(service, path))
    values[SERVICE] = service_value(pulled.service)
    stems = _Stems("behavior")
    for body in pulled.behaviors:
        stem = stems.take(str(body["name"]).removeprefix(behavior_name(service, "")))
        values[f"behaviors/{stem}.yaml"] = behavior_value(body, behavior_name(service, stem))
    return values


def texts_of(pulled: Pulled) -> dict[str, str]:
    """Write a service as files. Return the text of each by its path."""
    return {path: f"{heading(path)}{to_yaml(value)}" for path, value in values_of(pulled).items()}


def _graph_paths(pulled: Pulled) -> Iterator[tuple[Version, str]]:
    """Give each graph a file, called as the first reference to it is. Yield each with its path."""
    yield pulled.graph, GRAPH
    stems = _Stems("graph")
    seen, waiting = {pulled.graph}, [pulled.graph]
    while waiting:
        for key, target in sorted(pulled.graphs[waiting.pop(0)]["references"].items()):
            version = (str(target[0]), int(target[1]))
            if version not in seen and version in pulled.graphs:
                seen.add(version)
                waiting.append(version)
                yield version, f"graphs/{stems.take(key)}.yaml"


def _reference(pulled: Pulled, paths: Mapping[Version, str], target: Sequence[Any]) -> Any:
    version = (str(target[0]), int(target[1]))
    if version in paths and version != pulled.graph:
        return paths[version]
    name = pulled.names.get(version[0])
    return [*version] if name is None else {"graph": name, "version": version[1]}


class _Stems:
    """The names of files in one folder, none of them twice, also for those who do not tell capitals apart."""

    def __init__(self, otherwise: str) -> None:
        self._otherwise = otherwise
        self._taken = set[str]()

    def take(self, name: str) -> str:
        stem = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:_LONGEST].strip("-") or self._otherwise
        if _RESERVED.fullmatch(stem):
            stem = f"{self._otherwise}-{stem}"
        number, chosen = 1, stem
        while chosen.casefold() in self._taken:
            number += 1
            chosen = f"{stem}-{number}"
        self._taken.add(chosen.casefold())
        return chosen
