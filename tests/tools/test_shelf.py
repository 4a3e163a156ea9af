"""Copies of tools' code are bounded by bytes and by disuse, and none goes while somebody uses it, in any process."""

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from support import sandboxes
from tertulia.tools import shelf
from tertulia.tools.sandbox import Room
from tertulia.tools.shelf import NotKept, Shelf
from tertulia.tools.values import ToolSucceeded

LEVELS = sandboxes.levels()
PLAIN = LEVELS[min(LEVELS)]
KILOBYTE = 1024
LARGE = 1 << 30


async def fill(folder: Path) -> None:
    (folder / "content").write_bytes(os.urandom(100 * KILOBYTE))


async def stand(found: Shelf, *names: str, days: float = 0) -> None:
    """Put folders on a shelf that were used so many days ago, the first of them longest ago."""
    paths: list[Path] = []
    for name in names:
        with await found.hold(name, fill) as held:
            paths.append(held.path)
    for number, path in enumerate(paths):
        used_at = time.time() - days * 86_400 - len(names) + number
        os.utime(path, (used_at, used_at))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("kilobytes", "days", "held", "left"),
    [
        (1000, 0, "", "abc"),
        (1000, 8, "", ""),
        (1000, 8, "b", "b"),
        (250, 0, "", "bc"),
        (250, 0, "a", "ac"),
        (0, 0, "", ""),
        (0, 0, "abc", "abc"),
    ],
)
async def test_the_copies_that_nobody_uses_go_the_oldest_first(
    tmp_path: Path, kilobytes: int, days: int, held: str, left: str
) -> None:
    await stand(Shelf(tmp_path, LARGE), *"abc", days=days)
    in_use = [Shelf(tmp_path, LARGE).find(name) for name in held]  # by another process, as the kernel sees it
    for hold in filter(None, in_use):
        os.utime(hold.path, (0, 0))
    tidying = Shelf(tmp_path, kilobytes * KILOBYTE)

    assert tidying.prune() == 3 - len(left)
    assert names(tmp_path) == list(left)
    for hold in filter(None, in_use):
        hold.close()
    tidying.prune()
    assert names(tmp_path) == [name for name in left if name not in held]


async def test_the_hold_that_another_was_made_of_may_be_closed_first(tmp_path: Path) -> None:
    found = Shelf(tmp_path, 0)
    first = await found.hold("a", fill)
    second = first.another()
    first.close()
    first.close()
    assert found.prune() == 0
    second.close()
    assert found.prune() == 1


async def test_a_copy_that_is_looked_for_is_noted_as_used(tmp_path: Path) -> None:
    found = Shelf(tmp_path, LARGE)
    await stand(found, "a", days=30)
    with await found.hold("a", fill):
        pass
    assert found.prune() == 0


async def test_the_remains_of_processes_that_died_go_after_an_hour(tmp_path: Path) -> None:
    for name in (".making-old", ".going-old", ".making-new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    for name in (".making-old", ".going-old"):
        os.utime(tmp_path / name, (0, 0))
    Shelf(tmp_path, LARGE).prune()
    assert names(tmp_path) == [".making-new"]


async def test_those_who_need_a_copy_at_once_make_it_once_and_a_failure_is_told_to_all(tmp_path: Path) -> None:
    made: list[Path] = []

    async def make(folder: Path) -> None:
        made.append(folder)
        await asyncio.sleep(0)
        raise ValueError("no")

    found = Shelf(tmp_path, LARGE)
    outcomes = await asyncio.gather(*(found.hold("a", make) for _ in range(3)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["no"] * 3
    assert len(made) == 1
    assert names(tmp_path) == []


async def test_a_copy_that_others_remove_each_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Shelf(tmp_path, LARGE)
    monkeypatch.setattr(found, "find", lambda name: shutil.rmtree(tmp_path / name, ignore_errors=True))
    with pytest.raises(NotKept):
        await found.hold("a", fill)


LAZY = """
def run(input, context):
    import later
    return later.VALUE
"""


@pytest.mark.skipif(not PLAIN.confines, reason="this machine confines no tools")
async def test_a_tool_that_stands_ready_keeps_its_files_and_one_that_ended_has_them_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tertulia.tools.pool.IDLE_S", 0.0)
    made = {name: sandboxes.packed(sandboxes.project(LAZY, "", **{"later.py": f"VALUE = {name!r}"})) for name in "ab"}
    async with sandboxes.opened(PLAIN, *(body for body, _ in made.values()), room=Room(cache_bytes=1)) as sandbox:
        projects = sandbox._cache / "projects"
        others = Shelf(projects, 0)
        for name, kept in (("a", "a"), ("b", "b"), ("a", "a")):
            program = made[name][1]
            outcome = await sandbox.call(program, sandboxes.arguments())
            assert isinstance(outcome, ToolSucceeded), outcome
            assert outcome.output == kept
            assert program.digest in names(projects), "the process stands, and holds its files"
            async with asyncio.timeout(20):
                while names(projects):
                    others.prune()
                    await asyncio.sleep(0.02)


def test_bytes_that_another_folder_shares_are_counted_once(tmp_path: Path) -> None:
    for name in ("cache", "used"):
        (tmp_path / name).mkdir()
    (tmp_path / "cache" / "alone").write_bytes(b"x" * 8192)
    (tmp_path / "cache" / "shared").write_bytes(b"x" * 8192)
    os.link(tmp_path / "cache" / "shared", tmp_path / "used" / "shared")
    whole, alone = (shelf.size_of(tmp_path / "cache", shared=shared) for shared in (True, False))
    assert whole == 2 * alone > 0


def test_a_folder_is_measured_no_further_than_to_its_bound(tmp_path: Path) -> None:
    for name in ("a", "a/b", "a/b/c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_bytes(os.urandom(100 * KILOBYTE))

    assert shelf.size_of(tmp_path) == 300 * KILOBYTE
    assert shelf.size_of(tmp_path, most=50 * KILOBYTE) == 100 * KILOBYTE


def test_a_turn_at_work_is_one_processs_and_does_not_come_again_at_once(tmp_path: Path) -> None:
    token = tmp_path / "tidied"

    first = shelf.take_turn(token, 60)
    assert first is not None
    assert shelf.take_turn(token, 0) is None  # somebody has it
    first.close()
    assert shelf.take_turn(token, 60) is None  # it was done
    os.utime(token, (0, 0))
    again = shelf.take_turn(token, 60)
    assert again is not None
    again.close()
