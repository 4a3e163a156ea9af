"""The place that projects of tools are published from: a folder or a git repository that the settings name.

A project is read once, when it is published, as a set of files; nothing depends on the place afterwards.
"""

import asyncio
import errno
import os
import re
import shutil
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import structlog

from tertulia.errors import BadRequest, BadTool, NotFound, Unavailable
from tertulia.tools.archive import LEFT_OUT, LONGEST_PATH, MOST_BYTES, MOST_FILES, read_folder

GIT_S = 120.0
"""Seconds that one command of git may take."""

MOST_OUTPUT = MOST_BYTES + 1_000_000
"""Bytes that one command of git may write."""

_BLOCK = 512
"""Bytes in a unit of the shell's bound for files, as POSIX has it."""

MOST_REPOSITORY = 1 << 30
"""Bytes of one file that git may write, such as all that it fetches."""

ORGANIZATION = "{organization}"
"""The part of a setting that stands for the organization which publishes."""

_SCHEMES = ("https", "ssh", "file")
_URL = re.compile(rf"({'|'.join(_SCHEMES)})://\S+")
_BRANCH = re.compile(r"(?!.*(\.\.|//|@\{|\.lock(/|$)|/\.|/$|\.$))[\w][\w./+#=@-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BLOBS = frozenset({"100644", "100755"})
_LARGE_FILE = b"version https://git-lfs.github.com/spec/"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Project:
    """The files of a project by their paths. `commit` is empty if they are of no commit."""

    files: dict[str, bytes]
    directory: str
    commit: str = ""


class Source(Protocol):
    """A place that projects are published from."""

    async def read(self, path: str, branch: str | None, after: str) -> Project:
        """Read a project at the tip of a branch, the one of the settings if none is given. Return it.

        `after` is a commit that the tip has to follow; any other text is none.

        Raises:
            NotFound: there is no such branch, or no such folder.
            BadRequest: the tip does not follow `after`.
            BadTool: the folder holds something that a project may not have.
            Unavailable: the place cannot be reached.
        """
        ...


class NoSource:
    """The place of a server whose settings name none."""

    async def read(self, path: str, branch: str | None, after: str) -> Project:
        """Raise BadRequest: projects come as archives alone."""
        raise BadRequest(
            "This server has no folder or repository of tools (TERTULIA_TOOLS_SOURCE): publish an archive instead."
        )


class FolderSource:
    """A folder of this host. It has no branches and no commits: whichever is named, the files are those of now."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def read(self, path: str, branch: str | None, after: str) -> Project:
        """Read a project. Return it."""
        try:
            return await asyncio.to_thread(self._read, _clean(path))
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise NotFound(f"There is no folder {path[:LONGEST_PATH]} among the tools.") from error
            _log.error("tools cannot be read", reason=str(error))
            raise Unavailable("The folder of tools cannot be read at this moment.", retry_after=10) from error

    def _read(self, path: str) -> Project:
        root = self._root.resolve()
        folder = (root / path).resolve()
        if not folder.is_relative_to(root) or not folder.is_dir():
            raise NotFound(f"There is no folder {path} among the tools.")
        return Project(read_folder(folder), path)


class GitSource:
    """A git repository at a URL. Each time, its branch is fetched into a folder that is removed afterwards."""

    def __init__(self, url: str, branch: str) -> None:
        self._url = url
        self._branch = branch

    async def read(self, path: str, branch: str | None, after: str) -> Project:
        """Read a project at the tip of a branch. Return it."""
        path, wanted = _clean(path), branch or self._branch
        if not _BRANCH.fullmatch(wanted):
            raise NotFound(f"There is no branch {wanted[:LONGEST_PATH]}.")
        place = Path(tempfile.mkdtemp(prefix="tertulia-git-"))
        try:
            git = _Git(place)
            await git.run("init", "--quiet", "--bare", ".")
            commit = await self._fetch(git, wanted)
            if _COMMIT.fullmatch(after) and not await git.succeeds("merge-base", "--is-ancestor", after, commit):
                raise BadRequest(
                    f"The commit {commit[:12]} is older than {after[:12]}, which was published last, or beside it."
                )
            return Project(await _files(git, commit, path), path, commit)
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    async def _fetch(self, git: "_Git", branch: str) -> str:
        """Fetch a branch. Return the commit at its tip."""
        fetched = await git.try_to(
            "fetch", "--quiet", "--no-tags", "--", self._url, f"+refs/heads/{branch}:refs/heads/tip"
        )
        if fetched.status:
            if "couldn't find remote ref" in fetched.told:
                raise NotFound(f"The repository of tools has no branch {branch}.")
            _log.error("tools cannot be fetched", reason=fetched.told[-500:])
            raise Unavailable("The repository of tools cannot be read at this moment.", retry_after=10)
        return (await git.run("rev-parse", "refs/heads/tip")).decode().strip()


def open_source(setting: str, branch: str, org_id: str) -> Source:
    """Open the place of tools that a setting names for an organization. Return it."""
    place = setting.replace(ORGANIZATION, org_id)
    if not place:
        return NoSource()
    return GitSource(place, branch) if _URL.fullmatch(place) else FolderSource(Path(place))


def _clean(path: str) -> str:
    if "\0" in path:
        raise NotFound("There is no folder of such a name.")
    return "/".join(part for part in path.split("/") if part)


async def _files(git: "_Git", commit: str, path: str) -> dict[str, bytes]:
    """List the files below a path of a commit, and read them. Return them by their paths within it."""
    at = f"{commit}:{path}"
    if (await git.try_to("cat-file", "-t", at)).output.strip() != b"tree":
        raise NotFound(f"There is no folder {path} at the commit {commit[:12]}.")
    listed = await git.run("ls-tree", "-r", "-l", "-z", "--full-tree", at)
    wanted: dict[str, str] = {}
    size = 0
    for entry in listed.decode(errors="surrogateescape").split("\0")[:-1]:
        about, _, name = entry.partition("\t")
        mode, _kind, blob, length = about.split()
        if not LEFT_OUT.isdisjoint(name.split("/")):
            continue
        if mode not in _BLOBS:
            raise BadTool(f"{name} is neither a file nor a folder: a project has no links and no submodules.")
        size += int(length)
        wanted[name] = blob
    if len(wanted) > MOST_FILES or size > MOST_BYTES:
        raise BadTool(f"A project has at most {MOST_FILES} files, of {MOST_BYTES} bytes together.")
    files = await _blobs(git, wanted)
    for name, content in files.items():
        if content.startswith(_LARGE_FILE):
            raise BadTool(f"{name} is kept in Git LFS, and is not in the repository itself.")
    return files


async def _blobs(git: "_Git", wanted: dict[str, str]) -> dict[str, bytes]:
    """Read blobs. Return their contents by the names that they are wanted under."""
    asked = "".join(f"{blob}\n" for blob in wanted.values()).encode()
    told = await git.run("cat-file", "--batch", given=asked)
    files: dict[str, bytes] = {}
    at = 0
    for name in wanted:
        end = told.index(b"\n", at)
        length = int(told[at:end].rpartition(b" ")[2])
        files[name] = told[end + 1 : end + 1 + length]
        at = end + length + 2
    return files


# --- Git -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Done:
    status: int
    output: bytes
    told: str


class _Git:
    """The command `git` in a folder: without hooks, filters, questions and other protocols than those allowed."""

    OPTIONS = (
        *("-c", "core.hooksPath=/dev/null"),
        *("-c", "core.fsmonitor=false"),
        *("-c", "credential.interactive=false"),
        *("-c", "fetch.recurseSubmodules=false"),
        *("-c", "fetch.fsckObjects=true"),
        *("-c", "gc.auto=0"),
        *("-c", "protocol.allow=never"),
        *(option for scheme in _SCHEMES for option in ("-c", f"protocol.{scheme}.allow=always")),
    )

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "TERTULIA_"))}
        asks_nothing = {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes", "LC_ALL": "C"}
        self._environment = {**kept, **asks_nothing, "GIT_CEILING_DIRECTORIES": str(folder.parent)}

    async def run(self, *arguments: str, given: bytes = b"") -> bytes:
        """Run a command. Return its output, or raise Unavailable."""
        done = await self.try_to(*arguments, given=given)
        if done.status:
            _log.error("git failed", command=arguments[0], reason=done.told[-500:])
            raise Unavailable("The repository of tools cannot be read at this moment.", retry_after=10)
        return done.output

    async def succeeds(self, *arguments: str) -> bool:
        """Run a command. Return True if its status is 0."""
        return (await self.try_to(*arguments)).status == 0

    async def try_to(self, *arguments: str, given: bytes = b"") -> _Done:
        """Run a command, and stop all its processes after its time. Return its status and its output.

        Raises:
            Unavailable: there is no git here, or it took too long or wrote too much.
        """
        with tempfile.TemporaryFile() as stdin:
            stdin.write(given)
            stdin.seek(0)
            process = await self._start(arguments, stdin)
        try:
            async with asyncio.timeout(GIT_S):
                output, told = await _outputs(process)
            return _Done(process.returncode or 0, output, told.decode(errors="replace"))
        except TimeoutError as error:
            raise Unavailable("The repository of tools takes too long to be read.", retry_after=60) from error
        finally:
            _stop(process)

    async def _start(self, arguments: tuple[str, ...], stdin: IO[bytes]) -> asyncio.subprocess.Process:
        git = shutil.which("git", path=self._environment.get("PATH"))
        if git is None:
            raise Unavailable("This server has no git, with which tools are read.", retry_after=60)
        return await asyncio.create_subprocess_exec(
            *_bounded(git, *self.OPTIONS, *arguments),
            cwd=self._folder,
            env=self._environment,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )


async def _outputs(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """Read what a process writes until it ends. Return its output and its errors."""
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("a process was started without pipes")
    output, told = await asyncio.gather(_read(process.stdout), _read(process.stderr))
    await process.wait()
    return output, told


async def _read(stream: asyncio.StreamReader) -> bytes:
    pieces = bytearray()
    while piece := await stream.read(1 << 16):
        pieces += piece
        if len(pieces) > MOST_OUTPUT:
            raise BadTool(f"A project has at most {MOST_BYTES} bytes.")
    return bytes(pieces)


def _bounded(*command: str) -> tuple[str, ...]:
    """Bound the files that a command, and all that it starts, may write. Return the command that does so.

    A shell sets the bound before the command begins: a process that has begun may have started others. A bound of the
    server's own that is lower stays.
    """
    blocks = str(MOST_REPOSITORY // _BLOCK)
    return ("/bin/sh", "-c", 'ulimit -f "$1" 2>/dev/null || :; shift && exec "$@"', "sh", blocks, *command)


def _stop(process: asyncio.subprocess.Process) -> None:
    """Kill a process with those that it has started, unless it has ended."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
