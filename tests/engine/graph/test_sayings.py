"""Sayings of people who mean an option: read from the end of its text."""

import pytest

from tertulia.engine.graph import sayings


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
    assert sayings.phrased(text, []).text == bare


def test_an_opening_is_in_quotation_marks_and_no_saying() -> None:
    text = 'Introduce yourself. Begin with: "I am Ana," and go on. People say: "Begin with: me".'
    assert sayings.phrased(text, []).opening == "I am Ana,"
    assert sayings.phrased("Greet. Begin with: “Hello!”", []).opening == "Hello!"
    assert sayings.phrased("Begin with: a smile.", []).opening == ""


def test_a_wording_is_the_whole_reply_and_no_opening() -> None:
    phrased = sayings.phrased('Decline. In words like these: "I cannot do that." People say: "Sing!".', [])
    assert (phrased.text, phrased.opening) == ('Decline. In words like these: "I cannot do that."', "")
    assert phrased.wording == "I cannot do that."


@pytest.mark.parametrize(
    ("replies", "opening"),
    [
        ([], "Well,"),
        (["Hm."], "Well,"),
        (["well,  I do not know"], "So"),
        (["Well, no.", "So it is."], "You see:"),
        (["You see: I am.", "So it is.", "Well, no."], "You see:"),
        (["So it is.", "Well, no.", "You see: I am.", "So there."], "Well,"),
    ],
)
def test_of_several_openings_the_one_that_was_said_longest_ago_or_never_is_meant(
    replies: list[str], opening: str
) -> None:
    phrased = sayings.phrased('Answer. Begin with: "Well,", "So", "You see:". People say: "Why?".', replies)
    assert phrased.opening == opening
    assert phrased.text == f'Answer. Begin with: "{opening}".'


@pytest.mark.parametrize(
    ("said", "replies", "wording"),
    [
        ([], [], "I only sell cakes."),
        (["Have you got bread?"], ["I only sell cakes."], "Cakes are all I have."),
        (["Haben Sie auch Brot?"], [], "Ich verkaufe nur Kuchen."),
        (["Haben Sie auch Brot?"], ["Ich verkaufe nur Kuchen."], "Ich habe leider nur Kuchen."),
        (["Haben Sie auch Brot?", "ok"], [], "Ich verkaufe nur Kuchen."),
        (["Haben Sie auch Brot?", "Do you speak English?"], [], "I only sell cakes."),
        (["Есть ли у вас хлеб?"], [], "I only sell cakes."),  # noqa: RUF001 - Cyrillic letters are meant
        (["¿Tiene usted un pan para mí?"], [], "No tengo pan, solo pasteles."),
    ],
)
def test_words_in_the_language_of_the_user_are_meant_if_there_are_any(
    said: list[str], replies: list[str], wording: str
) -> None:
    action = (
        'Decline. In words like these: "I only sell cakes.", "Cakes are all I have.", "Ich verkaufe nur Kuchen.", '
        '"Ich habe leider nur Kuchen.", "No tengo pan, solo pasteles."'
    )
    assert sayings.phrased(action, replies, said).wording == wording


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ('Introduce yourself. Begin with: "I am Ana,", "My name is Ana". People say: "Who?".', "Introduce yourself."),
        ('In words like these: "No." Then stop.', "Then stop."),
        ("Ask what they like.", "Ask what they like."),
    ],
)
def test_an_option_is_described_without_the_words_to_use(text: str, described: str) -> None:
    assert sayings.described(text) == described
