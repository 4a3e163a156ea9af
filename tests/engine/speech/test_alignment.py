"""Every character of a written sentence gets a time, whatever a voice tells of its words."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tertulia.engine.speech.alignment import Alignment
from tertulia.engine.speech.speakable import speakable
from tertulia.providers.base import Word

NUMBERS = st.floats() | st.floats(-100, 3000)
WORDS = st.builds(Word, st.integers(-5, 60), st.integers(-5, 60), NUMBERS, NUMBERS)
WRITTEN = st.text(max_size=40) | st.text("ab 1,.*_[](😀", max_size=40)


def aligned(written: str, language: str = "eng") -> Alignment:
    return Alignment(written, speakable(written, language))


def test_characters_are_known_with_the_word_that_they_are_in() -> None:
    alignment = aligned("Hi you.")
    assert alignment.add([Word(0, 2, 100, 200)]) == [(100, "H"), (150, "i")]
    assert alignment.add([]) == []
    assert alignment.add([Word(3, 6, 220, 520)]) == [(200, " "), (220, "y"), (320, "o"), (420, "u")]
    assert alignment.finish(600) == [(520, ".")]


def test_what_is_not_spoken_takes_its_time_where_it_stands() -> None:
    alignment = aligned("**Hi** 😀 you 😀")
    assert alignment.add([Word(0, 2, 100, 200), Word(3, 6, 300, 600)]) == [
        *((100, char) for char in "**H"),
        (150, "i"),
        *((200, char) for char in "** 😀"),
        (200, " "),
        (300, "y"),
        (400, "o"),
        (500, "u"),
    ]
    assert alignment.finish(800) == [(800, " "), (800, "😀")]


def test_a_number_sounds_as_long_as_its_words() -> None:
    alignment = aligned("42 is it")
    spoken = "forty-two is it"
    known = alignment.add([Word(0, 9, 0, 900), Word(10, 12, 1000, 1200)])
    assert known == [(0, "4"), (450, "2"), (900, " "), (1000, "i"), (1100, "s")]
    assert spoken == speakable("42 is it", "eng").text


def test_without_words_characters_are_spread_over_the_sound() -> None:
    assert aligned("abcd").finish(400) == [(0, "a"), (100, "b"), (200, "c"), (300, "d")]
    assert aligned("😀").finish(0) == [(0, "😀")]
    assert aligned("").finish(100) == []


def test_characters_that_sound_later_than_there_is_sound_are_kept() -> None:
    alignment = aligned("Hi you.")
    words = [Word(0, 2, 0, 200), Word(3, 6, 300, 9000)]
    assert alignment.add(words, sounded_ms=150) == [(0, "H"), (100, "i")]
    assert alignment.add([], sounded_ms=250) == [(200, " ")]
    assert alignment.finish(1000) == [(300, "y"), (1000, "o"), (1000, "u"), (1000, ".")]


@given(WRITTEN, st.lists(st.tuples(st.lists(WORDS, max_size=4), st.floats(0, 500))), st.floats(0, 500))
def test_every_character_has_one_time_within_the_sound(
    written: str, told: list[tuple[list[Word], float]], tail_ms: float
) -> None:
    alignment, sounded_ms = aligned(written), 0.0
    times: list[tuple[float, str]] = []
    for words, more_ms in told:
        sounded_ms += more_ms
        times += alignment.add(words, sounded_ms)
    times += alignment.finish(sounded_ms + tail_ms)
    check(written, times)
    assert all(ms <= sounded_ms + tail_ms for ms, _ in times)


@given(WRITTEN, st.lists(st.lists(WORDS, max_size=4)), NUMBERS)
def test_it_holds_together_where_nobody_says_how_much_sound_there_is(
    written: str, told: list[list[Word]], duration_ms: float
) -> None:
    alignment = aligned(written)
    times = [time for words in told for time in alignment.add(words)] + alignment.finish(duration_ms)
    check(written, times)


def check(written: str, times: list[tuple[float, str]]) -> None:
    assert "".join(char for _, char in times) == written
    assert all(ms >= 0 and not math.isnan(ms) for ms, _ in times)
    assert all(before <= after for (before, _), (after, _) in pairwise(times))
