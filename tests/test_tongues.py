"""The language of what people write is known if it is certain."""

# ruff: noqa: RUF001 - the letters of other scripts are meant

import pytest

from tertulia.tongues import language_of

KNOWN = {
    "German": [
        "Guten Tag! Haben Sie einen Krimi?",
        "Wann trifft sich der Lesekreis?",
        "Vielen Dank!",
        "Was kostet das?",
    ],
    "French": ["Bonjour, avez-vous un roman policier ?", "Merci beaucoup", "Et pour les enfants ?"],
    "Spanish": ["Hola", "¿De qué trata?", "no gracias", "¿Cuándo es la próxima reunión?"],
    "Italian": ["Ciao, avete un libro sul mare?", "grazie"],
    "Dutch": ["Wat kost het?"],
    "Swedish": ["Hej! Vad kostar det?"],
    "Russian": ["Здравствуйте, есть ли книги о море?"],
    "Japanese": ["海の本はありますか"],
    "Chinese": ["有没有关于海的书？"],
    "English": ["How about The Hound of the Baskervilles, by Arthur Conan Doyle?", "Was it expensive?"],
}


@pytest.mark.parametrize(("language", "text"), [(language, text) for language in KNOWN for text in KNOWN[language]])
def test_a_language_is_known_by_its_letters_or_its_common_words(language: str, text: str):
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text",
    ["", "ok", "yo", "in", "No", "Da", "Les Misérables?", "Die Hard", "Is Der Zauberberg good?", "123", "Tula", "?"],
)
def test_names_and_words_of_several_languages_tell_none(text: str):
    assert language_of(text) is None
