"""Vectors of authors' texts are kept on the disk, whichever process has read them."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tertulia.errors import EmbeddingFailed
from tertulia.providers.embeddings import kept
from tertulia.providers.embeddings.kept import FILE, KeptEmbeddings, VectorFile, digest, pack, unpack

TEXTS = [f"saying {n}" for n in range(100)]


class Counting:
    """An embedding model that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.asked += texts
        return [[float(len(text)), -0.5, 0.0] for text in texts]


def opened(folder: Path, model: Counting, label: str = "model") -> KeptEmbeddings:
    return KeptEmbeddings(model, label, VectorFile(folder))


@pytest.mark.asyncio
async def test_a_text_is_read_once_by_all_processes_together(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    vectors = await opened(tmp_path, first).embed(TEXTS)
    assert await opened(tmp_path, second).embed([*TEXTS, "new"]) == [
        *vectors,
        *await opened(tmp_path, second).embed(["new"]),
    ]
    assert first.asked == TEXTS
    assert second.asked == ["new"]


@pytest.mark.asyncio
async def test_what_is_known_can_be_looked_up_without_asking_the_model(tmp_path: Path) -> None:
    model = Counting()
    await opened(tmp_path, model).embed(["tea"])
    assert [*await opened(tmp_path, model).known(["tea", "coffee"])] == ["tea"]
    assert model.asked == ["tea"]


@pytest.mark.asyncio
async def test_another_model_reads_for_itself(tmp_path: Path) -> None:
    model = Counting()
    await opened(tmp_path, model).embed(["tea"])
    await opened(tmp_path, model, "another").embed(["tea"])
    assert model.asked == ["tea", "tea"]


@pytest.mark.asyncio
async def test_two_who_wait_for_the_same_texts_have_them_read_once(tmp_path: Path) -> None:
    model = Counting()
    keeping = opened(tmp_path, model)
    one, other = await asyncio.gather(keeping.embed(TEXTS), keeping.embed(TEXTS))
    assert one == other
    assert model.asked == TEXTS


@pytest.mark.asyncio
async def test_who_wants_little_does_not_wait_for_who_wants_much(tmp_path: Path) -> None:
    model = Counting()
    keeping = opened(tmp_path, model)
    await asyncio.gather(keeping.embed(TEXTS), keeping.embed(["tea"]))
    assert model.asked.index("tea") <= kept.PORTION


@pytest.mark.parametrize("vector", [[1.0, -1.0, 0.5], [0.0, 0.0], [1e-9, 3e-9], [1234.5, -0.25]])
def test_a_vector_comes_back_as_it_was_but_for_a_hundredth(vector: list[float]) -> None:
    most = max(map(abs, vector))
    assert unpack(pack(vector)) == pytest.approx(vector, abs=most / 200)


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1e300, -1e300, float("inf"), float("nan")])
async def test_numbers_that_cannot_be_kept_are_a_failure_of_the_model(tmp_path: Path, number: float) -> None:
    class Boundless:
        async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
            return [[number, 1.0] for _ in texts]

    with pytest.raises(EmbeddingFailed):
        await KeptEmbeddings(Boundless(), "model", VectorFile(tmp_path)).embed(["tea"])


@pytest.mark.parametrize("number", [0.0, 5e-324, 7e-322, 1e-310, 1e-40])
def test_numbers_that_are_next_to_nothing_are_kept_as_zeros(number: float) -> None:
    assert unpack(pack([number, -number])) == pytest.approx([0.0, 0.0])


DAMAGE = [
    "UPDATE vectors SET vector = x''",
    "UPDATE vectors SET vector = x'0000'",
    "UPDATE vectors SET vector = 'text'",
    "UPDATE vectors SET vector = 7",
    "UPDATE vectors SET vector = 1.5",
    "UPDATE vectors SET vector = substr(vector, 1, length(vector) - 1)",
    "UPDATE vectors SET vector = substr(vector, 2)",
    "UPDATE vectors SET vector = vector || x'00'",
    "UPDATE vectors SET vector = x'0000807F' || substr(vector, 5)",
    "UPDATE vectors SET vector = (SELECT vector FROM vectors ORDER BY digest LIMIT 1 OFFSET 1)",
    "UPDATE vectors SET used = 'never', vector = x'01'",
]


@pytest.mark.asyncio
@pytest.mark.parametrize("damage", DAMAGE)
async def test_rows_that_are_damaged_are_read_and_written_anew(tmp_path: Path, damage: str) -> None:
    texts = ["tea", "coffee", "milk"]
    vectors = await opened(tmp_path, Counting()).embed(texts)
    with closing(sqlite3.connect(tmp_path / FILE)) as file, file:
        file.execute(f"{damage} WHERE digest = ?", (digest("model", "coffee"),))
    model, later = Counting(), Counting()
    assert [*await opened(tmp_path, model).known(texts)] == ["tea", "milk"]
    assert await opened(tmp_path, model).embed(texts) == vectors
    assert model.asked == ["coffee"]
    assert await opened(tmp_path, later).embed(texts) == vectors
    assert later.asked == []


@pytest.mark.asyncio
async def test_a_model_that_has_changed_its_size_reads_all_anew(tmp_path: Path) -> None:
    class Longer(Counting):
        async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
            return [[*vector, 1.0] for vector in await super().embed(texts)]

    await opened(tmp_path, Counting()).embed(["tea", "coffee"])
    model = Longer()
    assert {len(vector) for vector in await opened(tmp_path, model).embed(["tea", "coffee", "milk"])} == {4}
    assert model.asked == ["milk", "tea", "coffee"]
    assert len(await opened(tmp_path, Counting()).known(["tea", "coffee", "milk"])) == 3


@pytest.mark.asyncio
async def test_a_key_is_looked_up_once_if_nobody_else_reads(tmp_path: Path) -> None:
    looked_up: list[bytes] = []

    class Watched(VectorFile):
        def find(self, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
            looked_up.extend(keys := [*digests])
            return super().find(keys)

    await KeptEmbeddings(Counting(), "model", Watched(tmp_path)).embed(TEXTS[: kept.PORTION])
    assert len(looked_up) == kept.PORTION


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    VectorFile(tmp_path).add({digest("model", "tea"): pack([1.0])})
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600]


def test_words_of_texts_are_not_in_the_file(tmp_path: Path) -> None:
    VectorFile(tmp_path).add({digest("model", "Lapsang Souchong"): pack([1.0])})
    assert b"Lapsang" not in (tmp_path / FILE).read_bytes()


def test_a_file_that_grows_too_large_loses_what_was_not_used_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_BYTES", 100_000)
    file, packed = VectorFile(tmp_path), pack([0.5] * 996)
    days = iter(range(10_000))
    monkeypatch.setattr(kept.time, "time", lambda: next(days) * 86_400.0)
    keys = [digest("model", text) for text in TEXTS]
    for key in keys:
        file.add({key: packed})
    found = file.find(keys)
    assert keys[-1] in found
    assert keys[0] not in found
    assert sum(map(len, found.values())) <= 100_000


@pytest.mark.asyncio
@pytest.mark.parametrize("content", [b"no database at all, but a text of some length" * 100, None])
async def test_a_file_that_cannot_be_used_costs_time_and_no_answer(tmp_path: Path, content: bytes | None) -> None:
    if content is None:
        (tmp_path / FILE).mkdir()
    else:
        (tmp_path / FILE).write_bytes(content)
    model = Counting()
    keeping = opened(tmp_path, model)
    with capture_logs() as logs:
        assert len(await keeping.embed(TEXTS)) == len(TEXTS)
    assert [line["event"] for line in logs] == ["Vectors of sayings cannot be kept."]


FILLING = """
import os, sys
from pathlib import Path
from tertulia.providers.embeddings.kept import VectorFile, digest, pack
file = VectorFile(Path(sys.argv[1]))
for n in range(1_000_000):
    file.add({digest("model", f"{os.getpid()} {n}"): pack([1.0] * 384)})
    print(n, flush=True)
"""


def test_processes_that_are_killed_leave_the_file_whole(tmp_path: Path) -> None:
    key, packed = digest("model", "tea"), pack([1.0, 0.5])
    VectorFile(tmp_path).add({key: packed})
    command = [sys.executable, "-c", FILLING, str(tmp_path)]
    for _ in range(3):
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"0\n"
        for worker in workers:
            worker.kill()
            worker.communicate()
        with capture_logs() as logs:
            assert VectorFile(tmp_path).find([key]) == {key: packed}
        assert logs == []
