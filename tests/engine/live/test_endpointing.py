import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tertulia.engine.live.endpointing import (
    AFTER_MS,
    BEFORE_MS,
    PAUSE_MS,
    SENTENCE_SILENCE_MS,
    SHORTEST_MS,
    SILENCE_MS,
    Endpointer,
    Mark,
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
)

FRAME_MS = 30
BEFORE = BEFORE_MS // FRAME_MS
AFTER = AFTER_MS // FRAME_MS
SHORTEST = SHORTEST_MS // FRAME_MS
SILENCE = SILENCE_MS // FRAME_MS
SENTENCE_SILENCE = math.ceil(SENTENCE_SILENCE_MS / FRAME_MS)
PAUSE = math.ceil(PAUSE_MS / FRAME_MS)
LONGEST_MS = 3000

SPEECH, WAVERING, QUIET = 0.9, 0.4, 0.1


def all_marks_of(likelihoods: Sequence[float], longest_ms: float = 120_000) -> list[tuple[int, Mark]]:
    """Each mark, and how many frames had come when it was made."""
    endpointer = Endpointer(FRAME_MS, longest_ms)
    marks = [(number, endpointer.feed(likelihood)) for number, likelihood in enumerate(likelihoods, 1)]
    return [(number, mark) for number, mark in marks if mark is not None]


def marks_of(
    likelihoods: Sequence[float], longest_ms: float = 120_000
) -> list[tuple[int, SpeechStarted | SpeechEnded]]:
    """As `all_marks_of`, without pauses."""
    marks = all_marks_of(likelihoods, longest_ms)
    return [(number, mark) for number, mark in marks if isinstance(mark, SpeechStarted | SpeechEnded)]


def test_speech_starts_when_it_has_lasted_and_ends_when_silence_has():
    spoken = [QUIET] * 20 + [SPEECH] * 10 + [QUIET] * 40
    assert marks_of(spoken) == [
        (20 + SHORTEST, SpeechStarted(20 - BEFORE)),
        (30 + SILENCE, SpeechEnded(20 - BEFORE, 30 + AFTER)),
    ]


def test_a_click_is_no_speech():
    assert marks_of(([SPEECH] * (SHORTEST - 1) + [QUIET]) * 20) == []


def test_a_pause_within_a_sentence_does_not_end_it():
    spoken = [SPEECH] * 10 + [QUIET] * (SILENCE - 1) + [SPEECH] + [QUIET] * SILENCE
    assert [mark for _, mark in marks_of(spoken)] == [SpeechStarted(0), SpeechEnded(0, 10 + SILENCE + AFTER)]


def test_a_pause_is_told_once_and_so_is_that_it_is_over():
    spoken = [SPEECH] * 10 + [QUIET] * (PAUSE + 3) + [SPEECH] * 5 + [QUIET] * SILENCE
    assert all_marks_of(spoken) == [
        (SHORTEST, SpeechStarted(0)),
        (10 + PAUSE, SpeechPaused(0, 10 + AFTER)),
        (10 + PAUSE + 4, SpeechResumed()),
        (18 + 2 * PAUSE, SpeechPaused(0, 18 + PAUSE + AFTER)),
        (18 + PAUSE + SILENCE, SpeechEnded(0, 18 + PAUSE + AFTER)),
    ]


@pytest.mark.parametrize("known_after", [PAUSE, SENTENCE_SILENCE - 1, SENTENCE_SILENCE + 2])
def test_whole_sentences_end_with_a_shorter_silence(known_after: int):
    endpointer = Endpointer(FRAME_MS, LONGEST_MS)
    for likelihood in [SPEECH] * 10 + [QUIET] * known_after:
        endpointer.feed(likelihood)
    endpointer.expect_end()
    more = [endpointer.feed(QUIET) for _ in range(max(1, SENTENCE_SILENCE - known_after))]
    assert more[-1] == SpeechEnded(0, 10 + AFTER)
    assert not any(more[:-1])


def test_who_goes_on_after_whole_sentences_has_the_longer_silence_again():
    endpointer = Endpointer(FRAME_MS, LONGEST_MS)
    for likelihood in [SPEECH] * 10 + [QUIET] * PAUSE:
        endpointer.feed(likelihood)
    endpointer.expect_end()
    assert endpointer.feed(SPEECH) == SpeechResumed()
    assert [endpointer.feed(QUIET) for _ in range(SENTENCE_SILENCE)][PAUSE:] == [None] * (SENTENCE_SILENCE - PAUSE)
    assert endpointer.speaking


def test_what_wavers_goes_on_but_does_not_begin():
    assert marks_of([WAVERING] * 100) == []
    assert [mark for _, mark in marks_of([SPEECH] + [WAVERING] * 100)] == [SpeechStarted(0)]


def test_at_the_streams_beginning_there_is_nothing_before():
    assert marks_of([SPEECH] * SHORTEST) == [(SHORTEST, SpeechStarted(0))]


def test_a_monologue_is_cut_into_utterances_without_a_gap():
    marks = [mark for _, mark in marks_of([SPEECH] * 250, LONGEST_MS)]
    assert marks == [
        SpeechStarted(0),
        SpeechEnded(0, 100),
        SpeechStarted(100),
        SpeechEnded(100, 200),
        SpeechStarted(200),
    ]


def test_what_is_being_said_can_be_ended():
    endpointer = Endpointer(FRAME_MS, LONGEST_MS)
    for _ in range(5):
        endpointer.feed(SPEECH)
    assert endpointer.speaking
    assert endpointer.finish() == SpeechEnded(0, 5)
    assert not endpointer.speaking
    assert endpointer.finish() is None


likelihoods = st.lists(
    st.tuples(st.sampled_from([SPEECH, WAVERING, QUIET]) | st.floats(0, 1), st.integers(1, 40)), max_size=30
).map(lambda runs: [likelihood for likelihood, length in runs for _ in range(length)])


@given(likelihoods)
def test_utterances_are_apart_bounded_and_in_order(stream: list[float]):
    open_at: int | None = None
    free = 0
    for frames, mark in marks_of(stream, LONGEST_MS):
        if isinstance(mark, SpeechStarted):
            assert open_at is None
            assert free <= mark.begins <= frames - SHORTEST
            assert mark.begins >= frames - SHORTEST - BEFORE
            open_at = mark.begins
        else:
            assert mark.begins == open_at
            assert mark.begins < mark.ends <= frames
            assert mark.ends - mark.begins <= math.ceil(LONGEST_MS / FRAME_MS)
            open_at, free = None, mark.ends


@given(likelihoods)
@example([SPEECH] * 80 + [QUIET] * 19 + [SPEECH])
def test_every_utterance_that_ends_in_a_pause_was_told_whole_by_the_pause(stream: list[float]):
    paused: SpeechPaused | None = None
    for _, mark in all_marks_of(stream, LONGEST_MS):
        match mark:
            case SpeechPaused():
                assert paused is None
                paused = mark
            case SpeechResumed():
                assert paused is not None
                paused = None
            case SpeechEnded(begins, ends):
                assert paused is None or paused == SpeechPaused(begins, ends)
                paused = None
            case SpeechStarted():
                assert paused is None


@given(likelihoods, st.integers(0, 600))
def test_no_frame_is_wanted_that_could_be_forgotten(stream: list[float], end: int):
    endpointer = Endpointer(FRAME_MS, LONGEST_MS)
    needed = 0
    for likelihood in stream[:end]:
        mark = endpointer.feed(likelihood)
        assert mark is None or isinstance(mark, SpeechResumed) or mark.begins >= needed
        assert endpointer.first_needed >= needed
        needed = endpointer.first_needed
    last = endpointer.finish()
    assert last is None or last.begins >= needed


@given(st.integers(20, 96), st.integers(1, 400))
def test_it_knows_frames_of_any_length(frame_ms: int, longest_ms: int):
    endpointer = Endpointer(frame_ms, longest_ms)
    marks = [mark for mark in (endpointer.feed(SPEECH) for _ in range(200)) if mark is not None]
    assert isinstance(marks[0], SpeechStarted)
    assert all(type(one) is not type(other) for one, other in itertools.pairwise(marks))
