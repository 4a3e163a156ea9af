"""The documentation as the tests read it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")), *(ROOT / "docs").rglob("*.md")]
)

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block; `info` is what follows its fence."""

    info: str
    text: str


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[Block]:
    for match in _FENCE.finditer(text):
        yield Block(match["info"].strip(), match["text"])


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def codes(text: str) -> list[str]:
    """Find what is set as code within a line."""
    return _CODE.findall(text)


def rows(text: str) -> Iterator[list[str]]:
    """The cells of every row of every table, the lines below the headings excepted."""
    for line in prose(text).splitlines():
        if line.startswith("|") and not set(line) <= set("|-: "):
            cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
            yield [cell.strip().replace("\\|", "|") for cell in cells]


def sections(text: str, level: int) -> dict[str, str]:
    """Split a page at the headings of a level, and of those above. Return what stands below each heading."""
    found: dict[str, str] = {}
    title = ""
    for line in text.splitlines():
        heading = re.match(r"(#+) (.*)", line)
        if heading and len(heading[1]) <= level:
            title = heading[2].strip() if len(heading[1]) == level else ""
            if title:
                found[title] = ""
        elif title:
            found[title] += line + "\n"
    return found


def anchors(text: str) -> set[str]:
    """The fragments that a page's headings can be linked by, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}
