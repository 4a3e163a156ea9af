"""Functions and modules stay short, docstrings begin with their subject or a verb, and suppressions say why."""

import ast
import re

from support.pages import ROOT
from support.source import modules

HEADLESS = {"How", "It", "What", "When", "Where", "Whether", "Who"}
SUPPRESSION = re.compile(r"# (?:ruff: noqa|noqa|pyright: ignore|type: ignore|pragma: ).*")
REASON = re.compile(r" - \S+ \S+")
LONGEST_FUNCTION = 80
LONGEST_MODULE = 600


def test_functions_and_modules_are_short() -> None:
    found: list[tuple[str, int]] = []
    for path, module in modules("src").items():
        lines = len((ROOT / path).read_text("utf-8").splitlines())
        if lines > LONGEST_MODULE:
            found.append((path, lines))
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > LONGEST_FUNCTION and "/migrations/" not in path:
                    found.append((f"{path}:{node.name}", size))
    assert found == []


def test_no_docstring_begins_without_its_subject() -> None:
    found = [
        (path, node.lineno, text)
        for folder in ("src", "tests", "bench", "examples")
        for path, module in modules(folder).items()
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if (text := node.value.value.strip()).split(maxsplit=1)[0] in HEADLESS
    ]
    assert found == []


def test_every_suppression_says_why() -> None:
    silent = [
        (path, found[0])
        for folder in ("src", "tests", "bench")
        for path in modules(folder)
        for found in SUPPRESSION.finditer((ROOT / path).read_text("utf-8"))
        if not REASON.search(found[0])
    ]
    assert silent == []
