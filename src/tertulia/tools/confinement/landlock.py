"""Landlock: which files a process may reach, and that it connects nowhere (linux/landlock.h).

A restriction cannot be undone, and holds for all processes that follow. A second one narrows the first.
"""

from __future__ import annotations

import ctypes
import os

from tertulia.tools.confinement import kernel

TYPE_CHECKING = False  # typing takes longer to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_FIRST = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_NET = 3  # bind and connect
_SCOPED = 3  # abstract sockets and signals

READ = _READ_FILE | _READ_DIR
LIST = _READ_DIR
RUN = READ | _EXECUTE
USE = _READ_FILE | _WRITE_FILE
"""Read and write a device."""
OWN = (_FIRST | _REFER | _TRUNCATE) & ~(_EXECUTE | _MAKE_CHAR | _MAKE_BLOCK | _MAKE_SOCK)
"""Do all with files and folders, but execute nothing, and make neither devices nor sockets."""

SIGNALS_ABI = 6
"""The version from which signals stay within the walls."""
TRUNCATE_ABI = 3


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("fd", ctypes.c_int32))


def abi() -> int:
    """Ask the kernel for its version of Landlock. Return 0 if there is none."""
    try:
        return kernel.syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def make_ruleset(rules: Iterable[tuple[str, int]]) -> int:
    """Make a ruleset: files beneath these paths, each with its rights. A path that is not there is left out.

    Return its descriptor.

    Raises:
        OSError: the kernel refuses.
    """
    version = abi()
    handled = _FIRST | _from(version, 2, _REFER) | _from(version, TRUNCATE_ABI, _TRUNCATE) | _from(version, 5, _IOCTL)
    attributes = _RulesetAttributes(handled, _from(version, 4, _NET), _from(version, SIGNALS_ABI, _SCOPED))
    size = 24 if version >= SIGNALS_ABI else 16 if version >= 4 else 8
    ruleset = kernel.syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    for path, rights in rules:
        try:
            add(ruleset, path, rights & handled)
        except FileNotFoundError:
            continue
    return ruleset


def restrict(ruleset: int) -> None:
    """Confine this process, which has no new privileges any more, by a ruleset.

    Raises:
        OSError: the kernel refuses.
    """
    kernel.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def own_rights() -> int:
    """List the rights to a folder of one's own. Return those of `OWN` that the kernel knows."""
    version = abi()
    return OWN & (_FIRST | _from(version, 2, _REFER) | _from(version, TRUNCATE_ABI, _TRUNCATE))


def add(ruleset: int, path: str, rights: int) -> None:
    """Add files to a ruleset that restricts nobody yet.

    Raises:
        OSError: the path cannot be opened, or the kernel refuses.
    """
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        is_folder = (os.fstat(opened).st_mode & 0o170000) == 0o040000
        rule = _PathBeneath(rights if is_folder else rights & _OF_FILES, opened)
        kernel.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)


def _from(version: int, first: int, rights: int) -> int:
    return rights if version >= first else 0
