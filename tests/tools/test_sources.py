"""A project that git cannot give whole, or that would fill the disk, is refused; and no name of it runs anything."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tertulia.errors import BadTool, NotFound, TertuliaError, Unavailable
from tertulia.tools import sources
from tertulia.tools.archive import pack
from tertulia.tools.sources import Project, open_source

AUTHOR = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")


def repository(folder: Path, files: dict[bytes, bytes]) -> str:
    """Make a repository with files in its folder `tool`. Return its URL."""
    (folder / "tool").mkdir(parents=True)
    for name, content in files.items():
        Path(os.fsdecode(os.path.join(os.fsencode(folder), b"tool", name))).write_bytes(content)
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "First"]):
        subprocess.run(["git", *AUTHOR, *words], cwd=folder, check=True, capture_output=True)
    return folder.as_uri()


async def read(url: str, path: str = "tool", branch: str = "main") -> Project:
    return await open_source(url, "main", "org").read(path, branch, "")


async def test_the_files_of_a_folder_are_read(tmp_path: Path) -> None:
    project = await read(repository(tmp_path / "it", {b"tool.py": b"x"}))
    assert project.files == {"tool.py": b"x"}


async def test_names_that_are_no_unicode_do_not_hide_one_another(tmp_path: Path) -> None:
    project = await read(repository(tmp_path / "it", {b"\xff.py": b"1", b"\xfe.py": b"2"}))
    assert sorted(project.files.values()) == [b"1", b"2"]
    with pytest.raises(BadTool, match="not a path"):
        pack(project.files)


async def test_a_file_that_is_kept_elsewhere_is_refused(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    with pytest.raises(BadTool, match=r"model\.bin is kept in Git LFS"):
        await read(repository(tmp_path / "it", {b"model.bin": pointer}))


async def test_a_repository_that_would_fill_the_disk_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = repository(tmp_path / "it", {b"tool.py": b"x", b"large": os.urandom(3 << 20)})
    monkeypatch.setattr(sources, "MOST_REPOSITORY", 1 << 20)
    with pytest.raises(Unavailable):
        await read(url)
    monkeypatch.setattr(sources, "MOST_REPOSITORY", 8 << 20)
    assert "large" in (await read(url)).files


def test_a_server_whose_own_bound_on_files_is_lower_reads_tools_within_that(tmp_path: Path) -> None:
    url = repository(tmp_path / "it", {b"tool.py": b"x"})
    assert sources.MOST_REPOSITORY > 512 * 1000
    reads = f"from tertulia.tools.sources import open_source as o; import asyncio as a; p = o({url!r}, 'main', 'org')"
    script = f"{reads}; print(a.run(p.read('tool', 'main', '')).files)"
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 1000 && exec "$@"', "sh", sys.executable, "-c", script],
        capture_output=True,
        check=False,
    )
    assert done.stdout == b"{'tool.py': b'x'}\n", done.stderr


@pytest.mark.parametrize(
    "url",
    [
        lambda mark: f"ssh://-oProxyCommand=touch%20{mark}/x",
        lambda mark: f"ext::sh -c 'touch {mark}'",
        lambda mark: f"--upload-pack=touch {mark}",
        lambda mark: f"https://127.0.0.1:1/;touch%20{mark}",
    ],
)
async def test_no_url_runs_a_command(tmp_path: Path, url: Callable[[Path], str]) -> None:
    mark = tmp_path / "mark"
    with pytest.raises((NotFound, Unavailable)):
        await read(url(mark))
    assert not mark.exists()


@pytest.mark.parametrize(
    "path", ["..", "tool/../..", "--help", "tool:tool.py", "tool/tool.py", ".git", "t\0x", "x" * 5000]
)
async def test_no_path_leads_out_of_the_commit(tmp_path: Path, path: str) -> None:
    url = repository(tmp_path / "it", {b"tool.py": b"x"})
    for source in (url, str(tmp_path / "it" / "tool")):
        with pytest.raises(TertuliaError):
            await read(source, path)
