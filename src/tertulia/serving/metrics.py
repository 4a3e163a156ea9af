"""The folder in which the workers of a server count together, and those that killed servers have left behind."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "tertulia-metrics-"
_LOCK = ".lock"


@contextmanager
def shared_folder() -> Generator[None]:
    """Have the workers that are started in the block count in one folder. It goes with the block."""
    remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        os.environ[VARIABLE] = folder
        held = hold(folder)
        try:
            yield
        finally:
            os.close(held)


def hold(folder: str) -> int:
    """Keep a folder from being taken for abandoned while this process lives. Return the descriptor that does so."""
    descriptor = os.open(Path(folder) / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def remove_abandoned() -> None:
    """Remove this user's folders that no process holds any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if folder.stat(follow_symlinks=False).st_uid == os.geteuid() and _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # another server has removed it, or is making it
            continue


def _is_abandoned(folder: Path) -> bool:
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
