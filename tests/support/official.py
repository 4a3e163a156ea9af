"""The source distribution of the contract's official client, which holds the client's own tests.

Nothing of it is kept in this repository: pip fetches it when a test asks for it, as the machine's pip is configured.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "2.5.0"
FILE = f"amigo_sdk-{VERSION}.tar.gz"
SHA256 = "88106b9be8a5b09e2733b65d601dcf2c64064e22d3d828612c31e97e821f5258"
PATIENCE_S = 180


class Unavailable(Exception):
    """The source distribution cannot be had here; the text says why."""


def source() -> Path:
    """The source distribution, from the cache where an earlier run left it.

    Raises:
        Unavailable: pip cannot get the file that is pinned here.
    """
    kept = _cache() / FILE
    if not _is_right(kept):
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            _download(Path(folder))
            (Path(folder) / FILE).replace(kept)
    return kept


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack it below a folder, its links and names checked; the folder of the project."""
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2, Debian 12's, has none yet
        tar.extractall(folder)  # noqa: S202 - its hash is pinned
    return folder / FILE.removesuffix(".tar.gz")


def _cache() -> Path:
    """A folder that outlives the run: of the user, or where that cannot be written, among the temporary ones."""
    wanted = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tertulia" / "tests"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=wanted).close()
    except OSError:
        wanted = Path(tempfile.gettempdir()) / f"tertulia-tests-{os.getuid()}"
        wanted.mkdir(exist_ok=True)
    return wanted


def _download(folder: Path) -> None:
    """Have pip fetch and check it. Pip also asks its build backend for metadata: ours, so that no other is fetched."""
    pinned = folder / "pinned.txt"
    pinned.write_text(f"amigo-sdk=={VERSION} --hash=sha256:{SHA256}\n")
    options = ["--no-deps", "--no-binary", "amigo-sdk", "--no-build-isolation", "--no-input", "--retries", "1"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, "--requirement", pinned]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"pip did not get {FILE} in {PATIENCE_S} s.") from error
    if done.returncode or not _is_right(folder / FILE):
        raise Unavailable(f"pip could not get {FILE}: {done.stderr.strip()[-500:]}")


def _is_right(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
