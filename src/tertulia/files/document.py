"""YAML and JSON files that remember where each value stands.

The values are those of YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema), of which JSON is a part:
`no`, `on` and dates are texts. A key has at most 1,024 characters.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, cast

import yaml

from tertulia.problems import Place

LARGEST_BYTES = 2_000_000
DEEPEST = 100
"""Levels of lists and mappings within each other."""
MOST_VALUES = 200_000
"""Values of a document; one that is used in two places counts twice."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a file. Lines and columns count from 1."""

    path: Path
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.text}"


class WrongFile(Exception):
    """A file, or a folder of them, with mistakes. `problems` are in the order of their places."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Document:
    """A file's value, and the line and column of each part of it."""

    path: Path
    value: Any
    places: Mapping[Place, tuple[int, int]]

    def problem(self, place: Place, text: str) -> Problem:
        """Say what is wrong with a value. Return the problem, at the nearest place that the file has."""
        while place not in self.places:
            place = place[:-1]
        return Problem(self.path, *self.places[place], text)


class _Loader(yaml.SafeLoader):
    """PyYAML without the types of YAML 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as its base class has it


_loader: Any = _Loader  # PyYAML has no types

SCALARS = tuple(
    (f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})\\Z"), beginnings)
    for kind, pattern, beginnings in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?[0-9]+", list("-+0123456789")),
        ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    )
)
"""The tag, the pattern and the first characters of each kind of scalar that is no text."""

for _scalar in SCALARS:
    _loader.add_implicit_resolver(*_scalar)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))  # a leading zero means nothing here


def _construct_text(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))  # JSON escapes one character as two halves, which YAML does not join
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


_loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_loader.add_constructor("tag:yaml.org,2002:str", _construct_text)


def read(path: Path) -> Document:
    """Read a file. Return its value with the places of all parts.

    Raises:
        WrongFile: the file cannot be read, or is neither YAML nor JSON.
    """
    try:
        if path.exists() and not path.is_file():
            raise WrongFile([Problem(path, 1, 1, "This is no file.")])
        with path.open("rb") as file:
            body = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        raise WrongFile([Problem(path, 1, 1, _missing(path))]) from None
    except OSError as error:
        raise WrongFile([Problem(path, 1, 1, error.strerror or "The file cannot be read.")]) from None
    return parse(path, body)


def _missing(path: Path) -> str:
    """Say that a file is not there. Return the text, with the name of one that is nearly called so."""
    beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    near = [one.name for one in beside if one.stem.lower() == path.stem.lower() and one.is_file()]
    return f"There is no such file; {near[0]} should be called so." if near else "There is no such file."


def parse(path: Path, body: bytes) -> Document:
    """Parse the content of a file. Return its value with the places of all parts.

    Raises:
        WrongFile: the content is neither YAML nor JSON.
    """
    try:
        if len(body) > LARGEST_BYTES:
            raise WrongFile([Problem(path, 1, 1, f"The file has more than {LARGEST_BYTES} bytes.")])
        text = body.decode("utf-8-sig")
        if path.suffix == ".json":  # in which a tab is a space, as it is not in YAML
            text = text.replace("\t", " ")
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
        places: dict[Place, tuple[int, int]] = {(): (1, 1)}
        return Document(path, _value(path, loader, node, (), places), places)
    except UnicodeDecodeError as error:
        raise WrongFile([Problem(path, *_end_of(body[: error.start].decode()), "The file is not UTF-8.")]) from None
    except yaml.MarkedYAMLError as error:
        raise WrongFile([_unread(path, body, error)]) from None
    except yaml.reader.ReaderError as error:
        code = error.character if isinstance(error.character, int) else ord(error.character)
        told = f"The character U+{code:04X} is not allowed here; write it as an escape."
        place = _end_of(body.decode("utf-8-sig")[: error.position])
        raise WrongFile([Problem(path, *place, told)]) from None
    except yaml.YAMLError as error:
        raise WrongFile([Problem(path, 1, 1, _sentence(str(error)))]) from None
    except RecursionError:
        raise WrongFile([Problem(path, 1, 1, "The file is nested too deeply.")]) from None
    except (ValueError, OverflowError):  # an escape that is no character
        raise WrongFile([Problem(path, 1, 1, "The file has an escape that stands for no character.")]) from None


def _unread(path: Path, body: bytes, error: yaml.MarkedYAMLError) -> Problem:
    """Say why YAML, or JSON in a file that is named so, cannot be read. Return the problem."""
    if path.suffix == ".json":
        with suppress(ValueError, RecursionError):  # of numbers and depth that JSON would have
            try:
                json.loads(body)
            except json.JSONDecodeError as wrong:
                return Problem(path, wrong.lineno, wrong.colno, f"This is no JSON: {wrong.msg.lower()}.")
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Problem(path, line, column, _sentence(error.problem or error.context or ""))


def _end_of(text: str) -> tuple[int, int]:
    """Find the line and the column that follow a text. Return them."""
    text = text.removeprefix("\ufeff")
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def _value(
    path: Path, loader: _Loader, node: yaml.Node | None, place: Place, places: dict[Place, tuple[int, int]]
) -> Any:
    """Take the value of a node. Return it; its places are noted."""
    if node is None:
        return None
    mark = node.start_mark.line + 1, node.start_mark.column + 1
    places[place] = mark
    if len(place) > DEEPEST:
        raise WrongFile([Problem(path, *mark, f"Values are nested more than {DEEPEST} deep.")])
    if len(places) > MOST_VALUES:
        raise WrongFile([Problem(path, *mark, f"The file has more than {MOST_VALUES} values.")])
    if isinstance(node, yaml.SequenceNode):
        return [_value(path, loader, item, (*place, n), places) for n, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(path, loader, node, place, places)
    try:
        value: Any = cast("Any", loader).construct_object(node)
    except (AttributeError, KeyError, OverflowError, ValueError):  # a tag that does not fit, or digits without end
        raise WrongFile([Problem(path, *mark, "This value is not of its type.")]) from None
    if isinstance(value, float) and not isfinite(value):
        raise WrongFile([Problem(path, *mark, "This number is too large.")])
    return value


def _mapping(
    path: Path, loader: _Loader, node: yaml.MappingNode, place: Place, places: dict[Place, tuple[int, int]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise WrongFile([Problem(path, line, column, "A key is a text.")])
        key = _construct_text(loader, key_node)
        if key in found:
            raise WrongFile([Problem(path, line, column, f"The key {key} stands here twice.")])
        found[key] = _value(path, loader, value_node, (*place, key), places)
        places[(*place, key)] = line, column
    return found


def _sentence(text: str) -> str:
    if r"'\t'" in text:
        return "A tab stands here; YAML is indented by spaces."
    if text.startswith("could not determine a constructor for the tag"):
        return "A tag (`!name`) means nothing here: write the value without it."
    if text == "but found another document":
        return "A second document begins here; a file has one."
    return f"{text[:1].upper()}{text[1:]}."
