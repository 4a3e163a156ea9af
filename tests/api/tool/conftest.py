"""Tools made by the API alone, as a client of the contract makes them."""

import io
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest

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


@pytest.fixture
def tool(as_admin: httpx2.Client) -> str:
    """A tool without a version. Its identifier."""
    body = samples.tool(a_tool_name())
    return str(as_admin.post("/tool/", json=body).raise_for_status().json()["id"])


@pytest.fixture
def publish(as_admin: httpx2.Client) -> Publish:
    """Publishes an archive as a version of a tool."""

    def send(tool_id: str, bump: str = "major", archive: bytes | None = None) -> httpx2.Response:
        sent = an_echo() if archive is None else archive
        path, kind = f"/tool/{tool_id}/version/archive", {"content-type": "application/gzip"}
        return as_admin.post(path, params={"bump_type": bump}, content=sent, headers=kind)

    return send


def shown(client: httpx2.Client, tool_id: str) -> Any:
    """Show a tool as the list has it. Return it."""
    (found,) = client.get("/tool/", params={"id": tool_id}).raise_for_status().json()["tools"]
    return found
