"""The keeper of a command: a process that runs one for a server, and leaves nothing of it when either has ended.

It is run by itself, as `python keeper.py PARENT COMMAND...`, with nothing but the standard library. The command has the
keeper's input and outputs. When it ends, or when the parent dies or sends SIGTERM, all of its descendants are killed,
those too that have left its process group.
"""

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_GRACE_S = 0.7
_MOST_ROUNDS = 1000
_NOT_FOUND = 127


def main() -> NoReturn:
    """Run a command to its end, and end with its status."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    child = os.fork()
    if child == 0:
        _become(command)
    for held in range(3):
        os.close(held)  # the command's end is seen at its pipes
    status = _wait(child)
    _leave_nothing()
    os._exit(status)


def _become(command: list[str]) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD})
    with suppress(OSError):
        os.execvp(command[0], command)  # noqa: S606 - the operator's own command
    os._exit(_NOT_FOUND)


def _wait(child: int) -> int:
    """Wait until a child ends, or is to end. Return its exit status."""
    until = float("inf")
    while time.monotonic() < until:
        ended, status = _reaped()
        if ended == child:
            return os.waitstatus_to_exitcode(status) & 0xFF
        if ended:
            continue
        got = signal.sigtimedwait({signal.SIGTERM, signal.SIGCHLD}, min(until - time.monotonic(), 3600))
        if got is not None and got.si_signo == signal.SIGTERM and until == float("inf"):
            until = time.monotonic() + _GRACE_S
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
    return 1


def _leave_nothing() -> None:
    """Kill the descendants, generation by generation: those of a killed one become this process's children."""
    for _ in range(_MOST_ROUNDS):
        children = _children()
        if not children:
            return
        for child in children:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _children() -> list[int]:
    """Find the children of this process. Return their identifiers."""
    while _reaped()[0]:
        pass
    found: list[int] = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as told:
            if int(told.read().rpartition(b")")[2].split()[1]) == os.getpid():
                found.append(int(name))
    return found


def _reaped() -> tuple[int, int]:
    """Reap a child that has ended. Return its identifier and status, or zeros if there is none."""
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 0, 0


if __name__ == "__main__":
    main()
