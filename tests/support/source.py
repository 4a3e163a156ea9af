"""The repository's own Python, read and parsed once: what the tests of the house look at."""

import ast
from collections.abc import Iterator
from functools import cache

from support.pages import ROOT


@cache
def modules(folder: str) -> dict[str, ast.Module]:
    """Parse the modules of a folder. Returns them by their path in the repository."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}


def imports(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the full name of each module that a module imports, and its line."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module, node.lineno
