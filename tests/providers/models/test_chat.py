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
