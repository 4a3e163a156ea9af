"""Tools for tests: their names, their archives, and the view that lists give."""

import io
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from support import samples
from support.samples import Json

MANIFEST = """
name = "echo"
[environment]
plain = {plain}
secret = {secret}
[input_schema]
type = "object"
required = ["say"]
[input_schema.properties.say]
type = "string"
pattern = "^(a+)+$"
"""
ECHO = """
def run(arguments, context):
    return {"said": arguments["say"], "plain": context.user_variables, "secret": context.secret_user_variables,
            "environment": context.environment, "mode": context.mode}
"""

Publish = Callable[..., httpx2.Response]


def a_tool_name() -> str:
    """Make up a name of a tool. Return one that nothing else has."""
    return samples.a_name().lower().replace(" ", "_")


def an_archive(files: Mapping[str, str]) -> bytes:
    """Pack files as `tar czf` does, in a folder of their own. Return the archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(f"project/{path}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def an_echo(*, plain: tuple[str, ...] = (), secret: tuple[str, ...] = (), code: str = ECHO) -> bytes:
    """Pack a tool that answers with what it is given. Return the archive."""
    names: Json = {"plain": list(plain), "secret": list(secret)}
    return an_archive({"tool.toml": MANIFEST.format(**names), "tool.py": code})


def shown(client: httpx2.Client, tool_id: str) -> Any:
    """Show a tool as the list has it. Return it."""
    (found,) = client.get("/tool/", params={"id": tool_id}).raise_for_status().json()["tools"]
    return found
