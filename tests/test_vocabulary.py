"""Words of texts, as memory and results compare them."""

import pytest

from tertulia.vocabulary import has_quote


@pytest.mark.parametrize(
    ("text", "quote", "is_there"),
    [
        ("My knee hurts, since Monday!", "knee hurts since", True),
        ("Is it there?", "he", False),
        ("我三十四岁 住在上海", "三十四", True),
        ("我三十四岁", "三十五", False),
        ("Hello", "", False),
    ],
)
def test_a_quote_is_found_by_whole_words(text: str, quote: str, is_there: bool) -> None:
    assert has_quote(text, quote) is is_there
