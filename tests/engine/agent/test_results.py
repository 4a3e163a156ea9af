"""Values of fields beside the message that they come from: what was not said does not count."""

from typing import Any

import pytest

from tertulia.engine.agent.results import Statement

TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "number"}
SAID = [
    ("on the 3rd of may", "2026-05-03", TEXT),
    ("May the 3rd works", "2026-05-03", TEXT),
    ("sometime in may", "2026-05", TEXT),
    ("March, April or May", "2026-05", TEXT),
    ("I may come on the 3rd", "2026-06-03", TEXT),
    ("My knee hurts, since Monday.", "My knee, since Monday.", TEXT),
    ("My knee hurts, since Monday.", "knee pain since Monday", TEXT),
    ("At half past three.", "15:30", TEXT),
    ("At half past three.", "03:30", TEXT),
    ("A quarter to four would be nice", "15:45", TEXT),
    ("Can I come at noon?", "12:00", TEXT),
    ("At 3.30 pm please", "15:30:00", TEXT),
    ("halb vier passt mir", "15:30", TEXT),
    ("Um Viertel vor neun", "08:45", TEXT),
    ("à midi", "12:00", TEXT),
    ("in the morning, at nine", "09:00", TEXT),
    ("On the twenty-fourth of December", "2026-12-24", TEXT),
    ("the 24th", "2026-12-24", TEXT),
    ("next Tuesday", "2026-12-01", TEXT),
    ("in March", "2027-03", TEXT),
    ("tomorrow at half past three", "2026-11-28T15:30:00+01:00", TEXT),
    ("I am thirty-four.", 34, NUMBER),
    ("Ich bin vierunddreißig", 34, NUMBER),
    ("J'ai quatre-vingt-dix-sept ans", 97, NUMBER),
    ("Tengo treinta y cuatro años", 34, NUMBER),
    ("\u4e09\u5341\u56db\u6b72", 34, NUMBER),
    ("two and a half metres", 2.5, NUMBER),
    ("1.200 Euro", 1200, NUMBER),
    ("minus five degrees", -5, NUMBER),
    ("two dozen eggs", 24, NUMBER),
    ("No children.", 0, NUMBER),
    ("Seven out of ten.", "7 out of 10", TEXT),
    ("7/10", "seven out of ten", TEXT),
    ("it is oh seven nine, one two three four five six seven", "1234567", TEXT),
    ("anna at example dot com", "anna@example.com", TEXT),
    ("No allergies.", "none", TEXT),
    ("Nein, keine.", "none", TEXT),
    ("Nothing today", "No", TEXT),
    ("I do, sure", "yes", TEXT),
    ("It really has to be soon", "later", {"enum": ["today", "later"]}),
    ("It really has to be soon", True, {"type": "boolean"}),
    ("No allergies at all", [], {"type": "array", "items": TEXT}),
]
INVENTED = [
    ("My knee hurts, since Monday.", "My elbow, since Friday.", TEXT),
    ("My knee hurts, since Monday.", "The patient suffers from gout.", TEXT),
    ("I live in Berlin", "I live in Hamburg", TEXT),
    ("No allergies.", "penicillin", TEXT),
    ("I have an allergy", "none", TEXT),
    ("At half past three.", "16:45", TEXT),
    ("At half past three.", "15:15", TEXT),
    ("In the afternoon", "15:30", TEXT),
    ("On the twenty-fourth of December", "2026-12-25", TEXT),
    ("On the twenty-fourth of December", "2026-11-24", TEXT),
    ("As soon as possible", "2026-12-01", TEXT),
    ("in March", "2027-04", TEXT),
    ("I may come on the 5th of June", "2026-05-05", TEXT),
    ("May I come?", "2026-05", TEXT),
    ("it may be so", "2026-05", TEXT),
    ("I am thirty-four.", 35, NUMBER),
    ("I am thirty-four.", 4, NUMBER),
    ("I am old", 80, NUMBER),
    ("two weeks", 14, NUMBER),
    ("call me", "555 1234", TEXT),
    ("I am 34", float("1e400"), NUMBER),
    ("Hello", 10**400, NUMBER),
    ("Hello", "", TEXT),
    ("Hello", "?", TEXT),
    ("Hello", None, TEXT),
    ("Hello", "please", TEXT),
]


@pytest.mark.parametrize(("text", "value", "schema"), SAID)
def test_what_was_said_stays_though_it_is_written_otherwise(text: str, value: Any, schema: dict[str, Any]) -> None:
    assert Statement(text).borne(value, schema) == value


@pytest.mark.parametrize(("text", "value", "schema"), INVENTED)
def test_what_was_not_said_is_none(text: str, value: Any, schema: dict[str, Any]) -> None:
    assert Statement(text).borne(value, schema) is None


def test_a_yes_takes_its_words_and_numbers_from_the_question() -> None:
    answer = Statement("Yes, please.", "So you want two tickets for Hamlet at half past seven?")

    assert [answer.borne(each, {}) for each in (2, "Hamlet", "19:30", "Macbeth", 3)] == [
        2,
        "Hamlet",
        "19:30",
        None,
        None,
    ]


def test_an_answer_of_its_own_takes_no_number_from_the_question() -> None:
    answer = Statement("Seven, I would say.", "How strong is it, from one to ten?")

    assert [answer.borne(each, NUMBER) for each in (7, 10)] == [7, None]


def test_of_a_list_and_of_an_object_the_said_parts_stay() -> None:
    said = Statement("I take aspirin, two a day.")
    medicine = {"type": "object", "properties": {"name": TEXT, "daily": {"type": "integer"}}}

    assert said.borne(["aspirin", "ibuprofen"], {"type": "array", "items": TEXT}) == ["aspirin"]
    assert said.borne(["ibuprofen"], {"type": "array", "items": TEXT}) is None
    assert said.borne({"name": "aspirin", "daily": 3}, medicine) == {"name": "aspirin"}
    assert said.borne({"name": "aspirin", "daily": 2}, medicine) == {"name": "aspirin", "daily": 2}
    assert said.borne({"name": "ibuprofen", "daily": 3}, medicine) is None
