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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "exit-1",
        '{"choice": "other"}',
        "[" * 100_000,
        "{" * 100_000,
        '[{"a":' * 50_000,
        '"' + "{[" * 50_000,
        "\ud800{}",
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_an_answer_that_has_none_is_misbehaviour_however_it_is_nested(text: str):
    with pytest.raises(ModelMisbehaved):
        chat.answer(text, SCHEMA)
