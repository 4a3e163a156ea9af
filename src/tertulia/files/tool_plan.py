"""The change of one tool on a server for it to have what a folder holds. Pure: values in, values out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tertulia.files.tools import ToolOfFolder
from tertulia.files.writing import to_yaml

MOST_IN_USE: Final = 3
"""Versions of a tool that a server has in use at once."""
_SHOWN: Final = 12
"""Characters of a fingerprint that people are shown."""

Numbers = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ToolVersionOnServer:
    """A version of a tool."""

    numbers: Numbers
    fingerprint: str
    input_schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolOnServer:
    """A tool. `in_use` are its versions in use, the oldest first; `latest` is the number of the last one, if any.

    `variables` are the names of its environment variables.
    """

    id: str
    name: str
    description: str
    variables: frozenset[str] = frozenset()
    in_use: Sequence[ToolVersionOnServer] = ()
    latest: Numbers | None = None


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """A change of a tool. `version` is the one to be published, `retired` the one that is taken out of use for it.

    Both are empty if there is none. `bump` is the number that counts up; `missing` are variables that the tool lacks.
    """

    before: str
    after: str
    describes: bool
    """True if the description is another."""
    bump: str
    version: str
    retired: str
    missing: tuple[str, ...]

    def notes(self, name: str) -> Iterator[str]:
        """Look for what the person should know. Yield a sentence for each."""
        if self.retired:
            yield f"The tool {name} may have {MOST_IN_USE} versions in use: {self.retired} is taken out of use."
        if self.version and self.bump != "major":
            yield f"Every graph whose constraint admits version {self.version} of the tool {name} calls it at once."
        if self.missing:
            yield f"The tool {name} needs variables that only you can set: {', '.join(self.missing)}."


def plan_tool(tool: ToolOfFolder, known: ToolOnServer | None) -> ToolPlan | None:
    """Compare a tool of a folder with the one of its name on a server. Return the change, or None."""
    newest = known.in_use[-1] if known and known.in_use else None
    publishes = newest is None or newest.fingerprint != tool.fingerprint
    describes = known is not None and known.description != tool.description
    if not publishes and not describes:
        return None
    latest = known.latest if known else None
    following = (1, 0, 0) if latest is None else (latest[0], latest[1] + 1, 0)
    full = known is not None and len(known.in_use) >= MOST_IN_USE
    return ToolPlan(
        before="" if known is None else _shown(known.description, newest),
        after=_shown(tool.description, ToolVersionOnServer(following, tool.fingerprint, tool.input_schema)),
        describes=describes,
        bump="major" if latest is None else "minor",
        version=_text(following) if publishes else "",
        retired=_text(known.in_use[0].numbers) if known and publishes and full else "",
        missing=tuple(
            name for name in sorted(tool.variables) if publishes and name not in (known.variables if known else ())
        ),
    )


def _shown(description: str, version: ToolVersionOnServer | None) -> str:
    content = {"content": version.fingerprint[:_SHOWN], "input_schema": dict(version.input_schema)} if version else {}
    return to_yaml({"description": description, **content})


def _text(numbers: Numbers) -> str:
    return ".".join(map(str, numbers))
