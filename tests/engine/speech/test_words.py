"""Words in the scripts of the world, cut where a listener interrupted them."""

# ruff: noqa: RUF001 - the letters of other scripts are meant
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.engine.speech.words import is_mark, is_of_word, without_part

TEXTS = {
    "Hindi": "नमस्ते दुनिया, यह हिन्दी है",
    "Bengali": "বাংলা ভাষায় কথা বলি",
    "pointed Hebrew": "שָׁלוֹם עֲלֵיכֶם",
    "Arabic with its vowels": "مَرْحَبًا بِالعَالَمِ",
    "decomposed": unicodedata.normalize("NFD", "Ein schöner Übergang"),
    "Tamil": "வணக்கம் உலகம்",
    "English": "It's a well-known tea",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_cut_leaves_whole_words(text: str) -> None:
    for end in range(1, len(text)):
        within = text[end] not in " ," and text[end - 1] not in " ,"
        kept = text[: text.rfind(" ", 0, end) + 1] if within else text[:end]
        assert without_part(text[:end], text[end]) == kept


@pytest.mark.parametrize("text", ["สวัสดีชาวโลกทั้งหลาย", "កម្ពុជា", "မြန်မာဘာသာ", "日本語が話せます", "か\u3099くせい"])
def test_a_script_without_spaces_may_be_cut_at_each_letter_but_never_within_one(text: str) -> None:
    for end in range(1, len(text)):
        kept = without_part(text[:end], text[end])
        assert len(kept) > end - 5
        assert not is_mark(text[len(kept)])


def test_joiners_are_within_words() -> None:
    assert without_part("می\u200cخو", "ا") == ""
    assert is_of_word("\u200d")


@given(st.text(), st.characters())
def test_what_is_kept_is_the_beginning_and_ends_no_word_that_goes_on(text: str, following: str) -> None:
    kept = without_part(text, following)
    assert text.startswith(kept)
    if kept == text and text and is_mark(following):
        raise AssertionError("a mark was cut from its letter")
