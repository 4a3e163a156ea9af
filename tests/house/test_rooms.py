"""Every module stands in a contract of import-linter, so that its neighbours are chosen and not found."""

import tomllib
from typing import Any

from support.pages import ROOT

CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
    "contracts"
]


def packages() -> set[str]:
    """Find the packages within the program. Returns their dotted names."""
    source = ROOT / "src"
    folders = (path.parent for path in source.glob("tertulia/*/**/__init__.py"))
    return {".".join(folder.relative_to(source).parts) for folder in folders}


def members(contract: dict[str, Any]) -> set[str]:
    """Collect the modules that a contract is about. Returns their dotted names."""
    layers = [name.strip() for layer in contract.get("layers", []) for name in layer.replace(":", "|").split("|")]
    within = {f"{container}.{name}" for container in contract.get("containers", []) for name in layers}
    return within | {*contract.get("containers", []), *contract.get("modules", []), *contract.get("source_modules", [])}


def test_every_module_stands_in_a_layer_of_its_package() -> None:
    layered = [one for one in CONTRACTS if one["type"] == "layers"]
    assert [one["name"] for one in layered if not one.get("exhaustive")] == []
    held = {container for one in layered for container in one["containers"]}
    assert packages() - held == {"tertulia.storage.migrations"}, "which is laid out as Alembic asks"


def test_a_contract_names_only_what_is_there() -> None:
    for name in set[str]().union(*map(members, CONTRACTS)):
        path = ROOT / "src" / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


def test_no_room_needs_itself() -> None:
    assert any(one["type"] == "acyclic_siblings" and one["ancestors"] == ["tertulia"] for one in CONTRACTS)
