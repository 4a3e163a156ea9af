"""Results that are kept for the next call: those of short texts, up to a number of them; of values, while they live."""

import gc

from pydantic import BaseModel, ConfigDict

from tertulia.caching import WORD, cached_if_short, kept_while_alive


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


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)

    words: list[str]


def test_the_result_of_a_value_is_kept_while_the_value_lives_and_a_changed_copy_has_its_own() -> None:
    calls: list[str] = []

    @kept_while_alive
    def joined(part: _Part) -> str:
        calls.append(" ".join(part.words))
        return calls[-1]

    part = _Part(words=["one"])
    copy = part.model_copy(update={"words": ["two"]})

    assert [joined(part), joined(copy), joined(part), joined(copy)] == ["one", "two", "one", "two"]
    assert calls == ["one", "two"]


def test_nothing_is_kept_of_a_value_that_is_gone() -> None:
    @kept_while_alive
    def joined(part: _Part) -> str:
        return " ".join(part.words)

    told: set[str] = set()
    for number in range(100):
        told.add(joined(_Part(words=[str(number)])))
        gc.collect(0)

    assert len(told) == 100
