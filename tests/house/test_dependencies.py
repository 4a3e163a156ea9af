"""Imports are declared, declarations are used, and both locks pin them alike."""

import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.pages import ROOT
from support.source import imports, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
OURS = {"tertulia", "bench", "tests", "conftest", "support", "durability", "operations", "providers", "tools"}
UNSEEN = {
    "basedpyright": "a command",
    "editables": "hatchling's, for an editable install",
    "email-validator": "Pydantic's, for EmailStr",
    "fastapi-offline": "the files of the page of the API",
    "hatchling": "builds the package",
    "import-linter": "a command",
    "pytest-xdist": "a plugin of pytest",
    "python-dotenv": "the official client's tests",
    "python-multipart": "Starlette's, for forms",
    "ruff": "a command",
    "tzdata": "zoneinfo's, on machines without one",
    "uv": "a command",
    "uvloop": "uvicorn's event loop",
}
"""Packages that are declared though nothing imports them, and whose they are."""


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


CORE = names(PROJECT["project"]["dependencies"])
EXTRAS = set[str]().union(*map(names, PROJECT["project"]["optional-dependencies"].values()))
DEV = names([line for line in PROJECT["dependency-groups"]["dev"] if isinstance(line, str)])
BUILD = names(PROJECT["dependency-groups"]["build"])
OWNERS = packages_distributions()
"""Distributions by the modules that they bring; reading all their metadata takes a second."""


@cache
def imported(folder: str) -> dict[str, str]:
    """Find the distributions that a folder imports. Returns for each a file that does."""
    found: dict[str, str] = {}
    for path, module in modules(folder).items():
        if path.startswith("bench/peers/"):  # each has requirements of its own
            continue
        for name, _line in imports(module):
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in OURS:
                owners = OWNERS.get(top) or [top]
                found |= {canonicalize_name(owner): path for owner in owners}
    return found


@pytest.mark.parametrize(("folder", "declared"), [("src", CORE | EXTRAS), ("tests", CORE | EXTRAS | DEV | BUILD)])
def test_every_import_is_declared(folder: str, declared: set[str]) -> None:
    assert {name: path for name, path in imported(folder).items() if name not in declared} == {}


def test_every_declaration_is_used() -> None:
    assert (CORE | EXTRAS) & (imported("src").keys() | UNSEEN.keys()) == CORE | EXTRAS
    assert DEV & (imported("tests").keys() | imported("bench").keys() | UNSEEN.keys()) == DEV
    assert UNSEEN.keys() <= CORE | EXTRAS | DEV | BUILD


def pins(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text("utf-8")
    return {line.split(" \\")[0]: "" for line in text.splitlines() if re.match(r"[a-z0-9]", line)}


def test_those_who_run_it_have_the_versions_that_are_tested() -> None:
    run, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert run.keys() <= dev.keys()
    assert {name.partition("==")[0] for name in run} >= CORE | EXTRAS


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_has_hashes_and_names_no_index(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert "://" not in text
    assert "--index" not in text
    blocks = re.split(r"\n(?=[a-z0-9])", text)
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
