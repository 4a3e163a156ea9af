"""One call of a tool, in a child of its own: it confines itself further, runs the function, and answers."""

from __future__ import annotations

import _signal  # pyright: ignore[reportMissingModuleSource] - it is part of the interpreter
import marshal
import os
import sys
from _json import encode_basestring_ascii as _quoted

from tertulia.tools.confinement import kernel, landlock, seccomp

TYPE_CHECKING = False  # typing takes longer to import than all the rest, and so do json, signal and contextlib
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType, TracebackType
    from typing import Any, NoReturn

LENGTH_BYTES = 8
HELLO = b"."
_READ_BYTES = 1 << 16
_LONGEST_TYPE, _LONGEST_MESSAGE, _MOST_FRAMES = 100, 2000, 30
_SPARE = [bytearray(1 << 20)]
"""Memory that is given back when there is none left, to tell that."""


class Context:
    """The surroundings of a call, as the function of a tool is given them beside its input.

    `idempotency_key` is the same if a turn calls the tool again for the same reason, and `attempt` counts these calls,
    from 1; `mode` is "regular" or "conversation-simulation".
    """

    __slots__ = ("attempt", "environment", "idempotency_key", "mode", "secret_user_variables", "user_variables")

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.idempotency_key: str = given["key"]
        self.attempt: int = given["attempt"]
        self.mode: str = given["mode"]
        self.environment: dict[str, str] = given["environment"]
        self.user_variables: dict[str, str] = given["user_variables"]
        self.secret_user_variables: dict[str, str] = given["secret_user_variables"]


class Tool:
    """A tool that is loaded: its function, the program that filters its calls and, if it may connect, the function that
    puts the line to the server in the place of sockets."""

    __slots__ = ("connect", "filter", "function")

    def __init__(self, function: Callable[..., Any], filter_: bytes, connect: Callable[[int], None] | None) -> None:
        self.function = function
        self.filter = filter_
        self.connect = connect


class Walls:
    """The ruleset of the next call, made ahead, since a process that was just forked does everything slowly."""

    __slots__ = ("_own", "_rules", "_ruleset")

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self._rules = configuration["call_rules"]
        self._own = landlock.own_rights()
        self._ruleset = -1
        if landlock.abi():
            self._ruleset = landlock.make_ruleset(self._rules)

    def renew(self) -> None:
        """Make the ruleset anew when a call has taken it."""
        if self._ruleset >= 0:
            os.close(self._ruleset)
            self._ruleset = landlock.make_ruleset(self._rules)

    def close(self, folder: str) -> None:
        """Confine this process, that of a call, to what all calls read and to its own folder."""
        if self._ruleset >= 0:
            landlock.add(self._ruleset, folder, self._own)
            landlock.restrict(self._ruleset)


def load(configuration: Mapping[str, Any]) -> Callable[..., Any]:
    """Load the tool, and what it depends on. Return its function.

    Raises:
        Exception: whatever the tool raises.
        AttributeError: the module has no such function.
    """
    for name in [name for name in sys.modules if name == "tertulia" or name.startswith("tertulia.")]:
        del sys.modules[name]  # a tool is not to find the server
    sys.path[:] = [path for path in sys.path if path != configuration["server"]]
    sys.path.insert(0, configuration["project"])
    if configuration["packages"]:
        import site  # noqa: PLC0415 - few tools need it

        site.addsitedir(configuration["packages"])
    sys.dont_write_bytecode = True
    __import__(configuration["module"])
    function = getattr(sys.modules[configuration["module"]], configuration["function"], None)
    if not callable(function):
        raise AttributeError(f"{configuration['module']} has no function {configuration['function']}")
    return function


def answer(
    tool: Tool, configuration: Mapping[str, Any], walls: Walls, message: Mapping[str, Any], descriptors: list[int]
) -> NoReturn:
    """Run the function for one call, write its answer, and end this process."""
    channel = descriptors[0]
    try:
        os.write(channel, HELLO)
        _confine_further(walls, message["folder"], tool.filter)
        os.dup2(descriptors[1], 1)
        os.dup2(descriptors[1], 2)
        given = marshal.loads(_read_exactly(channel, int.from_bytes(_read_exactly(channel, LENGTH_BYTES), "big")))  # noqa: S302 - the server's
        _surround(given, message["folder"])
        if tool.connect is not None:
            tool.connect(descriptors[2])
        value = tool.function(given["arguments"], Context(given))
        told = _told(value, configuration["answer_bytes"], configuration["project"])
        reply = f'{{"output": {_quoted(told)}}}'
    except BaseException as error:  # noqa: BLE001 - a tool may raise whatever it likes
        _SPARE.clear()
        reply = describe(error, configuration["project"])
    try:
        content = reply.encode()
        _write_all(channel, len(content).to_bytes(LENGTH_BYTES, "big") + content)
    finally:
        os._exit(0)


def load_json(project: str) -> ModuleType:
    """Load the standard library's `json`, whatever the tool calls its own files. Return the module."""
    places = sys.path[:]
    sys.path[:] = [place for place in places if place != project]
    try:
        return __import__("json")
    finally:
        sys.path[:] = places


def describe(error: BaseException, project: str) -> str:
    """Describe an exception: its type, its message and the places in the tool's own files. Return it as JSON."""
    try:
        message = str(error)[:_LONGEST_MESSAGE]
    except BaseException:  # noqa: BLE001 - the exception is the tool's
        message = ""
    kind = type(error).__name__[:_LONGEST_TYPE]
    trace = ", ".join(map(_quoted, _own_frames(error.__traceback__, project)))
    return f'{{"failed": {{"type": {_quoted(kind)}, "message": {_quoted(message)}, "trace": [{trace}]}}}}'


def _own_frames(trace: TracebackType | None, project: str) -> Sequence[str]:
    frames: list[str] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith(f"{project}/"):
            frames.append(f"{code.co_filename[len(project) + 1 :]}, line {trace.tb_lineno}, in {code.co_name}"[:300])
        trace = trace.tb_next
    left_out = len(frames) - _MOST_FRAMES
    half = _MOST_FRAMES // 2
    return frames if left_out <= 0 else [*frames[:half], f"... {left_out} more ...", *frames[-half:]]


def _confine_further(walls: Walls, folder: str, tool_filter: bytes) -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, _signal.SIGKILL)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    os.chdir(folder)
    walls.close(folder)
    seccomp.install(tool_filter)


def _surround(given: Mapping[str, Any], folder: str) -> None:
    os.environ.update({"HOME": folder, "TMPDIR": folder})
    os.environ.update(given["environment"])


def _told(value: Any, most_bytes: int, project: str) -> str:
    if hasattr(value, "__await__"):
        import asyncio  # noqa: PLC0415 - few tools need it

        value = asyncio.run(_awaited(value))
    if isinstance(value, str):
        told = value
    else:
        try:
            told = load_json(project).dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"The answer is neither a text nor JSON: {error}") from None
    size = len(told.encode(errors="replace"))
    if size > most_bytes:
        raise ValueError(f"The answer has {size} bytes, of at most {most_bytes}.")
    return told


async def _awaited(value: Any) -> Any:
    return await value


def _read_exactly(descriptor: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(descriptor, min(size - len(data), _READ_BYTES))
        if not piece:
            os._exit(1)
        data += piece
    return bytes(data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
