"""Times of the characters of a written sentence, from the times of the words that a voice spoke of it."""

import math
from collections import deque
from collections.abc import Sequence

from tertulia.engine.speech.speakable import Speakable
from tertulia.providers.base import Word


class Alignment:
    """The times of a sentence's characters, as they become known.

    What `add` and `finish` return, joined, has every character of the written text once, in order, with milliseconds
    since the sentence's sound began. Times are at least 0 and never go back, whatever a voice says.
    """

    def __init__(self, written: str, speakable: Speakable) -> None:
        self._written = written
        self._places = _places(speakable)
        """The place in the spoken text at which each written character is said."""
        self._length = len(speakable.text)
        self._placed = 0
        """The number of characters that have a time."""
        self._at: float = 0.0
        self._ms: float = 0.0
        """Up to where in the spoken text (`_at`) times are known, and the last of them."""
        self._timed: deque[tuple[float, str]] = deque()
        """Characters with a time that have not been returned."""
        self._returned_ms = 0.0

    def add(self, words: Sequence[Word], sounded_ms: float = math.inf) -> list[tuple[float, str]]:
        """Take the times of the next words of the spoken text; the characters whose times are known by now.

        With `sounded_ms`, how much of the sentence's sound there is so far, characters that sound later are kept until
        there is more: then no time is after the sound's end, even where a voice gives wrong times.
        """
        for word in words:
            start, end = max(word.start, self._at), min(word.end, self._length)
            if start < end and math.isfinite(word.begins_ms) and math.isfinite(word.ends_ms):
                self._place(start, word.begins_ms)
                self._place(end, word.ends_ms)
        return self._return(sounded_ms, math.inf)

    def finish(self, duration_ms: float) -> list[tuple[float, str]]:
        """Place the rest of the characters in the rest of the sound, evenly. Return their times."""
        duration_ms = max(0.0, duration_ms)
        self._place(self._length, duration_ms)
        self._timed.extend((duration_ms, char) for char in self._written[self._placed :])
        self._placed = len(self._written)
        return self._return(math.inf, duration_ms)

    def _place(self, end: float, ends_ms: float) -> None:
        """Give times to the characters that are said before `end`, on a line from the last known time to `ends_ms`."""
        begin, begins_ms = self._at, self._ms
        ends_ms = max(begins_ms, ends_ms)
        while self._placed < len(self._places) and self._places[self._placed] < end:
            part = max(0.0, self._places[self._placed] - begin) / (end - begin)
            ms = min(ends_ms, begins_ms + (ends_ms - begins_ms) * part)
            self._timed.append((ms, self._written[self._placed]))
            self._placed += 1
        self._at, self._ms = end, ends_ms

    def _return(self, until_ms: float, latest_ms: float) -> list[tuple[float, str]]:
        """Those that sound by `until_ms`, none later than `latest_ms`, and none before what was returned."""
        known: list[tuple[float, str]] = []
        while self._timed and self._timed[0][0] <= until_ms:
            ms, char = self._timed.popleft()
            self._returned_ms = max(self._returned_ms, min(ms, latest_ms))
            known.append((self._returned_ms, char))
        return known


def _places(speakable: Speakable) -> list[float]:
    places: list[float] = []
    for span in speakable.spans:
        said = (span.spoken_end - span.spoken_start) / max(1, span.written_end - span.written_start)
        places.extend(span.spoken_start + n * said for n in range(span.written_end - span.written_start))
    return places
