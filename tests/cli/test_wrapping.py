"""Text in pieces, and the lines that a terminal gets of it."""

import pytest

from tertulia.cli.wrapping import Wrapping

TEXT = "Hello there, this is a longer reply.\n\n- one item\n  and a café"


def wrap(text: str, width: int, each: int, column: int = 0) -> str:
    written: list[str] = []
    wrapping = Wrapping(written.append, width, column)
    for start in range(0, len(text), each):
        wrapping.feed(text[start : start + each])
    wrapping.finish()
    return "".join(written)


@pytest.mark.parametrize("each", [1, 3, 7, 100])
def test_lines_end_between_words_wherever_the_text_was_cut(each: int) -> None:
    assert wrap(TEXT, 20, each) == "Hello there, this is\na longer reply.\n\n- one item\n  and a café"


@pytest.mark.parametrize("each", [1, 5, 100])
def test_a_terminal_that_is_wide_enough_gets_the_text_as_it_is(each: int) -> None:
    assert wrap(TEXT, 200, each) == TEXT


def test_a_first_line_is_shorter_by_what_stands_before_it() -> None:
    assert wrap("one two", 8, 1, column=5) == "one\ntwo"
    assert wrap("one two", 8, 1) == "one two"


def test_a_word_that_is_longer_than_a_line_stays_whole() -> None:
    address = "https://example.com/a/long/way"
    assert wrap(f"See {address} now", 12, 1) == f"See\n{address} now"


def test_writing_without_gaps_ends_anywhere_but_before_a_mark() -> None:
    assert wrap("日本語の文。", 10, 1) == "日本語の文。"
    assert wrap("日本語の文章", 10, 1) == "日本語の文\n章"


def test_a_word_is_written_once_it_is_whole_and_no_later() -> None:
    written: list[str] = []
    wrapping = Wrapping(written.append, 40)
    wrapping.feed("Hel")
    assert written == []
    wrapping.feed("lo the")
    assert written == ["Hello"]
