"""CONTRIBUTING's table of changes: every usual one has its row, and the files that a row names exist."""

from pathlib import Path

import pytest

from support import pages

TITLE = "Where a change goes"
USUAL = {
    "a field on a resource",
    "a resource",
    "an operation",
    "a stream event or action",
    "a kind of condition",
    "a model or voice vendor",
    "a kind of graph state",
    "a job beside requests",
    "a face: another protocol over the same turns",
    "a page to look at",
}
PACKAGE = pages.ROOT / "src" / "tertulia"
RESOURCES = ("service", "user")
"""Resources that `X` may stand for in every folder."""

DRILLS = {
    row[0]: pages.codes(row[1])
    for row in pages.rows(pages.sections(pages.read("CONTRIBUTING.md"), 2)[TITLE])
    if row[0] != "Change"
}


def candidates(name: str) -> list[Path]:
    """List the places that a row may mean. Return one below the package, and one below the repository's root."""
    names = [name.replace("X.py", f"{resource}.py") for resource in RESOURCES] if "X.py" in name else [name]
    return [folder / found for found in names for folder in (PACKAGE, pages.ROOT)]


def test_every_usual_change_has_its_row() -> None:
    assert DRILLS.keys() >= USUAL


@pytest.mark.parametrize("drill", DRILLS)
def test_the_files_and_folders_of_a_row_exist(drill: str) -> None:
    files = [name for name in DRILLS[drill] if "." in name or "/" in name]

    assert files
    assert [name for name in files if not any(path.exists() for path in candidates(name))] == []
