"""Archives of tools' projects: packed so that the same files have the same digest; unpacked within bounds.

A `.tar`, `.tar.gz` or `.zip` may hold folders and plain files; links, devices, paths that lead out, and more bytes than
a project may have are refused before anything is written.
"""

import hashlib
import io
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tertulia.errors import BadTool
from tertulia.tools import lock, manifest
from tertulia.tools.arguments import problem_of_schema
from tertulia.tools.manifest import Manifest

MOST_ARCHIVE_BYTES = 8_000_000
MOST_BYTES = 32_000_000
MOST_FILES = 2000
LONGEST_PATH = 240
DEEPEST_PATH = 16
LEFT_OUT = frozenset({"__pycache__", ".git", ".venv", ".pytest_cache", ".ruff_cache", ".mypy_cache", "node_modules"})
"""Folders that are not packed."""

_BOUNDED = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Compressions that `zipfile` unpacks piece by piece; of others it unpacks whatever there is at once."""

_GZIP = b"\x1f\x8b"
_ZIP = b"PK"
_GZIP_WINDOW = 31

Files = Mapping[str, bytes]
"""The files of a project, by their path with slashes."""


def digest(archive: bytes) -> str:
    """Name an archive by its content. Return its SHA-256 in hex."""
    return hashlib.sha256(archive).hexdigest()


def project_manifest(files: Files) -> Manifest:
    """Read the manifest of a project, and check the files that a version needs. Return the manifest.

    Raises:
        BadTool: there is none, it or its schema or the lock is wrong, or the module that it names is missing.
    """
    if manifest.FILE not in files:
        raise BadTool(f"{manifest.FILE}: the project has no such file.")
    schema = _text(files, manifest.SCHEMA_FILE) if manifest.SCHEMA_FILE in files else None
    read = manifest.parse(_text(files, manifest.FILE), schema)
    module = read.module.replace(".", "/")
    if f"{module}.py" not in files and f"{module}/__init__.py" not in files:
        raise BadTool(f"{manifest.FILE}: entry: the project has no file {module}.py.")
    if problem := problem_of_schema(read.input_schema):
        raise BadTool(f"{manifest.FILE}: input_schema: {problem}")
    lock.check(files.get(lock.FILE, b"").decode(errors="replace"))
    return read


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read a project's folder. Return its files.

    Raises:
        BadTool: it has too many or too large files, a link, or a name that cannot be packed.
    """
    files: dict[str, bytes] = {}
    held = 0
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            raise BadTool(f"{_shown(name)}: a project has plain files alone, no links.")
        held += path.stat().st_size
        _within(len(files) + 1, held)
        files[_checked(name)] = path.read_bytes()
    return files


def pack(files: Files) -> bytes:
    """Pack files into an archive that depends on nothing but their paths and bytes. Return it.

    Raises:
        BadTool: there are too many or too large files.
    """
    _within(len(files), sum(map(len, files.values())))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(_checked(name))
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    squeeze = zlib.compressobj(6, wbits=_GZIP_WINDOW)  # without a time or a name
    archive = squeeze.compress(packed.getvalue()) + squeeze.flush()
    if len(archive) > MOST_ARCHIVE_BYTES:
        raise BadTool(f"The project has {len(archive)} bytes when packed, of at most {MOST_ARCHIVE_BYTES}.")
    return archive


def unpack(archive: bytes) -> dict[str, bytes]:
    """Unpack an archive in memory. Return its files.

    Raises:
        BadTool: it is none, is too large, or holds what a project may not.
    """
    if len(archive) > MOST_ARCHIVE_BYTES:
        raise BadTool(f"The archive has {len(archive)} bytes, of at most {MOST_ARCHIVE_BYTES}.")
    files: dict[str, bytes] = {}
    held = 0
    try:
        for name, content in _members(archive):
            checked = _checked(name)
            held += len(content)
            _within(len(files) + 1, held)
            if checked in files:
                raise BadTool(f"{_shown(name)}: the archive holds this file twice.")
            files[checked] = content
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError,
            NotImplementedError, OverflowError, IndexError) as error:  # fmt: skip
        raise BadTool("The archive is not a sound .tar.gz or .zip.") from error
    _no_file_is_a_folder(files)
    return files


def _members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    if archive.startswith(_ZIP):
        return _of_zip(archive)
    return _of_tar(_unsqueezed(archive) if archive.startswith(_GZIP) else archive)


def _unsqueezed(archive: bytes) -> bytes:
    inflate = zlib.decompressobj(wbits=_GZIP_WINDOW)
    most = MOST_BYTES + MOST_FILES * 2048
    content = inflate.decompress(archive, most)
    if inflate.unconsumed_tail:
        raise BadTool(f"The project has more than {MOST_BYTES} bytes.")
    if not inflate.eof or inflate.unused_data.strip(b"\0"):  # other programs would unpack what follows, too
        raise EOFError
    return content


def _of_tar(content: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        for seen, member in enumerate(tar):
            _within(seen, 0)
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise BadTool(f"{_shown(member.name)}: a project has plain files alone, no links.")
            _within(0, member.size)
            opened = tar.extractfile(member)
            data = opened.read() if opened else b""
            if len(data) != member.size:
                raise EOFError
            yield member.name.removeprefix("./"), data


def _of_zip(content: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        _within(len(packed.infolist()) // 2, 0)
        for member in packed.infolist():
            if member.is_dir():
                continue
            if stat.S_IFMT(member.external_attr >> 16) not in {0, stat.S_IFREG}:
                raise BadTool(f"{_shown(member.filename)}: a project has plain files alone, no links.")
            if member.compress_type not in _BOUNDED:
                raise BadTool(f"{_shown(member.filename)}: files of a .zip are stored or deflated.")
            with packed.open(member) as opened:
                data = opened.read(MOST_BYTES + 1)
            yield member.filename, data


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        yield from (Path(place, name) for name in folders if Path(place, name).is_symlink())
        yield from (Path(place, name) for name in sorted(names) if not name.endswith((".pyc", ".pyo")))


def _checked(name: str) -> str:
    parts = name.split("/")
    harmless = name.isprintable() and "\\" not in name and ":" not in name
    if not harmless or any(part in {"", ".", ".."} for part in parts):
        raise BadTool(f"{_shown(name)}: not a path within the project.")
    if len(name.encode()) > LONGEST_PATH or len(parts) > DEEPEST_PATH:
        raise BadTool(f"{_shown(name)}: the path is too long or too deep.")
    return name


def _no_file_is_a_folder(files: Files) -> None:
    for name in files:
        parts = name.split("/")
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in files:
                raise BadTool(f"{_shown('/'.join(parts[:end]))}: a file and a folder have this name.")


def _within(count: int, held: int) -> None:
    if count > MOST_FILES:
        raise BadTool(f"The project has more than {MOST_FILES} files.")
    if held > MOST_BYTES:
        raise BadTool(f"The project has more than {MOST_BYTES} bytes.")


def _text(files: Files, name: str) -> str:
    try:
        return files[name].decode()
    except UnicodeDecodeError as error:
        raise BadTool(f"{name}: not UTF-8.") from error


def _shown(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name[:100]) or '""'
