"""The reference names what there is, all of it, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi.routing import APIRoute
from pydantic import BaseModel, SecretStr

from operations import OPERATIONS
from support import pages
from tertulia import events
from tertulia.app import create_app
from tertulia.cli.main import app as commands
from tertulia.cli.options import variable
from tertulia.errors import TertuliaError
from tertulia.settings import Settings


def code(cell: str) -> str:
    """The code of a cell that is nothing else."""
    found = pages.codes(cell)
    return found[0] if len(found) == 1 and cell == f"`{found[0]}`" else ""


# --- Settings --------------------------------------------------------------------------------------------------------


def settings_of(settings: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """Each setting as its variable, its place in the file, and its default."""
    for name, value in settings:
        here = (*path, name)
        if isinstance(value, BaseModel):
            yield from settings_of(value, here)
        elif isinstance(value, dict) and path:
            yield variable(here), ".".join(here), "{}"
        elif isinstance(value, dict):
            yield variable((*here, "name")), f"{name}.NAME", "none"
        else:
            yield variable(here), ".".join(here), default_of(value)


def default_of(value: Any) -> str:
    match value:
        case SecretStr():
            return value.get_secret_value() or "empty"
        case tuple():
            return ",".join(value) or "empty"
        case float():
            return f"{value:g}"
        case Path() | int() | str():
            return str(value) or "empty"
        case _:
            raise AssertionError(f"no form for {value!r}")


def test_every_setting_is_documented_with_its_default_and_no_other_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERTULIA_CONFIG", "/nowhere")
    monkeypatch.delenv("TERTULIA_DATA", raising=False)  # a command of this process leaves it
    table = [row for row in pages.rows(pages.read("docs/reference/settings.md")) if len(row) == 4]
    documented = {
        (code(variable_), code(place), pages.codes(default)[0] if pages.codes(default) else default)
        for variable_, place, default, _meaning in table
        if code(variable_)
    }
    assert documented == set(settings_of(Settings()))


# --- Events ----------------------------------------------------------------------------------------------------------


def fields_of(kinds: list[type[Any]]) -> dict[str, list[str]]:
    return {
        str(kind.__struct_config__.tag): list(kind.__struct_encode_fields__)
        for kind in kinds
        if kind.__struct_config__.tag
    }


def test_every_event_is_documented_with_its_fields_and_no_other_is():
    text = pages.sections(pages.read("docs/reference/events.md"), 2)["Events"]
    documented = {
        code(title): [code(row[0]) for row in pages.rows(body) if code(row[0])]
        for title, body in pages.sections(text, 3).items()
    }
    assert documented == fields_of(events.Event.__subclasses__())


def test_every_action_is_documented_with_its_fields_and_no_other_is():
    text = pages.sections(pages.read("docs/reference/events.md"), 2)["Actions"]
    documented = {code(row[0]): pages.codes(row[1]) for row in pages.rows(text) if code(row[0])}
    assert documented == fields_of(events.Action.__subclasses__())


# --- Errors ----------------------------------------------------------------------------------------------------------


def errors_below(error: type[TertuliaError]) -> Iterator[type[TertuliaError]]:
    yield error
    for kind in error.__subclasses__():
        yield from errors_below(kind)


def test_every_error_is_documented_with_its_status_and_no_other_is():
    documented = {
        (code(row[1]), int(code(row[0])))
        for row in pages.rows(pages.read("docs/reference/errors.md"))
        if len(row) == 3 and code(row[0]).isdigit()
    }
    known = {
        (kind.__name__, kind.status)
        for kind in errors_below(TertuliaError)
        if kind.__module__.startswith("tertulia.") and not kind.__name__.startswith("_")
    }
    assert documented == known


# --- Commands --------------------------------------------------------------------------------------------------------


def commands_of(group: Any, path: str) -> Iterator[tuple[str, set[str]]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{path} {name}")
        else:
            named = [*command.params]
            yield f"{path} {name}", {_shown(param) for param in named if "--help" not in param.opts}


def _shown(param: Any) -> str:
    longest = max(param.opts, key=len)
    return longest if longest.startswith("-") else longest.upper()


def test_every_command_is_documented_with_its_options_and_no_other_is():
    documented = {
        code(title): {code(row[0]).partition(" ")[0] for row in pages.rows(body) if code(row[0])}
        for title, body in pages.sections(pages.read("docs/reference/cli.md"), 3).items()
        if code(title)
    }
    assert documented == dict(commands_of(typer.main.get_command(commands), "tertulia"))


# --- Operations ------------------------------------------------------------------------------------------------------


def documented_operations() -> list[list[str]]:
    return [row for row in pages.rows(pages.read("docs/reference/api.md")) if len(row) == 5 and code(row[0])]


def test_every_operation_is_documented_with_its_path_and_limit_and_no_other_is():
    documented = {code(row[0]): (code(row[1]), row[3]) for row in documented_operations()}
    assert documented == {
        operation.id: (f"{operation.method} {operation.path}", str(operation.per_minute or "none"))
        for operation in OPERATIONS
    }


def test_every_operation_is_documented_with_its_permissions():
    documented = {code(row[0]): set(pages.codes(row[2])) for row in documented_operations()}
    assert documented == {operation.id: set(operation.permissions) for operation in OPERATIONS}


def test_the_operators_endpoints_are_documented():
    routes = [route for route in create_app(Settings()).routes if isinstance(route, APIRoute)]
    hidden = {f"GET {route.path}" for route in routes if not route.include_in_schema}
    assert hidden <= set(pages.codes(pages.read("docs/reference/api.md")))
