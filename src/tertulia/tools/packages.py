"""The files that a tool version runs from: its project, unpacked, and the packages of its lock, installed by uv.

Both are named by the digest of their content, stand in the cache once, and are read-only; whatever is lost is made
again. Packages are installed from wheels with the hashes of the lock, so that nothing of them runs outside the sandbox.
"""

import asyncio
import hashlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from tertulia.errors import BadTool
from tertulia.tools import archive, lock
from tertulia.tools.host import Host

log = structlog.get_logger()

Load = Callable[[str], Awaitable[bytes]]
"""Give the archive of a tool's project, of which the SHA-256 is given in hex."""
Make = Callable[[Path], Awaitable[None]]
"""Fill a folder that is there and empty."""

INSTALL_S = 180.0
_PASSED_ON = ("PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class NotPrepared(Exception):
    """A tool version cannot be made ready. The text may be told to the caller."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The folders of a tool version."""

    project: Path
    packages: Path | None

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that the tool reads."""
        return (self.project,) if self.packages is None else (self.project, self.packages)


class Packages:
    """The cache of projects and packages. What several calls need at once is made once."""

    def __init__(self, cache: Path, host: Host, load: Load) -> None:
        self._cache = cache
        self._host = host
        self._load = load
        self._making: dict[str, asyncio.Task[Path]] = {}
        self._ready: dict[str, Prepared] = {}

    async def prepare(self, digest: str) -> Prepared:
        """Make a tool version ready. Return its folders.

        Raises:
            NotPrepared: its archive is not the one of this digest, or its packages cannot be installed.
        """
        ready = self._ready.get(digest)
        if ready is None or not _is_there(ready):  # removed when nobody needed it
            ready = self._ready[digest] = await self._prepared(digest)
        return ready

    async def aclose(self) -> None:
        """Stop what is being made."""
        for task in list(self._making.values()):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def _prepared(self, digest: str) -> Prepared:
        project = await self._once(self._cache / "projects" / digest, partial(self._unpack, digest))
        locked = project / lock.FILE
        text = await asyncio.to_thread(_text, locked)
        if not lock.check(text):
            return Prepared(project, None)
        target = self._cache / "packages" / self._key(text)
        return Prepared(project, await self._once(target, partial(self._install, locked)))

    async def _once(self, target: Path, make: Make) -> Path:
        if await asyncio.to_thread(target.is_dir):
            return target
        task = self._making.get(target.name)
        if task is None:
            task = asyncio.create_task(_made(target, make))
            self._making[target.name] = task
            task.add_done_callback(partial(self._forget, target.name))
        return await asyncio.shield(task)

    def _forget(self, name: str, task: asyncio.Task[Path]) -> None:
        del self._making[name]
        if not task.cancelled():
            task.exception()  # those who waited have it

    async def _unpack(self, digest: str, folder: Path) -> None:
        packed = await self._load(digest)
        if archive.digest(packed) != digest:
            raise NotPrepared("The archive of this version is damaged.")
        await asyncio.to_thread(_write, packed, folder)

    async def _install(self, locked: Path, folder: Path) -> None:
        uv = find_uv()
        if not uv:
            raise NotPrepared("The tool needs packages, and this server has no uv to install them.")
        command = [
            *uv, "pip", "install", "--quiet", "--require-hashes", "--no-build", "--no-deps", "--no-progress",
            "--python", self._host.python, "--target", str(folder), "--compile-bytecode", "--requirements", str(locked),
        ]  # fmt: skip
        await _run(command, folder, _environment(os.environ, self._cache / "uv"))

    def _key(self, text: str) -> str:
        made_for = f"{sys.implementation.cache_tag} {platform.machine()} {self._host.python}\n{text}"
        return hashlib.sha256(made_for.encode()).hexdigest()


def _is_there(prepared: Prepared) -> bool:
    """Look for a project. Return True if it is there; a look at one folder is faster than a thread that looks."""
    return prepared.project.is_dir()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def find_uv() -> list[str]:
    """Look for uv, on the path or as a module. Return the command, empty if there is none."""
    found = shutil.which("uv")
    if found:
        return [found]
    return [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else []


async def _made(target: Path, make: Make) -> Path:
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        await make(folder)
        await asyncio.to_thread(_close, folder)
        os.rename(folder, target)
    except BaseException as error:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if not await asyncio.to_thread(target.is_dir):  # else another process was faster
            raise _told(error) from error
    return target


def _told(error: BaseException) -> BaseException:
    if isinstance(error, BadTool):
        return NotPrepared(error.detail)
    if isinstance(error, OSError):
        return NotPrepared("The server cannot write the files of this version.")
    return error


def _write(packed: bytes, folder: Path) -> None:
    for name, content in archive.unpack(packed).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _close(folder: Path) -> None:
    """Let everyone read a folder, and nobody write it."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            path.chmod(0o555 if path.stat().st_mode & 0o100 else 0o444)
        Path(place).chmod(0o755)


def _environment(given: Mapping[str, str], cache: Path) -> dict[str, str]:
    passed = {name: value for name, value in given.items() if name.upper() in _PASSED_ON or name.startswith("UV_")}
    return passed | {"UV_CACHE_DIR": str(cache), "UV_NO_MANAGED_PYTHON": "1", "UV_LINK_MODE": "hardlink"}


async def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(INSTALL_S):
            _, told = await process.communicate()
    except TimeoutError:
        raise NotPrepared(f"The packages could not be installed in {INSTALL_S:.0f} seconds.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        log.warning("tool_packages_not_installed", reason=told.decode(errors="replace")[-2000:])
        raise NotPrepared("The packages of requirements.lock could not be installed from wheels with these hashes.")
