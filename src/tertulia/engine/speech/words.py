"""Words in the scripts of the world: their letters, the marks on letters, and the scripts that write no spaces."""

import unicodedata

_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai and Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Japanese
    (0x3400, 0x9FFF),  # Chinese
    (0x20000, 0x3FFFF),
)
_JOINERS = "\u200c\u200d"  # within words of Indic scripts and Persian
_WITHIN = "'\u2019-\u05f3\u05f4"  # apostrophes, hyphens and their Hebrew kin


def is_mark(character: str) -> bool:
    """Tell if a character belongs to the letter before it: a vowel sign, an accent, a point, a joiner."""
    return unicodedata.category(character)[0] == "M" or character in _JOINERS


def is_of_word(character: str) -> bool:
    """Tell if a character is a letter or a digit, or a mark on one; none is not."""
    return bool(character) and (character.isalnum() or is_mark(character))


def without_part(text: str, following: str) -> str:
    """Cut off what is but the beginning of a word, or of a letter with its marks, before the character `following`.

    Return the rest, of whole words. In a script without spaces each letter may be the last one.
    """
    end = len(text)
    if not following or not (is_of_word(following) or following in _WITHIN):
        return text
    if is_mark(following):
        while end and is_mark(text[end - 1]):
            end -= 1
        end = max(0, end - 1)
        following = text[end : end + 1]
    if following and _is_spaceless(following):
        return text[:end]
    while end and (is_of_word(text[end - 1]) or text[end - 1] in _WITHIN) and not _is_spaceless(text[end - 1]):
        end -= 1
    return text[:end]


def _is_spaceless(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _SPACELESS)
