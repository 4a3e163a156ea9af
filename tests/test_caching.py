"""Results that are kept for the next call: those of short texts, up to a number of them."""

from tertulia.caching import WORD, cached_if_short


def test_the_result_of_a_long_text_is_not_kept() -> None:
    calls: list[str] = []

    @cached_if_short(2)
    def size(text: str) -> int:
        calls.append(text)
        return len(text)

    short, long = "a" * WORD, "a" * (WORD + 1)

    assert [size(text) for text in (short, short, long, long)] == [WORD, WORD, WORD + 1, WORD + 1]
    assert calls == [short, long, long]


def test_the_text_that_was_used_longest_ago_makes_room() -> None:
    calls: list[str] = []

    @cached_if_short(2)
    def same(text: str) -> str:
        calls.append(text)
        return text

    for text in "abacab":
        same(text)

    assert "".join(calls) == "abcb"
