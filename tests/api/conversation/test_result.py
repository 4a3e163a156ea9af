"""The result of a conversation: the fields that its service asks for, from what was said and from nothing else."""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from sqlalchemy.engine import Connection

from support.jobs import wait_for, wait_until_done
from support.puppet import Puppet
from support.samples import action, graph, make_service
from support.server import Server
from support.stage import Stage
from support.talk import begin, finish, go_on, id_of, messages
from support.targets import write
from tertulia.background import jobs as worker
from tertulia.errors import ModelMisbehaved
from tertulia.providers.base import Prompt
from tertulia.storage import job as jobs

pytestmark = pytest.mark.both_databases

Json = dict[str, Any]

ONE_WAY = graph(action("start", "end", exit_conditions=[]), action("end"))
INTAKE = {
    "type": "object",
    "properties": {
        "age": {"type": "integer", "minimum": 0, "description": "Age in years"},
        "symptom": {"type": "string", "description": "What hurts, the pain"},
        "urgency": {"enum": ["today", "later"], "description": "When they want to come"},
        "allergies": {"type": "boolean", "description": "Any allergies"},
    },
}


def result_of(client: httpx2.Client, conversation_id: str) -> httpx2.Response:
    return client.get(f"/conversation/{conversation_id}/result")


def ready(server: Server, client: httpx2.Client, conversation_id: str) -> Json:
    """The result of a conversation that has ended, once it is there."""
    wait_until_done(server)
    answer = result_of(client, conversation_id)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "ready"
    return answer.json()


def talk(client: httpx2.Client, service_id: str, *said: str) -> str:
    """Have a conversation to its end. Returns its identifier."""
    conversation_id = id_of(begin(client, service_id))
    for text in said:
        go_on(client, conversation_id, text)
    assert finish(client, conversation_id).status_code == 204
    return conversation_id


# --- What it says ----------------------------------------------------------------------------------------------------


def test_fields_are_filled_in_from_what_was_said_with_the_message_of_each(tertulia: Server) -> None:
    service_id = make_service(tertulia.as_admin, ONE_WAY, result_schema=INTAKE)
    user = tertulia.as_user

    conversation_id = talk(user, service_id, "I have pain in my knee.", "My age is 34.", "I want to come today.")

    found = ready(tertulia, user, conversation_id)
    said = {
        message["content"] if "content" in message else message["message"]: message["id"]
        for message in messages(user, conversation_id)
    }
    assert found["result"] == {
        "age": 34,
        "symptom": "I have pain in my knee.",
        "urgency": "today",
        "allergies": None,
    }
    assert found["references"] == {
        "age": said["My age is 34."],
        "symptom": said["I have pain in my knee."],
        "urgency": said["I want to come today."],
        "allergies": None,
    }
    assert found["result_schema"] == INTAKE


class Claims(Puppet):
    """A puppet that claims what it is told to."""

    def __init__(self, claims: Mapping[str, Any] | list[Any]) -> None:
        super().__init__()
        self._claims = claims

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        if prompt.interaction == "GenerateResult":
            self.prompts.append(prompt)
            return self._claims
        return await super().choose(prompt, schema)


def claim(value: Any, message: str = "m2", words: str = "I am 34") -> Json:
    return {"value": value, "message": message, "words": words}


@pytest.mark.parametrize(
    "claimed",
    [
        claim(34, words="I am 35"),
        claim(34, message="m9"),
        claim(34, message="m1"),
        claim(34, words=" "),
        claim("thirty-four"),
        claim(-1),
        claim(None),
        {"value": 34},
        34,
        None,
        [],
    ],
)
def test_what_was_not_said_so_is_null(stage: Stage, claimed: Any) -> None:
    stage.play(Claims({"age": claimed}))
    user = stage.user()
    conversation_id = talk(user, stage.service(ONE_WAY, result_schema=INTAKE), "Well,  I AM\n34.")

    found = ready(stage.server, user, conversation_id)

    assert (found["result"]["age"], found["references"]["age"]) == (None, None)
    assert set(found["result"]) == set(INTAKE["properties"])


def test_a_value_that_the_message_does_not_say_is_null_though_its_quote_is_there(stage: Stage) -> None:
    text = {"type": "string"}
    names = ("name", "medicine", "day", "time", "age", "pain", "urgency", "allergies")
    fields: Json = {**dict.fromkeys(names, text), "age": {"type": "integer"}, "urgency": {"enum": ["today", "later"]}}
    words = "Half past three on the twenty-fourth"
    stage.play(
        Claims(
            {
                "name": claim("Ada Lovelace", words=words),
                "medicine": claim("aspirin", words=words),
                "day": claim("2026-12-24", words=words),
                "time": claim("15:30", words=words),
                "age": claim(34, words=words),
                "pain": claim("my knee", words=words),
                "urgency": claim("later", words=words),
                "allergies": claim("none", words=words),
            }
        )
    )
    user = stage.user()
    service_id = stage.service(ONE_WAY, result_schema={"type": "object", "properties": fields})
    conversation_id = talk(user, service_id, "Half past three on the twenty-fourth, my knee hurts.")

    found = ready(stage.server, user, conversation_id)["result"]

    assert {name: value for name, value in found.items() if value is not None} == {
        "day": "2026-12-24",
        "time": "15:30",
        "pain": "my knee",
        "urgency": "later",
    }


HOME = {
    "type": "object",
    "properties": {
        "town": {"type": "string"},
        "floors": {"type": "array", "items": {"enum": ["first", "second"]}, "maxItems": 2},
    },
    "required": ["town"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("home", "fits"),
    [
        ({"town": "Berlin", "floors": ["second"]}, True),
        ({"town": "Berlin"}, True),
        ({"floors": ["second"]}, False),
        ({"town": "Berlin", "floors": ["third"]}, False),
        ({"town": "Berlin", "floors": ["first", "second", "first"]}, False),
        ({"town": "Berlin", "floors": [["second"]]}, False),
        ({"town": {"name": "Berlin"}}, False),
        ({"town": "Berlin", "street": "Long"}, False),
        ([{"town": "Berlin"}], False),
        ("Berlin", False),
    ],
)
def test_a_field_of_fields_is_whole_or_null(stage: Stage, home: Any, fits: bool) -> None:
    stage.play(Claims({"home": claim(home, words="Berlin")}))
    user = stage.user()
    schema = {"type": "object", "properties": {"home": HOME}}
    conversation_id = talk(user, stage.service(ONE_WAY, result_schema=schema), "I live in Berlin.")

    found = ready(stage.server, user, conversation_id)

    (said,) = messages(user, conversation_id, message_type="user-message")
    assert (found["result"], found["references"]) == (
        ({"home": home}, {"home": said["id"]}) if fits else ({"home": None}, {"home": None})
    )


def test_words_may_differ_in_spaces_and_case(stage: Stage) -> None:
    stage.play(Claims({"age": claim(34)}))
    user = stage.user()
    conversation_id = talk(user, stage.service(ONE_WAY, result_schema=INTAKE), "Well,  I AM\n34.")

    assert ready(stage.server, user, conversation_id)["result"]["age"] == 34


def test_a_form_that_is_none_leaves_every_field_null(stage: Stage) -> None:
    stage.play(Claims([]))
    user = stage.user()
    conversation_id = talk(user, stage.service(ONE_WAY, result_schema=INTAKE), "Hello.")

    assert set(ready(stage.server, user, conversation_id)["result"].values()) == {None}


class Broken(Claims):
    """A puppet that cannot fill anything in."""

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        if prompt.interaction == "GenerateResult":
            raise ModelMisbehaved("it is broken")
        return await super().choose(prompt, schema)


def test_a_result_that_cannot_be_filled_in_has_failed_until_it_is_tried_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ATTEMPTS", 1)
    stage.play(Broken({}))
    user = stage.user()
    conversation_id = talk(user, stage.service(ONE_WAY, result_schema=INTAKE), "I am 34.")

    wait_for(lambda: result_of(user, conversation_id).json()["status"] == "failed")
    stage.play(Claims({"age": claim(34)}))
    write(stage.server, _revive)
    assert ready(stage.server, user, conversation_id)["result"]["age"] == 34


def _revive(connection: Connection) -> None:
    jobs.revive_jobs(connection, None)


# --- When there is one -----------------------------------------------------------------------------------------------


def test_a_conversation_that_the_agent_ends_has_a_result_too(tertulia: Server) -> None:
    walk = graph(
        action("start", exit_conditions=[{"description": "They say goodbye.", "next_state": "end"}]), action("end")
    )
    service_id = make_service(tertulia.as_admin, walk, result_schema=INTAKE)
    user = tertulia.as_user
    conversation_id = id_of(begin(user, service_id, is_test=True))

    last = go_on(user, conversation_id, "Goodbye, my age is 50.")[-1]

    assert last["conversation_completed"] is True
    assert ready(tertulia, user, conversation_id)["result"]["age"] == 50


def test_there_is_none_before_the_end_nor_without_a_schema(tertulia: Server) -> None:
    user = tertulia.as_user
    open_one = id_of(begin(user, make_service(tertulia.as_admin, ONE_WAY, result_schema=INTAKE)))
    without = talk(user, make_service(tertulia.as_admin, ONE_WAY), "My age is 34.")

    assert [result_of(user, open_one).status_code, result_of(user, without).status_code] == [404, 404]
    finish(user, open_one)
    wait_until_done(tertulia)


def test_a_result_is_pending_while_the_model_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.play(Claims({}))
    monkeypatch.setattr(stage.switch.model, "choose", None)
    user = stage.user()
    conversation_id = talk(user, stage.service(ONE_WAY, result_schema=INTAKE))

    found = result_of(user, conversation_id).json()

    assert (found["status"], found["result"], found["references"]) == ("pending", None, None)


def test_another_user_does_not_see_it(stage: Stage) -> None:
    stage.play(Claims({"age": claim(34)}))
    owner = stage.user(user_preferences={"conversations_visible_to_admins": False})
    conversation_id = talk(owner, stage.service(ONE_WAY, result_schema=INTAKE), "I am 34")

    assert [result_of(client, conversation_id).status_code for client in (stage.user(), stage.admin)] == [403, 403]


def test_a_result_goes_with_its_user(stage: Stage) -> None:
    stage.play(Claims({"age": claim(34)}))
    user = stage.user()
    conversation_id = talk(user, stage.service(ONE_WAY, result_schema=INTAKE), "I am 34")

    assert stage.admin.delete(f"/user/{user.user_id}").status_code == 204

    assert result_of(stage.admin, conversation_id).status_code == 404


# --- The schema ------------------------------------------------------------------------------------------------------


def deep(levels: int) -> Json:
    return {"type": "string"} if not levels else {"type": "array", "items": deep(levels - 1)}


BAD = {
    "no object": {"type": "string"},
    "no fields": {"type": "object", "properties": {}},
    "no properties": {"type": "object"},
    "a reference": {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}},
    "an expression": {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a+)+$"}}},
    "a kind that is none": {"type": "object", "properties": {"a": {"type": "text"}}},
    "a field that is none": {"type": "object", "properties": {"a": 1}},
    "a bound that is none": {"type": "object", "properties": {"a": {"maxLength": -1}}},
    "an empty choice": {"type": "object", "properties": {"a": {"enum": []}}},
    "too deep": {"type": "object", "properties": {"a": deep(9)}},
    "too many": {"type": "object", "properties": {f"f{n}": {} for n in range(51)}},
}


@pytest.mark.parametrize("schema", BAD.values(), ids=BAD.keys())
def test_a_schema_that_cannot_be_asked_for_is_refused_by_its_field(tertulia: Server, schema: Json) -> None:
    service_id = make_service(tertulia.as_admin, ONE_WAY)

    answer = tertulia.as_admin.post(f"/service/{service_id}/", json={"result_schema": schema})

    assert answer.status_code == 422, answer.text
    assert {tuple(problem["loc"]) for problem in answer.json()["detail"]} == {("body", "result_schema")}


def test_a_schema_is_read_back_changed_and_removed(tertulia: Server) -> None:
    admin = tertulia.as_admin
    service_id = make_service(admin, ONE_WAY, result_schema=INTAKE)

    def stored() -> Any:
        return admin.get("/service/", params={"id": service_id}).json()["services"][0]["result_schema"]

    other = {"type": "object", "properties": {"name": {"type": "string"}}}
    assert stored() == INTAKE
    admin.post(f"/service/{service_id}/", json={"description": "New"}).raise_for_status()
    assert stored() == INTAKE
    admin.post(f"/service/{service_id}/", json={"result_schema": other}).raise_for_status()
    assert stored() == other
    admin.post(f"/service/{service_id}/", json={"result_schema": {}}).raise_for_status()
    assert stored() is None
