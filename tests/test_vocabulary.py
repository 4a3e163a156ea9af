"""Words of texts, as memory and results compare them."""

import pytest

from tertulia.vocabulary import has_quote, placed_words


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


@pytest.mark.parametrize("sought", [{"marmot"}, {"漢", "字", "漢字"}, {"字漢"}, {"colibri", "鳥"}])
@pytest.mark.parametrize("text", ["漢字漢字 marmots 漢字", "A colibrí, 字漢字鳥!", "鳥鳥", ""])
def test_what_is_sought_is_found_with_its_place_wherever_it_stands(text: str, sought: set[str]) -> None:
    found = [each for each in placed_words(text) if each[0] in sought]
    assert [each for each in placed_words(text, sought) if each[0] in sought] == found


def test_text_of_a_script_without_spaces_is_passed_over_where_nothing_sought_stands_in_it() -> None:
    assert list(placed_words("漢字" * 50_000 + " marmot", {"marmot"})) == [("marmot", 100_001, 100_007)]
