"""Sandboxes for tests: at each level of confinement that this machine gives, with tools made of a few lines."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tertulia.tools import archive
from tertulia.tools import host as hosts
from tertulia.tools.host import Host
from tertulia.tools.sandbox import Sandbox
from tertulia.tools.values import ToolCall, ToolProgram

USERS = 1_999_999_900
"""Users that nobody else is."""

_ASK = "import sys, sysconfig; print(sys.base_prefix, sysconfig.get_path('stdlib'), *sys.version_info[:2])"


@cache
def levels() -> dict[str, Host]:
    """List the levels of confinement that can be had here: as the user who runs the tests, as root and as an ordinary
    user if that is root; with bubblewrap, and under the rules of a container, which refuse it. Return them by name."""
    host = replace(hosts.probe(), users=0)
    users = {"root" if os.geteuid() == 0 else "user": host}
    if os.geteuid() == 0 and (ordinary := _open_to_all(host)) is not None:
        users["user"] = ordinary
    found = {f"{user}-container": replace(level, bubblewrap="") for user, level in users.items()}
    if host.bubblewrap:
        found |= {f"{user}-bubblewrap": level for user, level in users.items()}
    return found


def _open_to_all(host: Host) -> Host | None:
    """Choose a Python that any user may run. Return None if there is none."""
    for python in (vars(sys)["_base_executable"], "/usr/bin/python3", "/usr/local/bin/python3"):
        if shutil.which(python) is None:
            continue
        told = subprocess.run([python, "-I", "-c", _ASK], capture_output=True, text=True, check=True).stdout.split()
        real = os.path.realpath(python)
        if hosts._open_to_others(Path(real)) and (int(told[2]), int(told[3])) >= (3, 11):
            return replace(host, python=real, prefix=told[0], stdlib=told[1], users=USERS)
    return None


@contextmanager
def open_folder() -> Generator[Path]:
    """Make a folder that any user may enter. Yield it."""
    folder = Path(tempfile.mkdtemp(prefix="tertulia-tools-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def packed(files: Mapping[str, str]) -> tuple[bytes, ToolProgram]:
    """Pack a project. Return its archive, and the program that it is."""
    content = {name: text.encode() for name, text in files.items()}
    made = archive.pack(content)
    manifest = archive.project_manifest(content)
    return made, ToolProgram(
        "org", manifest.name, "1.0.0", "code", manifest.definition(), manifest.input_schema, archive.digest(made)
    )


def project(code: str, toml: str = "", **more: str) -> dict[str, str]:
    """Make a project of one module. Return its files."""
    head = f'name = "sample"\n{toml}\n[input_schema]\ntype = "object"\n'
    return {"tool.toml": head, "tool.py": code, **more}


def arguments(**given: Any) -> ToolCall:
    """Make a call with these arguments. Return it."""
    return ToolCall(given, "key-1", {}, {}, {})


async def no_connection(host: str, port: int) -> socket.socket:
    """Refuse a connection."""
    raise PermissionError(f"{host}:{port} is refused")


@asynccontextmanager
async def opened(host: Host, *archives: bytes, connect: Any = no_connection, **options: Any) -> AsyncGenerator[Sandbox]:
    """Open a sandbox that knows these archives. Yield it; at the end nothing is left of it."""
    known = {archive.digest(made): made for made in archives}

    async def load(digest: str) -> bytes:
        return known[digest]

    with open_folder() as folder:
        sandbox = Sandbox(folder / "cache", load, connect, host, **options)
        try:
            yield sandbox
        finally:
            await sandbox.aclose()
            left = list((folder / "cache" / "scratch").glob("*"))
            assert left == []
