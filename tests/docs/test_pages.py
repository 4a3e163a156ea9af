"""Links lead somewhere, and commands exist."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from support import pages
from tertulia.cli.main import app as commands

_LINK = re.compile(r"\]\((?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
_SOURCE = re.compile(r'src(?:set)?="(?P<path>[^"]+)"')
_MAKE = re.compile(r"(?:^|[$\s])make ([a-z]+)", re.MULTILINE)
_TERTULIA = re.compile(r"(?:^|[$(/\s])tertulia ([a-z]+)", re.MULTILINE)

GENERATED = frozenset({"docs/reference/performance.md"})
"""Pages that `make bench` writes: they come and go."""

every_page = pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(pages.ROOT)))


def shown(page: Path) -> str:
    """All code of a page, blocks and lines."""
    text = page.read_text(encoding="utf-8")
    return "\n".join([*(block.text for block in pages.blocks(text)), *pages.codes(pages.prose(text))])


@every_page
def test_the_links_of_a_page_lead_somewhere(page: Path):
    text = pages.prose(page.read_text(encoding="utf-8"))
    for match in _LINK.finditer(text):
        path, anchor = match["path"], match["anchor"]
        if path.startswith(("http://", "https://", "mailto:")):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{match[0]} leads nowhere"
        if anchor:
            assert anchor in pages.anchors(target.read_text(encoding="utf-8")), f"{match[0]} has no such heading"
    for match in _SOURCE.finditer(text):
        assert (page.parent / match["path"]).exists(), match["path"]


@every_page
def test_the_make_targets_of_a_page_exist(page: Path):
    targets = set(re.findall(r"^([a-z]+):", pages.read("Makefile"), re.MULTILINE))
    assert set(_MAKE.findall(shown(page))) <= targets


@every_page
def test_the_commands_of_a_page_exist(page: Path):
    group: Any = typer.main.get_command(commands)
    assert set(_TERTULIA.findall(shown(page))) <= set(group.commands)


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set[Path](), {pages.ROOT / "README.md"}
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = [match["path"] for match in _LINK.finditer(pages.prose(page.read_text(encoding="utf-8")))]
        targets = {(page.parent / link).resolve() for link in links if link.endswith(".md") and "://" not in link}
        waiting |= targets - reached
    unreached = [str(page.relative_to(pages.ROOT)) for page in set(pages.PAGES) - reached]
    assert set(unreached) <= GENERATED, "link them in docs/README.md, or in docs/decisions/README.md"
