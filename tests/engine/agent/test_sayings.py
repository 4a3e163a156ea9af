"""Sayings of people who mean an option: read from the end of its text."""

import pytest

from tertulia.engine.agent import sayings


@pytest.mark.parametrize(
    ("text", "bare", "said"),
    [
        ('The person leaves. People say: "Bye!", "so long".', "The person leaves.", ("Bye!", "so long")),
        ("The person leaves. People say: “Bye!”, “so long”", "The person leaves.", ("Bye!", "so long")),
        ('Chat.\nPeople say:  "hm, well"', "Chat.", ("hm, well",)),
        ("The person leaves.", "The person leaves.", ()),
        ("People say: nothing.", "People say: nothing.", ()),
        ('People say: "hello" to each other.', 'People say: "hello" to each other.', ()),
        ("", "", ()),
        ("a" + " " * 200_000 + "b", "a" + " " * 200_000 + "b", ()),  # looked at once, not once from each space
    ],
)
def test_sayings_stand_at_the_end_in_quotation_marks(text: str, bare: str, said: tuple[str, ...]) -> None:
    assert sayings.split(text) == (bare, said)
    assert sayings.without(text) == bare


def test_an_opening_is_in_quotation_marks_and_no_saying() -> None:
    text = 'Introduce yourself. Begin with: "I am Ana," and go on. People say: "Begin with: me".'
    assert sayings.opening(text) == "I am Ana,"
    assert sayings.opening("Greet. Begin with: “Hello!”") == "Hello!"
    assert sayings.opening("Begin with: a smile.") == ""
