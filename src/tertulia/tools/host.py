"""The host: which confinement it gives, and which of its files a tool needs to run at all."""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tertulia
from tertulia.tools.confinement import landlock, seccomp

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_DATA = (
    "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
    "/usr/share/zoneinfo", "/etc/localtime",
)  # fmt: skip
_PROGRAMS = ("/bin", "/usr/bin")
_NOT_STANDARD = frozenset({"site-packages", "dist-packages"})
_FIRST_USER = 1_900_000_000
_USERS_OF_A_PROCESS = 50
_ALL_USERS = 4_294_967_295
_OVER_USERS = sum(1 << capability for capability in (0, 1, 3, 5, 6, 7))
"""CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SETGID and CAP_SETUID (linux/capability.h)."""
_TRIAL_S = 10.0

Rules = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Host:
    """The host of tools. An empty text or a zero is a lack; `users` is the first of the user ids that tools run as."""

    landlock: int
    seccomp: bool
    bubblewrap: str
    python: str
    prefix: str
    stdlib: str
    users: int = 0

    @property
    def confines(self) -> bool:
        """Tell if a tool can be confined: by system calls always, and its files by Landlock or by bubblewrap."""
        return self.seccomp and bool(self.landlock or self.bubblewrap)

    @property
    def server(self) -> str:
        """The folder that holds the package of the server, of which a tool's process loads a small part at first."""
        return str(Path(tertulia.__file__).parent.parent)

    def user(self, slot: int) -> int | None:
        """Choose the user id for a process of tools. Return None if it stays this process's own."""
        return self.users + slot % _USERS_OF_A_PROCESS if self.users else None

    @cached_property
    def readable(self) -> Rules:
        """The files of the host that any tool may read: Python's own library, shared libraries, certificates, zones."""
        standard = [entry.path for entry in os.scandir(self.stdlib) if entry.name not in _NOT_STANDARD]
        shared = [str(path) for folder in (f"{self.prefix}/lib", "/usr/local/lib") for path in _shared(folder)]
        return (
            (self.stdlib, landlock.LIST),
            *[(path, landlock.READ) for path in [*standard, *shared, *_LIBRARIES, *_DATA]],
            *[(f"/dev/{name}", landlock.READ) for name in ("urandom", "random", "zero")],
            ("/dev/null", landlock.USE),
        )

    @cached_property
    def runnable(self) -> Rules:
        """The programs of the host that a tool with several processes may run."""
        paths = [*_PROGRAMS, *_LIBRARIES, f"{self.prefix}/bin", os.path.realpath(self.python)]
        return tuple((path, landlock.RUN) for path in paths)

    def reaches(self, rights: int) -> Rules:
        """List the host's folders that hold all the above. Return them with these rights."""
        folders = dict.fromkeys(map(os.path.realpath, ("/usr", "/lib", "/lib64", "/bin", "/etc", self.prefix)))
        return (*[(folder, rights) for folder in folders], ("/dev", landlock.USE | landlock.LIST))

    def wrapped(self, command: list[str], reads: list[str], owns: str) -> list[str]:
        """Put bubblewrap before a command, if it works here. Return the command."""
        if not self.bubblewrap:
            return command
        inside = f"{self.server}/tertulia"
        code = [f"{inside}/__init__.py", f"{inside}/tools/__init__.py", f"{inside}/tools/confinement"]
        folders = ["/usr", *_LIBRARIES, *_PROGRAMS, *_DATA, self.prefix, *code, *reads]
        bound = [part for folder in folders for part in ("--ro-bind-try", folder, folder)]
        return [
            self.bubblewrap, "--unshare-all", "--cap-drop", "ALL", "--dev", "/dev",
            *bound, "--bind", owns, owns, "--chdir", "/", "--", *command,
        ]  # fmt: skip


def probe(cache: Path | None = None) -> Host:
    """Find out what this host gives, with tools unpacked in `cache`. Return it.

    It blocks for some milliseconds: bubblewrap is tried.
    """
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    prefix = sys.base_prefix
    closed = any(not _open_to_others(Path(path)) for path in (python, tertulia.__file__, cache) if path is not None)
    return Host(
        landlock=landlock.abi() if platform.machine() in seccomp.MACHINES else 0,
        seccomp=platform.machine() in seccomp.MACHINES and "\nSeccomp:" in _text("/proc/self/status"),
        bubblewrap=_bubblewrap(),
        python=python,
        prefix=prefix,
        stdlib=sysconfig.get_path("stdlib"),
        users=0 if closed or not _all_users() else _FIRST_USER + os.getpid() * _USERS_OF_A_PROCESS,
    )


def _shared(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("lib*.so*")) if Path(folder).is_dir() else []


def _bubblewrap() -> str:
    found = shutil.which("bwrap")
    if found is None:
        return ""
    trial = [found, "--unshare-all", "--ro-bind", "/", "/", "--", found, "--version"]
    try:
        worked = subprocess.run(trial, capture_output=True, timeout=_TRIAL_S, check=False).returncode == 0  # noqa: S603 - our own
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found if worked else ""


def _all_users() -> bool:
    """Look at the users. Return True if this process is root of all of them, and not of a container's few.

    A container may have taken the rights of root away that it takes to start, end and clean up after other users.
    """
    lines = _text("/proc/self/uid_map").split()
    held = re.search(r"^CapEff:\s*([0-9a-f]+)$", _text("/proc/self/status"), re.MULTILINE)
    may = held is not None and int(held[1], 16) & _OVER_USERS == _OVER_USERS
    return os.geteuid() == 0 and may and len(lines) == 3 and int(lines[2]) == _ALL_USERS


def _open_to_others(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in path.parents if folder.exists())


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
