"""The process of one tool version: it confines itself, loads the tool, and forks a child for each call.

Messages on the control socket, from the server, marshalled: first the configuration; then, for each call, its number,
the name of its folder and its descriptors. To the server, in JSON: `{"ended": number, "status": wait status}`, and, if
the tool cannot be loaded, `{"failed": ...}`. After it has loaded the tool, this process is no more to be trusted than
the tool, so nothing that it says is ever unmarshalled.
"""

from __future__ import annotations

import _signal  # pyright: ignore[reportMissingModuleSource] - it is part of the interpreter
import _socket
import gc
import marshal
import os
import resource
import select
import sys

from tertulia.tools.confinement import calling, kernel, landlock, seccomp

TYPE_CHECKING = False  # typing takes longer to import than all the rest, and so do json, signal and contextlib
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MOST_BYTES = 200_000
_DESCRIPTOR_BYTES = 4
_MOST_DESCRIPTORS = 3
_FILES = 64


def main() -> None:
    """Serve the calls of one tool version until the server hangs up; the argument is the control socket's number."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    control = _socket.socket(fileno=descriptor)
    configuration: dict[str, Any] = marshal.loads(control.recv(MOST_BYTES))  # noqa: S302 - the server's
    connect = _network() if configuration["network"] else None
    confine(configuration)
    ended, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)
    _signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    call_filter = seccomp.program(kernel.MACHINE, seccomp.call_rules(alone=configuration["alone"]))
    try:
        tool = calling.Tool(calling.load(configuration), call_filter, connect)
    except BaseException as error:  # noqa: BLE001 - a tool may raise whatever it likes
        failed = calling.describe(error, configuration["project"])
        control.send(failed.encode()[:MOST_BYTES])
        os._exit(1)
    gc.collect()
    gc.freeze()
    _serve(control, ended, configuration, tool)


def confine(configuration: Mapping[str, Any]) -> None:
    """Give up all rights but those that the configuration lists.

    Raises:
        OSError: the kernel refuses; nothing may be loaded.
    """
    limits = configuration["limits"]
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    for name, value in limits.items():
        _limit(name, value)
    _limit("CORE", 0)
    _limit("NOFILE", _FILES)
    _limit("MEMLOCK", 0)
    _limit("MSGQUEUE", 0)
    kernel.drop_capabilities()
    version = landlock.abi()
    if version:
        landlock.restrict(landlock.make_ruleset(configuration["rules"]))
    rules = seccomp.common_rules(version >= landlock.SIGNALS_ABI, version >= landlock.TRUNCATE_ABI)
    seccomp.install(seccomp.program(kernel.MACHINE, rules))


def _limit(name: str, value: int) -> None:
    which = getattr(resource, f"RLIMIT_{name}")
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    spare = 1 if name == "CPU" else 0  # the soft limit tells, the hard one kills
    resource.setrlimit(which, (value, value + spare if hard == resource.RLIM_INFINITY else min(value + spare, hard)))


def _network() -> Callable[[int], None]:
    from tertulia.tools.confinement import network  # noqa: PLC0415 - few tools need it

    return network.install


def _serve(control: _socket.socket, ended: int, configuration: Mapping[str, Any], tool: calling.Tool) -> None:
    running: dict[int, int] = {}
    poll = select.poll()
    poll.register(control.fileno(), select.POLLIN)
    poll.register(ended, select.POLLIN)
    walls = calling.Walls(configuration)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if ended in ready:
            _empty(ended)
            _tell_ended(control, running)
        if control.fileno() in ready:
            message, descriptors = _receive(control)
            if not message:
                _end_all()
            child = os.fork()
            if child == 0:
                _signal.set_wakeup_fd(-1)
                os.close(ended)
                control.close()
                calling.answer(tool, configuration, walls, message, descriptors)
            running[child] = message["number"]
            for descriptor in descriptors:
                os.close(descriptor)
            walls.renew()
            _be_ready(configuration["project"])


def _be_ready(project: str) -> None:
    """Load what the calls after the first one may need; the first one does not wait for that."""
    try:
        calling.load_json(project)
    except Exception:  # noqa: BLE001 - the tool may have broken anything
        return


def _empty(ended: int) -> None:
    try:
        os.read(ended, 4096)
    except BlockingIOError:
        return


def _receive(control: _socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, ancillary, _, _ = control.recvmsg(
        MOST_BYTES, _socket.CMSG_SPACE(_MOST_DESCRIPTORS * _DESCRIPTOR_BYTES), _socket.MSG_CMSG_CLOEXEC
    )
    passed = b"".join(content for _, _, content in ancillary)
    descriptors = [
        int.from_bytes(passed[start : start + _DESCRIPTOR_BYTES], sys.byteorder)
        for start in range(0, len(passed), _DESCRIPTOR_BYTES)
    ]
    return (marshal.loads(data) if data else {}), descriptors  # noqa: S302 - the server's


def _tell_ended(control: _socket.socket, running: dict[int, int]) -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        number = running.pop(child, None)
        if number is not None:
            control.send(b'{"ended": %d, "status": %d}' % (number, status))


def _end_all() -> None:
    """End this process and, since the server is gone, all that it has started."""
    try:
        os.killpg(0, _signal.SIGKILL)
    finally:
        os._exit(0)
