"""Ends of speech in a stream of sound, told from how likely each of its frames is speech.

Frames are counted from 0. Two thresholds keep a wavering detector from cutting words: the upper one begins speech, only
the lower one ends it.
"""

import math
from dataclasses import dataclass

BEGINS_AT = 0.5
"""A frame at least so likely begins speech."""

ENDS_BELOW = 0.35
"""A frame less likely than this is silence."""

SHORTEST_MS = 90
"""The shortest speech; a shorter sound is a click or a cough."""

SILENCE_MS = 600
"""So long a silence ends an utterance."""

SENTENCE_SILENCE_MS = 400
"""So long a silence ends an utterance whose words are known to be whole sentences."""

PAUSE_MS = 200
"""So long a silence may be the end: what has been said by then is worth hearing."""

BEFORE_MS = 300
"""Kept from before the first frame of speech: a first syllable may be too quiet to be one."""

AFTER_MS = 200
"""Kept of the silence that ends an utterance; no more than a pause has, so that a pause knows the whole utterance."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody speaks; the utterance's first frame is `begins`."""

    begins: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """They have ended: the utterance is the frames from `begins` up to `ends`, which is not part of it."""

    begins: int
    ends: int


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """They pause. If they do not go on, the utterance is the frames from `begins` up to `ends`, as in SpeechEnded."""

    begins: int
    ends: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """They go on after a pause."""


Mark = SpeechStarted | SpeechPaused | SpeechResumed | SpeechEnded


class Endpointer:
    """The utterances of one stream, each a SpeechStarted and then a SpeechEnded, one after the other.

    Between these, each pause is a SpeechPaused, and a SpeechResumed unless the utterance ends with the pause.
    """

    def __init__(self, frame_ms: int, longest_ms: float) -> None:
        """Begin to listen. An utterance that reaches `longest_ms` milliseconds is ended, and another one follows."""
        self._shortest = math.ceil(SHORTEST_MS / frame_ms)
        self._silence = math.ceil(SILENCE_MS / frame_ms)
        self._sentence_silence = math.ceil(SENTENCE_SILENCE_MS / frame_ms)
        self._pause = math.ceil(PAUSE_MS / frame_ms)
        self._before = math.ceil(BEFORE_MS / frame_ms)
        self._after = AFTER_MS // frame_ms
        self._longest = max(self._before + self._shortest + 1, int(longest_ms / frame_ms))
        self._frames = 0
        self._speech = 0
        """Frames of speech so far, of what may become an utterance."""
        self._quiet = 0
        """Frames of silence since the last frame of speech."""
        self._enough = self._silence
        """Frames of silence that end the utterance."""
        self._begins: int | None = None
        self._free = 0
        """The first frame that no utterance has."""

    @property
    def speaking(self) -> bool:
        """True if an utterance has started and not ended."""
        return self._begins is not None

    @property
    def first_needed(self) -> int:
        """The first frame that an utterance may still want; earlier ones can be forgotten."""
        if self._begins is not None:
            return self._begins
        return max(self._free, self._frames - self._speech - self._before)

    def feed(self, likelihood: float) -> Mark | None:
        """Take the next frame, 0 to 1 as likely to be speech; what it is the end of, if anything."""
        self._frames += 1
        if self._begins is None:
            return self._wait(likelihood)
        paused = self._quiet >= self._pause
        self._quiet = self._quiet + 1 if likelihood < ENDS_BELOW else 0
        # A pause that is as good as the longest utterance ends it: it could only be gone on with by a single frame.
        longest = self._longest - (self._quiet >= self._pause)
        if self._quiet >= self._enough or self._frames - self._begins >= longest:
            return self._end()
        if self._quiet == self._pause:
            return SpeechPaused(self._begins, self._ends)
        if paused and not self._quiet:
            self._enough = self._silence
            return SpeechResumed()
        return None

    def expect_end(self) -> None:
        """End the utterance after a shorter silence, unless they go on: its words are whole sentences."""
        if self._quiet >= self._pause:
            self._enough = self._sentence_silence

    def finish(self) -> SpeechEnded | None:
        """End what is being said, for nothing follows for now."""
        self._speech = 0
        return None if self._begins is None else self._end()

    def _wait(self, likelihood: float) -> SpeechStarted | None:
        goes_on = likelihood >= (ENDS_BELOW if self._speech else BEGINS_AT)
        self._speech = self._speech + 1 if goes_on else 0
        if self._speech < self._shortest:
            return None
        self._begins = self.first_needed
        self._speech = self._quiet = 0
        return SpeechStarted(self._begins)

    def _end(self) -> SpeechEnded:
        assert self._begins is not None  # noqa: S101 - for the type checker
        ended = SpeechEnded(self._begins, self._ends)
        self._begins, self._free, self._enough = None, self._frames, self._silence
        return ended

    @property
    def _ends(self) -> int:
        return self._frames - max(0, self._quiet - self._after)
