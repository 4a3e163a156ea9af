"""A streamed text is cut into sentences, each as early as it can be known."""

# ruff: noqa: RUF001 - the punctuation of other scripts is meant
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.engine.speech.sentences import LONGEST, Sentences, ends_sentence

ALPHABET = "aB1 .!?…,\n\"')»«*。」？، यa।-\u0301\u200d😀"
TEXTS = st.lists(st.sampled_from([*ALPHABET, "Mr.", "etc. ", "e.g.", "long " * 60, "x" * 270, " " * 260])).map("".join)


def split(*pieces: str) -> list[str]:
    sentences = Sentences()
    return [sentence for piece in pieces for sentence in sentences.add(piece)] + sentences.rest()


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Hello there. ", "How are you? ", "Fine!"],
        ["Mr. Smith met Dr. Jones vs. St. John. ", "They left."],
        ["J. R. R. Tolkien, J.R.R. Tolkien and the U.S. Army, e.g. here, i.e. there. ", "Yes."],
        ["So do I. ", "You too."],
        ["« Il pleut. » ", "Il pleut. ", "»"],
        ["It ends at 5 p.m. on Monday at Foo Inc. in town. ", "It ends at 5 p.m. ", "Then we go."],
        ["Take 2 tbsp. of sugar, 5 oz. of flour. ", "It weighs 3 lbs. ", "Enough."],
        ["See No. 5 and Fig. 3. ", "No. ", "Not that."],
        ["Pi is 3.14, a million is 1,000,000. ", "That was in 1999. ", "Then it stopped."],
        ["Look at https://example.com/a.html?b=c. ", "Or at example.com!"],
        ["Well... maybe… not. ", "Wait... ", "What?"],
        ["He said “Stop!” and left. ", '"Go." ', "(See above.) ", "**Done.** ", "Really?! ", "Yes."],
        ["« Ça va ? » dit-il. ", "« Oui ! » ", "Bon."],
        ["Das ist z. B. so, d. h. gut, z.B. hier. ", "Ja."],
        ["¿Qué tal?", "¡Muy bien! ", "Sra. López, p.ej. aquí."],
        ["你好。", "他说：「好的。」", "真的吗？！", "3.5元!", "是"],
        ["كيف حالك؟ ", "أنا بخير، شكرا۔ ", "نعم."],
        ["आप कैसे हैं। ", "मैं ठीक हूँ।", "अच्छा"],
        ["A heading\n", "\n1. First\n", "2. Second one. ", "And more.\n", "- Mr.\n", "\n\n- b\n"],
        ["  \n Led by white space. ", " Double. ", "Trailed.\n", " \n"],
    ],
)
def test_a_text_is_cut_after_its_sentences_however_it_comes(sentences: list[str]) -> None:
    text = "".join(sentences)
    assert split(text) == sentences
    assert split(*text) == sentences


@pytest.mark.parametrize(
    ("before", "decides"),
    [
        ("Hello.", " "),
        ("Hello!", "\n"),
        ("Title", "\n"),
        ("你好。", "他"),
        ("At 5 p.m. ", "T"),
        ("He said “No.” ", "S"),
    ],
)
def test_a_sentence_is_given_out_by_the_character_that_makes_it_certain(before: str, decides: str) -> None:
    sentences = Sentences()
    assert sentences.add(before) == []
    assert len(sentences.add(decides)) == 1


def test_a_long_sentence_is_cut_at_a_clause_else_at_a_word_else_where_it_stands() -> None:
    clause = "word " * 20 + "end, "
    assert split(clause + "more " * 50)[0] == clause
    words = split("word " * 200)
    assert {len(sentence) for sentence in words} == {LONGEST}
    letters = split("e\u0301" * 400)
    assert all(LONGEST // 2 <= len(sentence) <= LONGEST and sentence[0] == "e" for sentence in letters[:-1])


def test_nothing_that_is_seen_waits_for_ever() -> None:
    sentences = Sentences()
    assert not sentences.add("a" * (LONGEST - 1))
    assert sentences.add("a")


@given(TEXTS, st.lists(st.integers(0, 10_000)))
def test_joined_they_are_the_text_and_any_chunking_gives_the_same(text: str, cuts: list[int]) -> None:
    sentences = split(*pieces_of(text, cuts))
    assert "".join(sentences) == text
    assert sentences == split(text) == split(*text)
    assert all(sentence.strip() for sentence in sentences[:-1])
    assert all(len(sentence.lstrip()) <= LONGEST for sentence in sentences)


@pytest.mark.parametrize(
    "shape",
    ["a", " ", ".", "a.", ". ", "Mr. ", "\n", "。", '."', "« ? ", "1,", "word ", "https://a.", "“.” a", "\u0301"],
)
def test_a_piece_of_any_shape_is_cut_in_linear_time(shape: str) -> None:
    text = shape * (200_000 // len(shape))
    assert sum(map(len, split(text, " "))) == len(text) + 1


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("It is open.", True),
        ("Is it open? ", True),
        ("他来了。", True),
        ("I would like to...", False),
        ("I would like to…", False),
        ("Yes. I would like", False),
        ("He is with Dr.", False),
        ("", False),
        (".", True),
    ],
)
def test_the_end_of_a_sentence_is_told_from_one_that_is_left_open(text: str, ends: bool):
    assert ends_sentence(text) == ends
