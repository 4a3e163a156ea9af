"""Folders that can be made again, kept on a shelf that several processes share, and removed when nobody uses them.

A process that uses a folder holds a shared lock on it; a process that removes one takes an exclusive lock first. A
folder loses its name before its files are removed, so no process finds half of it.
"""

import asyncio
import fcntl
import math
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

Make = Callable[[Path], Awaitable[None]]
"""Fill a folder that is there and empty."""

UNUSED_S = 7 * 24 * 3600.0
"""The time after which a folder that nobody uses is removed, in seconds."""
LEFT_S = 3600.0
"""The time after which a folder that was never finished counts as left by a process that died, in seconds."""
_NOTED_EVERY_S = 60.0
_TRIES = 5
_MAKING, _GOING = ".making-", ".going-"


class NotKept(Exception):
    """A folder that is removed as often as it is made."""


class Hold:
    """A folder in use; nobody removes it until each hold on it is closed."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def another(self) -> "Hold":
        """Hold the same folder once more. Return that hold, which is closed by itself."""
        return Hold(self.path, os.dup(self._descriptor))

    def close(self) -> None:
        """Let go of the folder; a second time it does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Found:
    """A folder on the shelf: when somebody has used it last, in seconds since 1970, and its bytes."""

    path: Path
    used_at: float
    size: int


class Shelf:
    """A shelf: a folder of folders, of `most_bytes` in all. Those that several calls need at once are made once."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._making: dict[str, asyncio.Task[None]] = {}
        self._sizes: dict[tuple[str, int], int] = {}

    async def hold(self, name: str, make: Make) -> Hold:
        """Find a folder, or make it. Return a hold on it.

        Raises:
            NotKept: others remove it each time.
            Exception: whatever `make` raises.
        """
        for tried in range(_TRIES):
            held = self.find(name)
            if held is not None:
                return await self._with_room(held) if tried else held
            task = self._making.get(name)
            if task is None:
                task = self._making[name] = asyncio.create_task(_made(self._folder / name, make))
                task.add_done_callback(partial(self._forget, name))
            await asyncio.shield(task)
        raise NotKept

    def find(self, name: str) -> Hold | None:
        """Look for a folder. Return a hold on it, None if it is not there; faster than a thread that looks."""
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        held = Hold(path, descriptor)
        try:
            _lock(descriptor, fcntl.LOCK_SH)
            found, there = os.fstat(descriptor), path.stat()
            if (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino):
                _note_use(descriptor, found.st_mtime)
                return held
        except OSError:  # it is about to go
            pass
        held.close()
        return None

    async def aclose(self) -> None:
        """Stop what is being made."""
        for task in list(self._making.values()):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    def prune(self) -> int:
        """Remove folders that nobody has used for a week, and those used longest ago until the rest is small enough.

        Folders in use stay, however large. Return how many were removed.
        """
        removed, now = 0, time.time()
        found = self._look(now)
        held = sum(entry.size for entry in found)
        for entry in sorted(found, key=lambda entry: entry.used_at):
            if (held > self._most_bytes or now - entry.used_at > UNUSED_S) and _remove(entry.path):
                removed += 1
                held -= entry.size
        return removed

    async def _with_room(self, held: Hold) -> Hold:
        """Make room for a folder that was just made. Return the hold on it."""
        try:
            await asyncio.to_thread(self.prune)
        except BaseException:
            held.close()
            raise
        return held

    def _look(self, now: float) -> Sequence[_Found]:
        """List the folders, and remove what was left half made or half removed. Return them."""
        found: list[_Found] = []
        sizes: dict[tuple[str, int], int] = {}
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    seen = entry.stat(follow_symlinks=False)
                    if entry.name.startswith((_MAKING, _GOING)):
                        if now - seen.st_mtime > LEFT_S:
                            shutil.rmtree(entry.path, ignore_errors=True)
                        continue
                    known = (entry.name, seen.st_ino)
                    sizes[known] = self._sizes.get(known) or size_of(entry.path)
                    found.append(_Found(Path(entry.path), seen.st_mtime, sizes[known]))
        self._sizes = sizes
        return found

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        del self._making[name]
        if not task.cancelled():
            task.exception()  # those who waited have it


def take_turn(path: Path, every_s: float) -> Hold | None:
    """Take the turn at work of which a file is the token: one process has it at a time, and not more often than that.

    Return a hold on the file, to be closed when the work is done; None if it is not this process's turn.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    turn = Hold(path, descriptor)
    try:
        _lock(descriptor, fcntl.LOCK_EX)
        seen = os.fstat(descriptor)
        if seen.st_size and 0 <= time.time() - seen.st_mtime < every_s:
            raise BlockingIOError
        os.pwrite(descriptor, b"\n", 0)
    except OSError:
        turn.close()
        return None
    return turn


def size_of(folder: str | Path, *, shared: bool = True, most: float = math.inf) -> int:
    """Measure a folder. Return its bytes on the disk; without `shared`, those of files that have no other name.

    No more is looked at once there are more than `most`.
    """
    held = 0
    for place, _, names in os.walk(folder):
        if held > most:
            break
        for name in names:
            with suppress(OSError):
                seen = os.lstat(os.path.join(place, name))
                held += seen.st_blocks * 512 if shared or seen.st_nlink == 1 else 0
    return held


def _lock(descriptor: int, kind: int) -> None:
    """Lock a folder. Raises BlockingIOError if somebody has locked it otherwise; file systems without locks do not."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        if kind == fcntl.LOCK_EX:  # nobody can tell if it is in use: it stays
            raise


def _note_use(descriptor: int, noted_at: float) -> None:
    if time.time() - noted_at > _NOTED_EVERY_S:
        with suppress(OSError):
            os.utime(descriptor)


async def _made(target: Path, make: Make) -> None:
    """Make a folder whole, then give it its name; another process may be faster."""
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_MAKING, dir=target.parent))
    try:
        await make(folder)
        await asyncio.to_thread(_close, folder)
        os.rename(folder, target)
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if not await asyncio.to_thread(target.is_dir):
            raise


def _close(folder: Path) -> None:
    """Let everyone read a folder, and nobody write it."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            path.chmod(0o555 if path.stat().st_mode & 0o100 else 0o444)
        Path(place).chmod(0o755)


def _remove(path: Path) -> bool:
    """Remove a folder unless somebody uses it. Return True if it is gone."""
    going = path.with_name(f"{_GOING}{secrets.token_hex(8)}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        _lock(descriptor, fcntl.LOCK_EX)
        os.rename(path, going)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(going, ignore_errors=True)
    return True
