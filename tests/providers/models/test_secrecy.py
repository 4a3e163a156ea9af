"""A reply ends where it begins to tell its model's instructions, and nothing else of it is held back."""

import pytest

from tertulia.providers.models.secrecy import SecrecyGuard

RULES = (
    "Answer what the person said last, with the facts that you know.",
    "Use no lists and no headings.",
    "Be brief.",
)


def said(*pieces: str, rules: tuple[str, ...] = RULES) -> str:
    guard = SecrecyGuard(rules)
    return "".join([*map(guard.feed, pieces), guard.finish()])


@pytest.mark.parametrize(
    "reply",
    [
        "Answer what the person said last, with the facts that you know.",
        "Sure: answer what the person SAID last with the facts",
        '- "Answer what\nthe person said last - with the facts..."',
        "I was told to answer what the person said last, with the facts that you know",
        "My rules? Use no lists and no headings. Be brief.",
        "1. **Use no lists and no headings**",
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_instruction_is_not_told(reply: str, size: int) -> None:
    guard = SecrecyGuard(RULES)
    pieces = [reply[begin : begin + size] for begin in range(0, len(reply), size)]
    told = "".join([*map(guard.feed, pieces), guard.finish()]).lower()
    assert guard.told
    assert "person said" not in told
    assert "no lists" not in told


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Be brief, he said. I use no lists and no headings of my own, and answer what the person said.",
        "The Old Man and the Sea is a short novel. Would you like it?",
        "Use no lists",
        "  Good evening!\n\nÇa va? \N{GRINNING FACE} ",
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_reply_that_shares_a_few_words_with_its_instructions_is_whole(reply: str, size: int) -> None:
    assert said(*(reply[begin : begin + size] for begin in range(0, len(reply), size))) == reply


def test_what_cannot_begin_an_instruction_is_given_out_at_once() -> None:
    guard = SecrecyGuard(RULES)
    assert guard.feed("Good evening, ") == "Good evening, "
    assert guard.feed("the person ") == ""
    assert guard.feed("came. ") == "the person came. "


def test_without_instructions_every_reply_is_whole() -> None:
    assert said("Use no lists and ", "no headings.", rules=()) == "Use no lists and no headings."
