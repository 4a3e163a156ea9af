from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

class Word:
    start: float
    end: float
    word: str

class Segment:
    words: list[Word] | None
    compression_ratio: float

class WhisperModel:
    def __init__(
        self,
        model_size_or_path: str,
        device: str,
        compute_type: str,
        cpu_threads: int,
        num_workers: int,
        local_files_only: bool,
    ) -> None: ...
    def transcribe(
        self,
        audio: NDArray[np.float32],
        language: str,
        beam_size: int,
        temperature: float,
        condition_on_previous_text: bool,
        vad_filter: bool,
        word_timestamps: bool,
        hotwords: str | None,
        max_new_tokens: int | None,
    ) -> tuple[Iterable[Segment], Any]: ...
    def encode(self, features: NDArray[np.float32]) -> Any: ...
