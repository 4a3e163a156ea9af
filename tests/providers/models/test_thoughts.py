"""Thoughts in the text of a reply: none is visible, however the text is cut, and text about the tags is."""

import sys
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tertulia.providers.models.thoughts import ThoughtFilter

MARKS = [
    "<think>",
    "</think>",
    "<thinking a='b'>",
    "</thinking >",
    "[THINK]",
    "[/THINK]",
    "◁think▷",
    "<seed:think>",
    "<think/>",
    "<|channel|>analysis<|message|>",
    "<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|END_THINKING|>",
    "<|im_end|>",
    "<answer>",
    "analysis",
    "assistantfinal",
    "`",
    "```\n",
    "~~~",
]
TEXTS = st.lists(st.sampled_from([*MARKS, "\n", " ", "a", "Hi", "<", "</", "think", ">", "[", "é"]), max_size=12).map(
    "".join
)


def visible(*pieces: str, begins_in_thought: bool = False) -> str:
    """Read a reply that comes in these pieces. Return what a reader keeps of it."""
    thoughts = ThoughtFilter(begins_in_thought=begins_in_thought)
    kept = ""
    for piece in pieces:
        shown = thoughts.feed(piece)
        if thoughts.taken_back:
            thoughts.taken_back, kept = False, ""
        kept += shown
    return kept + thoughts.finish()


def cut(text: str, sizes: Sequence[int]) -> list[str]:
    pieces: list[str] = []
    for size in sizes:
        pieces.append(text[:size])
        text = text[size:]
    return [*pieces, text]


@given(text=TEXTS, sizes=st.lists(st.integers(0, 6), max_size=20), begins=st.booleans())
@example(text="<|im_end|><think>", sizes=[5, 6], begins=False)
def test_the_same_is_visible_however_a_text_is_cut(text: str, sizes: list[int], begins: bool):
    assert visible(*cut(text, sizes), begins_in_thought=begins) == visible(text, begins_in_thought=begins)


@given(text=st.text(alphabet=st.characters(exclude_characters="<[◁")), sizes=st.lists(st.integers(0, 6), max_size=20))
def test_ordinary_text_is_never_held(text: str, sizes: list[int]):
    thoughts = ThoughtFilter()
    for piece in cut(f"A{text}", sizes):
        assert thoughts.feed(piece) == piece
    assert thoughts.finish() == ""


@given(thought=st.text(alphabet="ab <>`\n"), reply=st.text(alphabet="cd \n").filter(str.strip))
def test_a_thought_before_a_reply_leaves_the_reply(thought: str, reply: str):
    assert visible(f"<think>{thought}</think>", reply).strip() == reply.strip()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>hm</think>Hello", "Hello"),
        (" \n<think>\nhm\n</think>\n\nHello", "Hello"),
        ("<Thinking effort='low'>hm</THINKING>Hello", "Hello"),
        ("[THINK]hm[/THINK]Hello", "Hello"),
        ("<think>hm</thinking>Hello", "Hello"),
        ("<seed:think>hm</seed:think>Hello", "Hello"),
        ("◁think▷hm◁/think▷Hello", "Hello"),
        ("<thoughts>hm</thoughts>Hello", "Hello"),
        ("<scratchpad>hm</scratchpad>Hello", "Hello"),
        ("<|think|>hm<|/think|>Hello", "Hello"),
        ("<|channel>thought\nhm<channel|>Hello", "Hello"),
        ("<unused94>thought\nhm<unused95>Hello", "Hello"),
        ("<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Hello<|END_RESPONSE|>", "Hello"),
        ("<think>hm</think><answer>Hello</answer>", "Hello"),
        ("Hello<|im_end|>\n<|endoftext|>", "Hello"),
        ("Hello</s>", "Hello"),
        ("The mark </s> ends a line.", "The mark </s> ends a line."),
        ("Hello, <answer> is a tag", "Hello, <answer> is a tag"),
        (
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hello",
            "Hello",
        ),
        ("<|start|>assistant<|channel|>final<|message|>Hello", "Hello"),
        ("<|channel|>commentary<|message|>never closed", ""),
        ("<|START_THINKING|>hm<|END_THINKING|>Hello", "Hello"),
        ("The mark <|end|> is for models, <|channel|> too.", "The mark <|end|> is for models, <|channel|> too."),
        ("Hello" + "</s>" * 5, "Hello"),
        ("Hello." + "<|im_end|>\n" * 200, "Hello."),
        ("Hello.</answer> <|end_of_box|></s>\n\n<|eot_id|><|endoftext|><end_of_turn>", "Hello."),
        ("One</s></s></s></s></s>two</s>", "One</s></s></s></s></s>two"),
        ("Hello</s><think>hm</think></s>", "Hello"),
        ("I should greet.</s></think>Hello</s>", "Hello"),
        ("</s>" * 5, ""),
        ("`</s></s></s></s></s>`", "`</s></s></s></s></s>`"),
        ("<think>a</think>Hello <think>b</think> there", "Hello there"),
        ("I should greet.</think>\n\nHello", "Hello"),
        ("<think>never closed", ""),
        ("Hello.\n<think>never closed", "Hello.\n"),
        ("Hello <think>never closed", "Hello "),
        ("<think>a<think>b</think>c</think>Hello", "Hello"),
        ("<think>I end with `</think>`, as ever</think>Hello", "Hello"),
        ("<think>hm</think>Hello.</think>", "Hello."),
        ("<think/>Hello", "Hello"),
        ("Write `<think>` and `</think>` around it.", "Write `<think>` and `</think>` around it."),
        ("```xml\n<think>hm</think>\n```\nThat is it.", "```xml\n<think>hm</think>\n```\nThat is it."),
        ("The <think> tag is for models.", "The <think> tag is for models."),
        ("It begins with <think>.", "It begins with <think>."),
        ("a < b, [x] and <thin", "a < b, [x] and <thin"),
        ("  Hello", "  Hello"),
        ("analysisThe user greets. assistantfinalHello", "Hello"),
        ("analysisHm.assistantcommentary to=x {}assistantanalysisAh.assistantfinal Hello, <b>", "Hello, <b>"),
        ("analysisI say assistantfinal, then:assistantfinalHello", "Hello"),
        ("analysisNever closed", "analysisNever closed"),
        ("analysis of texts, then assistantfinal", "analysis of texts, then assistantfinal"),
        ("An analysis. assistantfinalHello", "An analysis. assistantfinalHello"),
        ("Analysis is assistantfinal", "Analysis is assistantfinal"),
        ("analysis", "analysis"),
    ],
)
def test_thoughts_are_left_out_and_text_about_them_is_not(text: str, shown: str):
    assert visible(text) == shown


def test_a_tag_in_prose_of_a_reply_that_is_cut_short_begins_a_thought():
    thoughts = ThoughtFilter()
    assert thoughts.feed("Well, <think> and so on") + thoughts.finish(cut=True) == "Well, "


def test_a_model_that_is_known_to_begin_in_thought_is_held_until_its_closing_tag():
    thoughts = ThoughtFilter(begins_in_thought=True)
    assert thoughts.feed("I should greet.") == ""
    assert thoughts.feed("</think>Hello") == "Hello"
    assert visible("Hello", " there", begins_in_thought=True) == "Hello there"


MANY = ["<think>", "`<think>", "a\n", "</think>", "<", "</s>", "</s>\n", "<think>a</think>b", "`</think>`", "<|end|>"]


@pytest.mark.parametrize("piece", MANY)
def test_the_work_grows_with_the_text_and_not_with_its_square(piece: str):
    """Counted in characters that are looked at anew: a filter holds no more than a tag."""
    thoughts = ThoughtFilter()
    for _ in range(5_000):
        thoughts.feed(piece)
        assert len(thoughts._held) < 150


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("piece", [*MANY, "x<think>", "assistantfinal", " <think>"])
def test_a_long_piece_costs_no_more_calls_than_its_length(piece: str, begins: bool):
    """Counted in calls of functions: four times the text costs four times the calls."""
    calls = []
    for times in (1_000, 4_000):
        thoughts = ThoughtFilter(begins_in_thought=begins)
        calls.append(count_calls(lambda: (thoughts.feed(piece * times), thoughts.finish())))  # noqa: B023 - called at once
    assert calls[1] < 5 * calls[0] + 1_000


def count_calls(work: Callable[[], object]) -> int:
    """Do some work. Return the number of functions that it calls, those of C included."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls
