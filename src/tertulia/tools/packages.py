"""The files that a tool version runs from: its project, unpacked, and the packages of its lock, installed by uv.

Both are named by the digest of their content, stand in the cache once, and are read-only; what was lost or removed is
made again. Packages are installed from wheels with the hashes of the lock, so that nothing of them runs outside the
sandbox. The cache has a bound of bytes, and what nobody uses goes after a week.
"""

import asyncio
import hashlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import structlog

from tertulia.errors import BadTool
from tertulia.tools import archive, lock
from tertulia.tools.host import Host
from tertulia.tools.shelf import Hold, NotKept, Shelf, size_of, take_turn

log = structlog.get_logger()

Load = Callable[[str], Awaitable[bytes]]
"""Give the archive of a tool's project, of which the SHA-256 is given in hex."""

INSTALL_S = 180.0
MOST_BYTES = 2 << 30
PRUNED_EVERY_S = 600.0
_CHANGED = "changed"
"""The file whose time tells when packages were installed or removed last, and with them what uv alone holds."""
_PASSED_ON = ("PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class NotPrepared(Exception):
    """A tool version cannot be made ready. The text may be told to the caller."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The folders of a tool version. They stay until this is closed, and each other one of the same."""

    of_project: Hold
    of_packages: Hold | None

    @property
    def project(self) -> Path:
        """The folder of the tool's own files."""
        return self.of_project.path

    @property
    def packages(self) -> Path | None:
        """The folder of the packages that the tool needs, if it needs some."""
        return None if self.of_packages is None else self.of_packages.path

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that the tool reads."""
        return (self.project,) if self.packages is None else (self.project, self.packages)

    def another(self) -> "Prepared":
        """Hold the same folders once more. Return that."""
        return Prepared(self.of_project.another(), self.of_packages and self.of_packages.another())

    def close(self) -> None:
        """Let go of the folders."""
        self.of_project.close()
        if self.of_packages is not None:
            self.of_packages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Packages:
    """The cache of projects and packages, of `most_bytes` each, but for those in use."""

    def __init__(self, cache: Path, host: Host, load: Load, most_bytes: int = MOST_BYTES) -> None:
        self._cache = cache
        self._host = host
        self._load = load
        self._most_bytes = most_bytes
        self._projects = Shelf(cache / "projects", most_bytes)
        self._packages = Shelf(cache / "packages", most_bytes)
        self._keys: dict[str, str] = {}
        """By the digest of a project, the name of its packages, empty if it needs none."""
        self._tidying = asyncio.create_task(self._tidy_now_and_then())

    async def prepare(self, digest: str) -> Prepared:
        """Make a tool version ready. Return its folders, which the caller closes.

        Raises:
            NotPrepared: its archive is not the one of this digest, or its packages cannot be installed.
        """
        try:
            project = await self._projects.hold(digest, partial(self._unpack, digest))
            try:
                return Prepared(project, await self._needed(digest, project.path / lock.FILE))
            except BaseException:
                project.close()
                raise
        except BadTool as error:
            raise NotPrepared(error.detail) from error
        except (OSError, NotKept) as error:
            raise NotPrepared("The server cannot write the files of this version.") from error

    async def prune(self) -> None:
        """Remove what nobody has used for a week, and what was used longest ago if there is too much.

        Of all processes that share the cache one does it, and only if none has for a while.
        """
        turn = await asyncio.to_thread(take_turn, self._cache / "tidied", PRUNED_EVERY_S / 2)
        if turn is None:
            return
        with turn:
            await asyncio.to_thread(self._projects.prune)
            if await asyncio.to_thread(self._packages.prune):
                await asyncio.to_thread((self._cache / _CHANGED).touch)
            if await asyncio.to_thread(self._has_too_many_downloads):
                await self._remove_downloads()

    def _has_too_many_downloads(self) -> bool:
        """Return True if uv's own cache is too large; it is looked through only if it has changed since."""
        measured = self._cache / "measured"
        if _changed_at(self._cache / _CHANGED) < _changed_at(measured):
            return False
        measured.touch()
        return size_of(self._cache / "uv", shared=False, most=self._most_bytes) > self._most_bytes

    async def _remove_downloads(self) -> None:
        uv = find_uv()  # it waits for those of other workers that install
        if uv:
            await _run([*uv, "cache", "clean", "--quiet"], self._cache, _environment(os.environ, self._cache / "uv"))

    async def aclose(self) -> None:
        """Stop what is being made."""
        self._tidying.cancel()
        with suppress(asyncio.CancelledError):
            await self._tidying
        await self._projects.aclose()
        await self._packages.aclose()

    async def _needed(self, digest: str, locked: Path) -> Hold | None:
        if digest not in self._keys:
            text = await asyncio.to_thread(_text, locked)
            self._keys[digest] = self._key(text) if lock.check(text) else ""
        key = self._keys[digest]
        return await self._packages.hold(key, partial(self._install, locked)) if key else None

    async def _tidy_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(PRUNED_EVERY_S)
            try:
                await self.prune()
            except Exception:
                log.warning("copies of tools not removed", exc_info=True)

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
        try:
            await _run(command, folder, _environment(os.environ, self._cache / "uv"))
        finally:
            await asyncio.to_thread((self._cache / _CHANGED).touch)

    def _key(self, text: str) -> str:
        made_for = f"{sys.implementation.cache_tag} {platform.machine()} {self._host.python}\n{text}"
        return hashlib.sha256(made_for.encode()).hexdigest()


def _changed_at(path: Path) -> float:
    """Return the time of a file, in seconds since 1970; 0 if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def find_uv() -> list[str]:
    """Look for uv, on the path or as a module. Return the command, empty if there is none."""
    found = shutil.which("uv")
    if found:
        return [found]
    return [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else []


def _write(packed: bytes, folder: Path) -> None:
    for name, content in archive.unpack(packed).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


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
