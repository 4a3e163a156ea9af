"""Whether this machine's processor can run local models: elsewhere, loading one would end the process."""

import platform
from pathlib import Path

from tertulia.providers.weights import WeightsUnavailable

CPU_INFO = Path("/proc/cpuinfo")
NEEDED = frozenset({"avx2", "bmi2", "f16c", "fma"})
"""What xllamacpp is built for on x86-64: https://github.com/xorbitsai/xllamacpp."""


def require_processor() -> None:
    """Raises WeightsUnavailable where the processor is known to lack what is needed."""
    if platform.machine() != "x86_64" or not CPU_INFO.exists():
        return
    flags = next((line for line in CPU_INFO.read_text().splitlines() if line.startswith("flags")), "")
    missing = NEEDED.difference(flags.split())
    if flags and missing:
        raise WeightsUnavailable(f"This processor lacks what a local model needs: {', '.join(sorted(missing))}.")
