"""The start of a confined process: what it is told to keep, and the command that starts it."""

import asyncio
import marshal
import os
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tertulia.tools.confinement import landlock
from tertulia.tools.host import Host, Rules
from tertulia.tools.manifest import Manifest
from tertulia.tools.packages import Prepared

MEGABYTE = 1 << 20
KILOBYTE = 1 << 10
_TASKS_ABOVE = 512
"""Threads and processes that a tool's user may have beside those that there are: a backstop of the system's own."""
_COMMAND = (
    "import sys; sys.path.append({server!r}); from tertulia.tools.confinement import boot; boot.main()"
)  # fmt: skip
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Started:
    """A confined process, and this end of its control socket."""

    process: subprocess.Popen[bytes]
    control: socket.socket


async def start(host: Host, manifest: Manifest, prepared: Prepared, scratch: Path, user: int | None) -> Started:
    """Start the process of a tool version, and tell it what it may keep. Return it before it has loaded the tool.

    Raises:
        OSError: it cannot be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    spawning = asyncio.ensure_future(asyncio.to_thread(_spawn, host, prepared, scratch, user, theirs))
    try:
        ours.setblocking(False)
        ours.send(marshal.dumps(_configuration(host, manifest, prepared, scratch), 4))
        return Started(await asyncio.shield(spawning), ours)
    except BaseException:
        ours.close()
        spawning.add_done_callback(_discard)  # the thread cannot be stopped
        raise


def _discard(spawning: asyncio.Future[subprocess.Popen[bytes]]) -> None:
    if not spawning.cancelled() and spawning.exception() is None:
        process = spawning.result()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # bubblewrap has a child, which would wait for it for ever
        process.wait()


def _spawn(
    host: Host, prepared: Prepared, scratch: Path, user: int | None, control: socket.socket
) -> subprocess.Popen[bytes]:
    """Start the process with the other end of its control socket, which is closed here. Return it."""
    with control:
        return _popen(host, prepared, scratch, user, control.fileno())


def _popen(host: Host, prepared: Prepared, scratch: Path, user: int | None, control: int) -> subprocess.Popen[bytes]:
    command = [host.python, "-I", "-S", "-c", _COMMAND.format(server=host.server), str(control)]
    return subprocess.Popen(  # noqa: S603 - the command is the server's own
        host.wrapped(command, [str(folder) for folder in prepared.folders], str(scratch)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(control,),
        env=_ENVIRONMENT,
        cwd="/",
        umask=0o077,
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )


def _configuration(host: Host, manifest: Manifest, prepared: Prepared, scratch: Path) -> dict[str, Any]:
    limits, alone = manifest.limits, manifest.limits.processes == 1
    own = tuple((str(folder), landlock.READ) for folder in prepared.folders)
    programs: Rules = () if alone else host.runnable
    return {
        "server": host.server,
        "project": str(prepared.project),
        "packages": str(prepared.packages) if prepared.packages else "",
        "module": manifest.module,
        "function": manifest.function,
        "network": bool(manifest.hosts),
        "alone": alone,
        "answer_bytes": limits.answer_kb * KILOBYTE,
        "limits": {
            "AS": limits.memory_mb * MEGABYTE,
            "CPU": limits.cpu_seconds,
            "FSIZE": limits.disk_mb * MEGABYTE,
            "NPROC": _tasks() + _TASKS_ABOVE,
        },
        "rules": [*host.readable, *own, *programs, (str(scratch), landlock.OWN)],
        "call_rules": [*host.reaches(landlock.READ if alone else landlock.RUN), *own],
    }


def _tasks() -> int:
    """Count the threads of the system. Return their number, as the system tells it."""
    with open("/proc/loadavg") as told:
        return int(told.read().split()[3].partition("/")[2])
