"""The JSON of a choice, found in whatever a model wrote around it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.errors import ModelMisbehaved
from tertulia.providers.models import chat

SCHEMA = {
    "type": "object",
    "properties": {"choice": {"type": "string", "enum": ["action-1", "exit-1"]}},
    "required": ["choice"],
    "additionalProperties": False,
}
ANSWER = '{"choice": "exit-1"}'
DRAFT = '{"choice": "action-1"}'

PROSE = st.text(alphabet='abc {}[]":,\n<>`\\')
REMARKS = st.lists(
    st.sampled_from([DRAFT, '{"choice": "other"}', "{", "[1]", "```json", "Sure! ", "\n", '"', "[{"]), max_size=6
)


@given(before=REMARKS, after=PROSE.filter(lambda text: "choice" not in text))
def test_the_last_value_that_fits_is_found_among_drafts_and_remarks(before: list[str], after: str):
    text = f"{''.join(before)}\n{ANSWER}\n{after}"
    assert chat.answer(text, SCHEMA) == {"choice": "exit-1"}


@given(
    value=st.recursive(
        st.none() | st.integers(-9, 9) | st.text(), lambda inner: st.lists(inner, max_size=3), max_leaves=9
    )
)
def test_a_bare_answer_is_taken_as_it_is(value: Any):
    assert chat.answer(f" {json.dumps(value)}\n", {}) == value


@pytest.mark.parametrize(
    "text",
    [
        f"<think>First I thought {DRAFT}, but no.</think>{ANSWER}",
        f"I thought {DRAFT}.</think>\n{ANSWER}",
        f"[THINK]{DRAFT}[/THINK]\n```json\n{ANSWER}\n```\nIs that good?",
        f"A draft: {DRAFT}. The answer: {ANSWER}.",
        f'{{"choice": "other"}} {ANSWER} {{"note": "done"}}',
        f'{{"answer": {ANSWER}}}',
        f"<think>I never stop thinking: {DRAFT}, or rather {ANSWER}",
        f"Use {{braces}} and [brackets]: {ANSWER}",
    ],
)
def test_an_answer_is_found_where_models_put_it(text: str):
    assert chat.answer(text, SCHEMA) == {"choice": "exit-1"}


def test_of_values_within_each_other_the_outermost_that_fits_is_taken():
    schema = {"type": "object", "properties": {"inner": {"type": "object"}}}
    assert chat.answer('So: {"inner": {"inner": {}}}.', schema) == {"inner": {"inner": {}}}


def choosing(*options: str) -> dict[str, Any]:
    return {**SCHEMA, "properties": {"choice": {"type": "string", "enum": list(options)}}}


@pytest.mark.parametrize(
    "text",
    [
        '{"choice": "exit-2",}',
        "{'choice': 'exit-2'}",
        "So: {\u201cchoice\u201d: \u201cexit-2\u201d}.",
        "{\u2018choice\u2019: \u2018exit-2\u2019}",
        "{choice: 'exit-2'}",
        "{choice: exit-2}",
        '{"choice": "exit-2"} // as asked',
        '{"choice": // the key\n "exit-2"}',
        '{"choice": "exit-2" /* the best */}',
        '{"choice": "exit-2"',
        '```json\n{"choice": "exit-2"\n',
        '{"choice": 2}',
        '{"choice": 2.0}',
        '{"Choice": "EXIT-2"}',
        '{" choice ": " exit-2 "}',
        '{"choice": ["exit-2"]}',
        '["exit-2"]',
        '{"choice": {"value": "exit-2"}}',
        '{"value": "exit-2"}',
        '{"answer": "exit-2"}',
        '{"result": {"answer": "exit-2"}}',
        r'"{\"choice\": \"exit-2\"}"',
        r'{"arguments": "{\"choice\": \"exit-2\"}"}',
        "exit-2",
        " `Exit-2`.\n",
        '"exit-2"',
        "choice: exit-2",
        '**Choice:** "exit-2"',
        "2",
        "{'choice': 'exit-2'} or again {'choice': 'exit-2'}",
        "<think>{'choice': 'exit-1'}</think>{'choice': 'exit-2'}",
    ],
)
def test_a_choice_near_the_asked_form_is_understood(text: str):
    assert chat.answer(text, choosing("action-1", "exit-1", "exit-2")) == {"choice": "exit-2"}


@pytest.mark.parametrize(
    "text",
    [
        "{'choice': 'exit-2'} or {'choice': 'exit-1'}",
        "{'choice': 'exit-2', 'choice': 'exit-1'}",
        '{"choice": ["exit-1", "exit-2"]}',
        '{"choice": 1}',
        '{"choice": 3}',
        '{"choice": null}',
        '{"choice": "option exit-2"}',
        '{"answer": "exit-2", "value": "exit-1"}',
        "{'choice': 'exit-2'} or {'choice': 'other'}",
        '{"choice": "exit-',
        "{choice: exit-1",
        "exit-1 or exit-2",
        "My choice: exit-2 or exit-1",
        "not exit-2",
        "I take exit-2",
    ],
)
def test_an_answer_that_means_no_option_or_several_is_refused(text: str):
    with pytest.raises(ModelMisbehaved):
        chat.answer(text, choosing("action-1", "exit-1", "exit-2", "exit-12"))


def test_an_option_written_like_two_others_is_refused():
    with pytest.raises(ModelMisbehaved):
        chat.answer("YES", choosing("Yes", "yes"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "exit-2",
        '{"choice": "other"}',
        "[" * 100_000,
        "{" * 100_000,
        '[{"a":' * 50_000,
        '"' + "{[" * 50_000,
        "\ud800{}",
        "{'a':" * 20_000,
        "{/*:/*," + "a:/*," * 20_000,
        "{'" * 50_000,
        "{\u201c" * 50_000,
        "{" + " " * 100_000 + "'",
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_an_answer_that_has_none_is_misbehaviour_however_it_is_nested(text: str):
    with pytest.raises(ModelMisbehaved):
        chat.answer(text, SCHEMA)


DENIED = [
    '["exit-1"] no: action-2',
    '["exit-1"] is wrong',
    '["exit-1"] ["action-2"]',
    '["exit-1"] or ["action-2"]',
    "{'choice': 'exit-1'} no, action-2",
    "{'choice': 'exit-1'} would be a mistake",
    "{'choice': 'exit-1'} isn't right",
    "Anything but {'choice': 'exit-1'}. Not that.",
    "I would never take {'choice': 'exit-1'}",
    "{'choice': 'exit-1'} // or action-2",
    "Nicht {'choice': 'exit-1'}",
    "{'choice': 'exit-1'}, sondern action-2",
]
DISAGREEING = [
    '{"choice": "exit-1", "value": "action-2"}',
    '{"choice": "exit-1", "answer": "action-2"}',
    '{"choice": "exit-1", "final": "action-2"}',
    '{"choice": "exit-1", "selected": "action-2"}',
    '{"choice": "exit-1", "answer": {"choice": "action-2"}}',
    '{"value": "exit-1", "selected": "action-2"}',
    '{"choice": "exit-1", "valid": false}',
    '{"choice": "exit-1", "is_correct": false}',
    '{"choice": "exit-1", "rejected": true}',
    '{"choice": "exit-1", "rejected": ["exit-1"]}',
    '{"answer": {"choice": "exit-1"}, "correct": "no"}',
    '{"rejected": {"choice": "exit-1"}}',
    '{"not": {"choice": "exit-1"}}',
    '{"notChosen": {"choice": "exit-1"}}',
    '{"previous": {"choice": "exit-1"}}',
    '{"options": [{"choice": "exit-1"}, {"choice": "action-2"}]}',
    '[{"choice": "exit-1"}, {"choice": "action-2"}]',
    '{"one": {"choice": "exit-1"}, "two": {"choice": "action-2"}}',
    "{'one': {'choice': 'exit-1'}, 'two': {'choice': 'action-2'}}",
    '{\'one\': {"choice": "exit-1"}, \'two\': {"choice": "action-2"}}',
    '{"excluded": ["exit-1"]}',
]
NUMBERS = [
    '{"confidence": {"value": 2}}',
    '{"result": {"value": 2}}',
    '{"result": {"answer": 2}}',
    '{"user": {"age": {"value": 2}}}',
    '{"scores": [{"value": 2}]}',
    '{"value": 2, "unit": "stars"}',
    '{"answer": 2, "of": 3}',
    '[{"value": 2}]',
    "[[2]]",
    '{"choice": {"value": 2, "weight": 1}}',
    '{"a": {"b": {"value": 2}}}',
    '{"count": 2}',
    '{"choices": [2]}',
    '{"index": {"value": 2.0}}',
    "{'confidence': {'value': 2}}",
    "{confidence: {value: 2}}",
    r'{"arguments": "{\"score\": {\"value\": 2}}"}',
    '{"choice": -2}',
    '{"choice": 2.5}',
    "-2",
]


@pytest.mark.parametrize("text", [*DENIED, *DISAGREEING, *NUMBERS])
def test_a_choice_that_its_answer_denies_or_that_is_none_is_not_guessed(text: str):
    with pytest.raises(ModelMisbehaved):
        chat.answer(text, choosing("exit-1", "action-2"))


@pytest.mark.parametrize(
    "text",
    [
        f"{ANSWER}\n\nNo other option fits.",
        f"{ANSWER}\n\nNot exit-2, because no date was named.",
        f"{ANSWER} (Rather than exit-2.)",
        f"{ANSWER}\nBut if the user changes their mind, exit-2 applies later.",
        f"{ANSWER}\nExcluded options: action-1, exit-2.",
        f"{ANSWER}\nNo, exit-2 would be too early.",
        f"{ANSWER}\nSorry for the wait.",
        f"The caller is not sure:\n{ANSWER}",
        f"Since the user has not booked yet: {ANSWER}",
        f"The user rejected the offer: {ANSWER}",
        f'The user says "No, not that one" {ANSWER}',
        f"At first not exit-1, but they said goodbye: {ANSWER}",
    ],
)
def test_prose_beside_a_choice_of_the_asked_form_leaves_it_as_it_is(text: str):
    assert chat.answer(text, choosing("action-1", "exit-1", "exit-2")) == {"choice": "exit-1"}


@pytest.mark.parametrize("text", ["[1]", "3", '"exit-1"', "null"])
def test_what_fits_a_schema_that_asks_for_no_object_is_taken_as_it_is(text: str):
    schema = {name: SCHEMA[name] for name in ("properties", "required")}
    assert chat.answer(text, schema) == json.loads(text)


@pytest.mark.parametrize("number", ["2", "2.", '{"choice": 2}', "{'choice': 2}", '["2"]', "choice: 2"])
@pytest.mark.parametrize(
    "option", ["Book a table for 2", "Tell of chapter 2", "more than 2", "Ask for size no. 2", "exit 1 of 2"]
)
def test_a_number_at_the_end_of_a_sentence_is_no_name_of_an_option(number: str, option: str):
    with pytest.raises(ModelMisbehaved):
        chat.answer(number, choosing(option, "exit-1"))


@pytest.mark.parametrize(
    "text",
    [
        '{"rejected": {"choice": "exit-1"}, "selected": {"choice": "action-2"}}',
        '{"selected": {"choice": "action-2"}, "rejected": {"choice": "exit-1"}}',
        "{'selected': {'choice': 'action-2'}, 'rejected': {'choice': 'exit-1'}}",
        '{"draft": {"choice": "exit-1"}, "answer": {"choice": "action-2"}}',
        '{"choice": "action-2", "rejected": ["exit-1"], "reason": "exit-1 is too early"}',
        '{"choice": "action-2", "answer": "action-2"}',
        '{"choice": "action-2", "valid": true, "confidence": 1}',
        '{"choice": "action-2", "value": 0.9}',
        '{"thought": "Not exit-1.", "answer": {"choice": "action-2"}}',
        '{"node": {"choice": "action-2"}}',
        '{"choice": "exit-1"} is not right. So: {"choice": "action-2"}',
        'It is not time to leave.\n{"choice": "action-2"}\nI chose action-2 because exit-1 comes later.',
        'Do not end yet: {"note": 1} {"choice": "action-2"}',
        '{"choice": "action-2"}\n\nThe user has not said goodbye, so exit-1 does not fit.',
        "Here it is: {'choice': 'action-2'}",
    ],
)
def test_a_choice_beside_what_is_not_meant_is_understood(text: str):
    assert chat.answer(text, choosing("exit-1", "action-2")) == {"choice": "action-2"}


@pytest.mark.parametrize("piece", ["/*", "{/*", "a:/*", "{a:/*:*/", "*/{", "//", "{a:1/*", "{'a':'b'/*x*/,"])
def test_an_answer_full_of_comments_is_misbehaviour_at_the_pace_of_its_length(piece: str):
    with pytest.raises(ModelMisbehaved):
        chat.answer("{" + piece * 30_000, SCHEMA)
