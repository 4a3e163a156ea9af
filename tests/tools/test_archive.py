"""A tool's project is packed always alike, and an archive that holds anything but a project's files is refused."""

import gzip
import io
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tertulia.errors import BadTool
from tertulia.tools import archive, scratch

PARTS = st.text("abcXYZ09_-. é", min_size=1, max_size=12).filter(lambda part: part.strip(".") != "")
FILES = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: "/".join([*parts, "f"])),
    st.binary(max_size=200),
    max_size=6,
)


@given(FILES)
@settings(max_examples=60, deadline=None)
def test_an_archive_holds_what_was_packed_and_is_the_same_for_the_same_files(files: dict[str, bytes]) -> None:
    packed = archive.pack(files)

    assert archive.unpack(packed) == files
    assert archive.pack(dict(reversed(files.items()))) == packed
    assert archive.unpack(gzip.decompress(packed)) == files


@given(
    st.binary(max_size=300) | st.binary(max_size=300).map(gzip.compress) | st.binary().map(lambda end: b"PK\3\4" + end)
)
@settings(max_examples=100, deadline=None)
def test_bytes_that_are_no_archive_are_refused_or_empty(content: bytes) -> None:
    try:
        found = archive.unpack(content)
    except BadTool:
        found = {}
    assert found == {}


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as opened:
        for member, content in members:
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def plain(name: str, content: bytes = b"x") -> bytes:
    return tar((tarfile.TarInfo(name), content))


def of_negative_size() -> bytes:
    header = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" + (-1024).to_bytes(11, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def of_long_names_without_end() -> bytes:
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 512
    return gzip.compress((member.tobuf(tarfile.GNU_FORMAT) + b"n" * 512) * 5000)


def special(kind: bytes) -> bytes:
    member = tarfile.TarInfo("evil")
    member.type, member.linkname = kind, "/etc/passwd"
    return tar((member, b""))


def zipped(name: str, mode: int = 0o100644, size: int = 1, kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        member = zipfile.ZipInfo(name)
        member.external_attr, member.compress_type = mode << 16, kind
        opened.writestr(member, b"\0" * size)
    return packed.getvalue()


def many() -> bytes:
    return tar(*[(tarfile.TarInfo(f"f{number}"), b"") for number in range(archive.MOST_FILES + 1)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: plain("/etc/passwd"),
        lambda: plain("../evil"),
        lambda: plain("a/../../evil"),
        lambda: plain("a//b"),
        lambda: plain("a\\b"),
        lambda: plain("C:evil"),
        lambda: plain("a\nb"),
        lambda: plain("a" * 300),
        lambda: plain("/".join("a" * 20)),
        lambda: special(tarfile.SYMTYPE),
        lambda: special(tarfile.LNKTYPE),
        lambda: special(tarfile.CHRTYPE),
        lambda: special(tarfile.FIFOTYPE),
        lambda: tar((tarfile.TarInfo("a"), b"1"), (tarfile.TarInfo("a"), b"2")),
        lambda: tar((tarfile.TarInfo("a"), b"1"), (tarfile.TarInfo("a/b"), b"2")),
        many,
        lambda: plain("bomb", b"\0" * (archive.MOST_BYTES + 1)),
        lambda: gzip.compress(b"\0" * (archive.MOST_BYTES * 3)),
        lambda: b"\0" * (archive.MOST_ARCHIVE_BYTES + 1),
        lambda: plain("a")[:-20],
        lambda: plain("a") + plain("b"),
        lambda: zipped("../evil"),
        lambda: zipped("link", 0o120777),
        lambda: zipped("bomb", size=archive.MOST_BYTES + 1),
        lambda: zipped("..\\evil"),
        of_negative_size,
        of_long_names_without_end,
    ],
)
def test_what_is_no_project_is_refused_in_one_line(make: Callable[[], bytes]) -> None:
    with pytest.raises(BadTool) as caught:
        archive.unpack(make())
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_is_unpacked_at_once_is_refused_before_it_is(kind: int) -> None:
    bomb = zipped("bomb", size=200 << 20, kind=kind)
    tracemalloc.start()
    with pytest.raises(BadTool, match="stored or deflated"):
        archive.unpack(bomb)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10 << 20


def test_a_folder_is_read_without_what_tools_leave_in_it_and_links_are_refused(tmp_path: Path) -> None:
    for name in ("tool.py", "__pycache__/tool.pyc", ".git/config", "inner/data.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")

    assert sorted(archive.read_folder(tmp_path)) == ["inner/data.json", "tool.py"]
    (tmp_path / "inner" / "link").symlink_to("/etc")
    with pytest.raises(BadTool, match="inner/link"):
        archive.read_folder(tmp_path)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "tool.toml: the project has no such file."),
        ({"tool.toml": b"\xff"}, "tool.toml: not UTF-8."),
        (
            {"tool.toml": b'name = "a"\n[input_schema]\ntype = "object"'},
            "tool.toml: entry: the project has no file tool.py.",
        ),
    ],
)
def test_a_project_that_lacks_something_is_refused_by_name(files: dict[str, bytes], told: str) -> None:
    with pytest.raises(BadTool) as caught:
        archive.project_manifest(files)
    assert caught.value.detail == told


def test_a_folder_of_any_depth_and_mode_is_removed_and_nothing_beside_it(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.write_text("kept")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "closed").mkdir(mode=0)
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1100):  # deeper than a path may be long, and than Python recurses
        os.mkdir("deeper", dir_fd=here)
        inner = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)

    scratch.remove(folder)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside"]


def test_a_folder_that_holds_too_much_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "MOST_FILES", 20)
    assert scratch.excess(tmp_path, 10_000) == ""
    (tmp_path / "large").write_bytes(b"x" * 20_000)
    assert "bytes" in scratch.excess(tmp_path, 10_000)
    for number in range(scratch.MOST_FILES + 1):
        (tmp_path / str(number)).touch()
    assert "files" in scratch.excess(tmp_path, 1 << 40)
