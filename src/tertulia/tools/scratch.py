"""The folder of one call, which the tool may write: made, measured and removed by the server."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

MOST_FILES = 2000


def make(parent: Path, name: str, user: int | None) -> Path:
    """Make the folder of a call. Return it."""
    folder = parent / name
    folder.mkdir(mode=0o700)
    if user is not None:
        os.chown(folder, user, user)
    return folder


def excess(folder: Path, most_bytes: int) -> str:
    """Measure a folder. Return the reason if it holds too much, else an empty text.

    It looks at no more files than there may be.
    """
    files, held, folders = 0, 0, [str(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                files += 1
                if files > MOST_FILES:
                    return f"The tool has written more than {MOST_FILES} files."
                held += _bytes(entry.stat(follow_symlinks=False))
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                if held > most_bytes:
                    return f"The tool has written more than {most_bytes} bytes."
    return ""


def removed_but_open(process: int) -> int:
    """Measure files that a process holds open and that have no name any more. Return their bytes."""
    held = 0
    with suppress(OSError):
        for name in os.listdir(f"/proc/{process}/fd"):
            with suppress(OSError):
                found = os.stat(f"/proc/{process}/fd/{name}")
                held += _bytes(found) if stat.S_ISREG(found.st_mode) and found.st_nlink == 0 else 0
    return held


def remove(folder: Path) -> None:
    """Remove a folder that a tool has filled, however deep and whatever its modes, when no process of it is left.

    Folders within are emptied into the folder itself, so that depth costs neither recursion nor long paths.
    """
    while True:
        with os.scandir(folder) as entries:
            found = list(entries)
        if not found:
            break
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                _empty_into(Path(entry.path), folder)
            else:
                os.unlink(entry.path)
    folder.rmdir()


def _empty_into(inner: Path, folder: Path) -> None:
    inner.chmod(0o700)
    with os.scandir(inner) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                Path(entry.path).chmod(0o700)  # a folder without the right to write cannot be moved
            os.rename(entry.path, folder / secrets.token_hex(16))
    inner.rmdir()


def _bytes(found: os.stat_result) -> int:
    return max(found.st_blocks * 512, 0 if stat.S_ISDIR(found.st_mode) else min(found.st_size, 4096))
