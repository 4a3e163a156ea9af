"""System calls that Python has no function for, through libc."""

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
MACHINE = os.uname().machine

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47

_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION = 0x20080522
_SECUREBITS_NO_ROOT_LOCKED = 0x2F
_AMBIENT_CLEAR_ALL = 4


def syscall(number: int, *arguments: object) -> int:
    """Make a system call. Return its result.

    Raises:
        OSError: the kernel refuses.
    """
    result = LIBC.syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def prctl(option: int, *arguments: int) -> None:
    """Change an attribute of this process.

    Raises:
        OSError: the kernel refuses.
    """
    padded = [*arguments, 0, 0, 0, 0][:4]
    if LIBC.prctl(option, *map(ctypes.c_ulong, padded)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def drop_capabilities() -> None:
    """Give up all capabilities for good, those of root too.

    Raises:
        OSError: the kernel refuses to clear them.
    """
    for capability in range(64):
        _try_prctl(PR_CAPBSET_DROP, capability)
    _try_prctl(PR_SET_SECUREBITS, _SECUREBITS_NO_ROOT_LOCKED)
    _try_prctl(PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    syscall(_CAPSET[MACHINE], header, (ctypes.c_uint32 * 6)())


def _try_prctl(option: int, *arguments: int) -> None:
    """Change an attribute if this process may; an ordinary user may not, and has nothing to give up."""
    padded = [*arguments, 0, 0, 0, 0][:4]
    LIBC.prctl(option, *map(ctypes.c_ulong, padded))
