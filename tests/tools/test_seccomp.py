"""The filter of system calls decides as its table says, on x86-64 and on arm64, whichever machine this is."""

import struct

import pytest

from tertulia.tools.confinement import seccomp
from tertulia.tools.confinement.seccomp import ALLOW, KILL, PRETEND, REFUSE, UNKNOWN, UNSUPPORTED
from tertulia.tools.confinement.syscalls import NUMBERS

COMMON = seccomp.common_rules(signals=True, truncates=True)
ALONE = seccomp.call_rules(alone=True)


def verdict(machine: str, rules: list[seccomp.Rule], number: int, *arguments: int, architecture: int = 0) -> int:
    """Run the filter on one system call, as the kernel would. Return the verdict."""
    code = [struct.unpack("HBBI", part) for part in chunks(seccomp.program(machine, rules))]
    given = [argument & 0xFFFFFFFFFFFFFFFF for argument in (*arguments, 0, 0, 0, 0, 0, 0)][:6]
    data = struct.pack("iIQ6Q", number, architecture or seccomp.MACHINES[machine][1], 0, *given)
    held, at = 0, 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        match operation:
            case 0x20:
                held = int.from_bytes(data[value : value + 4], "little")
            case 0x54:
                held &= value
            case 0x15:
                at += if_true if held == value else if_false
            case 0x35:
                at += if_true if held >= value else if_false
            case 0x06:
                return value
            case _:
                raise AssertionError(operation)


def chunks(code: bytes) -> list[bytes]:
    return [code[start : start + 8] for start in range(0, len(code), 8)]


def of(machine: str, name: str) -> int:
    return NUMBERS[name][seccomp.MACHINES[machine][0]]


MACHINES = pytest.mark.parametrize("machine", sorted(seccomp.MACHINES))


@MACHINES
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("ptrace", (), REFUSE),
        ("socket", (1, 1), REFUSE),
        ("connect", (), REFUSE),
        ("setpgid", (), REFUSE),
        ("clone3", (), UNKNOWN),
        ("fchmod", (), PRETEND),
        ("utimensat", (), PRETEND),
        ("fsetxattr", (), UNSUPPORTED),
        ("socketpair", (1, 1), ALLOW),
        ("socketpair", (1, 1 | 0o2000000), ALLOW),
        ("socketpair", (1, 2), REFUSE),
        ("socketpair", (2, 1), REFUSE),
        ("sendto", (3, 0, 0, 0), ALLOW),
        ("sendto", (3, 0, 0, 0x20000000), REFUSE),
        ("openat", (-100, 0, 0), ALLOW),
        ("openat", (-100, 0, 0o1000), REFUSE),
        ("openat", (-100, 0, 0o1101), ALLOW),
        ("prlimit64", (0, 9, 0), ALLOW),
        ("prlimit64", (0, 9, 1), REFUSE),
        ("prlimit64", (0, 9, 1 << 32), REFUSE),
        ("fcntl", (3, 4), ALLOW),
        ("fcntl", (3, 8), REFUSE),
        ("fcntl", (3, 8 | 1 << 32), REFUSE),
        ("ioctl", (3, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), REFUSE),
        ("clone", (0x01200011,), ALLOW),
        ("clone", (0x10000011,), REFUSE),
        ("clone", (0x00008011,), REFUSE),
        ("kill", (1, 9), ALLOW),  # Landlock keeps it within the walls
        ("execve", (), ALLOW),
    ],
)
def test_the_common_rules_decide(machine: str, name: str, arguments: tuple[int, ...], expected: int) -> None:
    assert verdict(machine, COMMON, of(machine, name), *arguments) == expected


@MACHINES
def test_a_tool_that_is_alone_starts_threads_and_no_processes(machine: str) -> None:
    assert verdict(machine, ALONE, of(machine, "clone"), 0x3D0F00) == ALLOW
    assert verdict(machine, ALONE, of(machine, "clone"), 0x01200011) == REFUSE
    assert {verdict(machine, ALONE, of(machine, name)) for name in ("execve", "execveat", "kill")} == {REFUSE}


@MACHINES
def test_without_landlock_signals_and_truncation_by_path_are_refused(machine: str) -> None:
    old = seccomp.common_rules(signals=False, truncates=False)
    assert {verdict(machine, old, of(machine, name)) for name in ("kill", "tgkill", "truncate")} == {REFUSE}


@MACHINES
def test_other_calling_conventions_end_the_process_and_young_calls_are_not_there(machine: str) -> None:
    other = {"x86_64": 0x40000003, "aarch64": 0x40000028}[machine]  # 32 bits
    assert verdict(machine, COMMON, 0, architecture=other) == KILL
    assert verdict(machine, COMMON, 0x40000000 | 39) == KILL
    assert {verdict(machine, COMMON, number) for number in (441, 443, 447, 452, 463, 999)} == {UNKNOWN}
    assert {verdict(machine, COMMON, number) for number in (444, 445, 446)} == {ALLOW}


@MACHINES
def test_every_rule_without_a_condition_holds_for_its_number_and_no_neighbour_falls_through(machine: str) -> None:
    plain = {of(machine, rule.name): rule.verdict for rule in COMMON if not rule.mask}
    conditional = {of(machine, rule.name) for rule in COMMON if rule.mask}

    for number in range(441):
        expected = plain.get(number, ALLOW)
        if number not in conditional:
            assert verdict(machine, COMMON, number) == expected, number
