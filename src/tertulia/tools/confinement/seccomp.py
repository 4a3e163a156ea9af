"""Seccomp: which system calls a process may make (linux/seccomp.h), as a program of classic BPF.

Landlock knows the content of files and the lists of folders. System calls that reach further (signals, sockets, modes,
times and owners of files, namespaces, keys, other processes) are answered here, for x86-64 and arm64.
"""

import ctypes
import struct

from tertulia.tools.confinement import kernel
from tertulia.tools.confinement.syscalls import FIRST_UNKNOWN, LANDLOCK, NUMBERS

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""By machine: the column of its numbers, and the name of its calling convention (linux/audit.h)."""

ALLOW, KILL = 0x7FFF0000, 0x80000000
PRETEND = 0x00050000
"""Do nothing, and answer that all went well."""
EPERM, ENOSYS, EOPNOTSUPP = 1, 38, 95
REFUSE, UNKNOWN, UNSUPPORTED = PRETEND | EPERM, PRETEND | ENOSYS, PRETEND | EOPNOTSUPP

_X32 = 0x40000000
_LOAD, _RETURN, _AND = 0x20, 0x06, 0x54
_IF_EQUAL, _IF_AT_LEAST = 0x15, 0x35
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE = 1, 1, 0xF
_MSG_FASTOPEN = 0x20000000
_O_TRUNC, _O_ACCMODE = 0o1000, 0o3
_CLONE_THREAD, _CLONE_PARENT, _CLONE_PTRACE, _CLONE_NAMESPACES = 0x10000, 0x8000, 0x2000, 0x7E020000
_FCNTL_SIGNALS = (8, 10, 15, 1024, 1026)  # F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY
_IOCTL_SIGNALS = (0x8901, 0x8902, 0x5412, 0x541C)  # FIOSETOWN, SIOCSPGRP, TIOCSTI, TIOCLINUX


class Rule:
    """A verdict on a system call; with a mask, only if the masked half of an argument is (or is not) the value."""

    __slots__ = ("argument", "equal", "half", "mask", "name", "value", "verdict")

    def __init__(
        self,
        name: str,
        verdict: int,
        argument: int = 0,
        half: int = 0,
        mask: int = 0,
        value: int = 0,
        equal: bool = True,
    ) -> None:
        self.name = name
        self.verdict = verdict
        self.argument = argument
        self.half = half
        self.mask = mask
        self.value = value
        self.equal = equal


_OTHER_PROCESSES = (
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_open", "pidfd_getfd",
    "pidfd_send_signal", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "setpriority", "sched_setscheduler",
    "sched_setparam", "sched_setattr", "sched_setaffinity", "ioprio_set", "migrate_pages", "move_pages",
    "setrlimit", "setsid", "setpgid",
)  # fmt: skip
_SYSTEM = (
    "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_tree", "move_mount", "fsopen", "fsconfig",
    "fsmount", "fspick", "bpf", "perf_event_open", "add_key", "request_key", "keyctl", "userfaultfd", "kexec_load",
    "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff", "acct",
    "quotactl", "syslog", "personality", "lookup_dcookie", "nfsservctl", "vhangup", "iopl", "ioperm", "modify_ldt",
    "uselib", "sysfs", "ustat", "_sysctl", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime",
    "sethostname", "setdomainname", "io_uring_setup", "io_uring_enter", "io_uring_register", "open_by_handle_at",
    "name_to_handle_at", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups",
    "setfsuid", "setfsgid", "capset",
)  # fmt: skip
_SHARED_MEMORY_AND_NEWS = (
    "shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop", "semtimedop", "semctl",
    "mq_open", "mq_unlink", "memfd_create", "inotify_init", "inotify_init1", "inotify_add_watch", "fanotify_init",
    "fanotify_mark", "mknod", "mknodat",
)  # fmt: skip
_NETWORK = ("socket", "bind", "listen", "accept", "accept4", "connect")
_MODES_AND_TIMES = (
    "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "futimesat",
    "utimensat",
)  # fmt: skip
_ATTRIBUTES = ("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr")


def common_rules(signals: bool, truncates: bool) -> list[Rule]:
    """List the rules of the process that has loaded a tool. Return them.

    Signals pass if Landlock keeps them within the walls, and files are cut by path if it judges that.
    """
    refused = [*_OTHER_PROCESSES, *_SYSTEM, *_SHARED_MEMORY_AND_NEWS, *_NETWORK]
    if not signals:
        refused += ["kill", "tgkill"]
    if not truncates:
        refused.append("truncate")
    rules = [Rule(name, REFUSE) for name in refused]
    rules += [Rule(name, PRETEND) for name in _MODES_AND_TIMES]
    rules += [Rule(name, UNSUPPORTED) for name in _ATTRIBUTES]
    rules += [Rule(name, UNKNOWN) for name in ("clone3", "openat2")]
    rules += [Rule("fcntl", REFUSE, 1, 0, 0xFFFFFFFF, command) for command in _FCNTL_SIGNALS]
    rules += [Rule("ioctl", REFUSE, 1, 0, 0xFFFFFFFF, command) for command in _IOCTL_SIGNALS]
    rules += [
        Rule("socketpair", REFUSE, 0, 0, 0xFFFFFFFF, _AF_UNIX, equal=False),
        Rule("socketpair", REFUSE, 1, 0, _SOCK_TYPE, _SOCK_STREAM, equal=False),
        Rule("sendto", REFUSE, 3, 0, _MSG_FASTOPEN, 0, equal=False),
        Rule("sendmsg", REFUSE, 2, 0, _MSG_FASTOPEN, 0, equal=False),
        Rule("sendmmsg", REFUSE, 3, 0, _MSG_FASTOPEN, 0, equal=False),
        Rule("open", REFUSE, 1, 0, _O_TRUNC | _O_ACCMODE, _O_TRUNC),  # would cut a file that may only be read
        Rule("openat", REFUSE, 2, 0, _O_TRUNC | _O_ACCMODE, _O_TRUNC),
        Rule("prlimit64", REFUSE, 2, 0, 0xFFFFFFFF, 0, equal=False),
        Rule("prlimit64", REFUSE, 2, 1, 0xFFFFFFFF, 0, equal=False),
        Rule("prctl", REFUSE, 0, 0, 0xFFFFFFFF, kernel.PR_SET_DUMPABLE),
        Rule("clone", REFUSE, 0, 0, _CLONE_NAMESPACES | _CLONE_PARENT | _CLONE_PTRACE, 0, equal=False),
    ]
    return rules


def call_rules(alone: bool) -> list[Rule]:
    """List the rules of a call, beside the common ones. Return them: a tool that is alone starts no process."""
    rules = [Rule("prctl", REFUSE, 0, 0, 0xFFFFFFFF, kernel.PR_SET_PDEATHSIG)]
    if alone:
        rules += [Rule(name, REFUSE) for name in ("fork", "vfork", "execve", "execveat", "kill")]
        rules.append(Rule("clone", REFUSE, 0, 0, _CLONE_THREAD, 0))
    return rules


def program(machine: str, rules: list[Rule]) -> bytes:
    """Translate rules for a machine, the first that holds decides. Return the program.

    Another calling convention ends the process; system calls that are younger than the list are not there.
    """
    column, architecture = MACHINES[machine]
    code = [
        _load(_ARCHITECTURE), _jump(_IF_EQUAL, architecture, 1, 0), _return(KILL),
        _load(_NUMBER), _jump(_IF_AT_LEAST, _X32, 0, 1), _return(KILL),
        *[_jump(_IF_EQUAL, number, len(LANDLOCK) + 1 - place, 0) for place, number in enumerate(LANDLOCK)],
        _jump(_IF_AT_LEAST, FIRST_UNKNOWN, 0, 1), _return(UNKNOWN),
    ]  # fmt: skip
    for rule in rules:
        number = NUMBERS[rule.name][column]
        if number >= 0:
            code += _translated(rule, number)
    return b"".join([*code, _return(ALLOW)])


def install(code: bytes) -> None:
    """Filter the system calls of this process and of all that follow by a program.

    Raises:
        OSError: the kernel refuses.
    """
    buffer = ctypes.create_string_buffer(code, len(code))
    described = _Program(len(code) // 8, ctypes.addressof(buffer))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_SECCOMP, 2, ctypes.addressof(described))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _translated(rule: Rule, number: int) -> list[bytes]:
    if not rule.mask:
        return [_jump(_IF_EQUAL, number, 0, 1), _return(rule.verdict)]
    holds, fails = (0, 1) if rule.equal else (1, 0)
    return [
        _jump(_IF_EQUAL, number, 0, 5),
        _load(_ARGUMENTS + 8 * rule.argument + 4 * rule.half),
        struct.pack("HBBI", _AND, 0, 0, rule.mask),
        _jump(_IF_EQUAL, rule.value, holds, fails),
        _return(rule.verdict),
        _load(_NUMBER),
    ]


def _load(offset: int) -> bytes:
    return struct.pack("HBBI", _LOAD, 0, 0, offset)


def _return(verdict: int) -> bytes:
    return struct.pack("HBBI", _RETURN, 0, 0, verdict)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
