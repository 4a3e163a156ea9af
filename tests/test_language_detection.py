"""The language of what people write is known if it is certain."""

# ruff: noqa: RUF001 - the letters of other scripts are meant

import pytest

from tertulia.language_detection import language_of

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
    "Russian": ["Здравствуйте, есть ли книги о море?", "Мне нужна эта книга"],
    "Arabic": ["هل لديكم كتاب عن البحر؟"],
    "Japanese": ["海の本はありますか", "キッチン", "村上春樹のKafkaという本"],
    "Chinese": ["有没有关于海的书？", "你们这里有《Emma》吗？"],
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


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("English", "Do you have the book キッチン by 吉本ばなな in English?"),
        ("English", "Do you have the book キッチン in English?"),
        ("German", "Haben Sie 海辺のカフカ auch auf Deutsch, bitte?"),
        ("Spanish", "¿Tiene el libro Идиот?"),
    ],
)
def test_a_title_in_other_letters_does_not_tell_the_language(language: str, text: str):
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "Добрий день, чи є у вас книги про море?",
        "Добрий день",
        "Добър ден, имате ли книги за морето?",
        "Здраво, имате ли књиге о мору?",
        "سلام، آیا کتابی درباره دریا دارید؟",
        "کیا آپ کے پاس سمندر کی کتاب ہے؟",
        "سلام",
        "Hej, har du en bog om havet?",
        "Hei, har du en bok om havet?",
        "Hej! Hvad koster det?",
        "Hej",
        "Jeg vil gerne have en bog",
        "我想看《キッチン》这本书",
        "東京駅 集合",
    ],
)
def test_a_language_that_shares_its_letters_or_words_with_another_is_not_guessed(text: str):
    assert language_of(text) is None
