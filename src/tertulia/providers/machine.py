"""The needs of local models: on a machine that lacks them, loading one would fail, or end the process."""

import ctypes
import os
import platform
from pathlib import Path

from tertulia.providers.weights import WeightsUnavailable

CPU_INFO = Path("/proc/cpuinfo")
NEEDED = frozenset({"avx2", "bmi2", "f16c", "fma"})
"""The processor features that xllamacpp is built for on x86-64: https://github.com/xorbitsai/xllamacpp."""


def require_machine() -> None:
    """Check that this machine can run local models, and have their threads wait for each other asleep.

    Raises:
        WeightsUnavailable: it is known that something is missing.
    """
    # By default a thread that waits spins, which takes the processor from the thread that it waits for.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when the library is loaded, below
    missing = _missing_features()
    if missing:
        raise WeightsUnavailable(f"A local model needs a processor with {', '.join(sorted(missing))}.")
    if platform.system() == "Linux" and not _has_openmp():
        raise WeightsUnavailable("A local model needs libgomp.so.1 (Debian, Ubuntu: apt-get install libgomp1).")


def _missing_features() -> frozenset[str]:
    if platform.machine() != "x86_64" or not CPU_INFO.exists():
        return frozenset()
    flags = next((line for line in CPU_INFO.read_text().splitlines() if line.startswith("flags")), "")
    return NEEDED.difference(flags.split()) if flags else frozenset()


def _has_openmp() -> bool:
    """Look for OpenMP: xllamacpp's wheels bring all but this, which slim systems lack. Return if it is there."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return False
    return True
