"""Things that threads share are made before they have them."""

import ast
from collections.abc import Iterator

import pytest

from support.source import modules

SHARED = {path: module for path, module in modules("src").items() if "msgspec" in ast.unparse(module)}
PLAIN = {"dict[str, Any]"}
"""Types that msgspec keeps nothing of."""


def learnt(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each type that a function has msgspec learn, as it is written, and its line."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            match ast.unparse(node.func), node.args, [item for item in node.keywords if item.arg == "type"]:
                case "msgspec.convert", [_, kind], _:
                    yield ast.unparse(kind), node.lineno
                case (("msgspec.convert" | "msgspec.json.decode"), _, [kind]):
                    yield ast.unparse(kind.value), node.lineno
                case _:
                    pass


def known(module: ast.Module) -> set[str]:
    """Find the types that decoders of the module itself are made for. Returns them as they are written."""
    decoders = (
        node
        for statement in module.body
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "msgspec.json.Decoder"
    )
    return {ast.unparse(node.args[0]) for node in decoders}


def test_msgspec_learns_a_type_while_its_module_is_imported() -> None:
    """Threads that teach it the same class at once can end the process with a segmentation fault."""
    late = [
        f"{path}:{line}: msgspec learns {kind} when it is first used"
        for path, module in SHARED.items()
        for kind, line in learnt(module)
        if kind not in known(module) | PLAIN
    ]
    assert late == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def read(value):\n return msgspec.convert(value, Grant)", {"Grant"}),
        ("def read(value):\n return msgspec.json.decode(value, type=list[Grant])", {"list[Grant]"}),
        ("msgspec.json.Decoder(Grant)\ndef read(value):\n return msgspec.convert(value, type=Grant)", set[str]()),
    ],
)
def test_a_type_that_is_learnt_late_is_found(text: str, expected: set[str]) -> None:
    module = ast.parse(text)
    assert {kind for kind, _ in learnt(module)} - known(module) == expected
