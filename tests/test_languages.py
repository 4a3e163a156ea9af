"""The table of languages that is committed, against the package from which it is made."""

import iso639
import pytest

from support.languages import FILE, table
from tertulia import languages


def test_the_table_is_what_the_package_knows() -> None:
    assert FILE.read_text("utf-8") == table()


def test_every_code_finds_its_language() -> None:
    for language in iso639.ALL_LANGUAGES:
        found = languages.find(language.part3)
        assert found is not None
        assert languages.is_code(language.part3)
        assert (found.name, found.short) == (language.name, language.part1 or "")


def test_a_short_code_finds_its_language() -> None:
    short = {language.part1: language.part3 for language in iso639.ALL_LANGUAGES if language.part1}
    assert {code: found.code for code in short if (found := languages.find_short(code))} == short
    assert languages.with_short_code() == set(short.values())


@pytest.mark.parametrize("code", ["", "en", "ENG", "xyz", "english", "eng\n"])
def test_what_is_no_code_finds_nothing(code: str) -> None:
    assert languages.find(code) is None
    assert not languages.is_code(code)
