"""Traces of work beside turns: what models were asked after a conversation, and for suggestions in one."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from support import jobs
from support.puppet import Puppet
from support.samples import behavior
from support.server import Serve
from support.stage import Stage, Switch
from support.talk import begin, create, finish, go_on, id_of
from support.targets import write
from tertulia import clock, runtime
from tertulia.background import jobs as background_jobs
from tertulia.errors import ModelUnavailable
from tertulia.providers.models.registry import Models
from tertulia.storage import trace as traces
from tertulia.storage.database import dialect
from tertulia.storage.tables import traces as table

pytestmark = pytest.mark.both_databases

Json = dict[str, Any]

SCHEMA = {"type": "object", "properties": {"town": {"type": "string"}}}
LIVES = "I live in Berlin."
REMEMBERED = {"content": LIVES, "context": "", "references": [{"message": "m1", "quote": LIVES}]}


@pytest.fixture(scope="module")
def _stage(serve: Serve) -> Iterator[Stage]:
    """A server that looks for jobs all the time, compares meanings, and keeps prompts."""
    switch = Switch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "POLL_S", 0.05)
        patch.setattr(background_jobs, "FIRST_PAUSE_S", 0.05)
        yield Stage(serve(models=Models(switch), embeddings="scripted", trace="prompts"), switch)


@pytest.fixture
def puppet(stage: Stage) -> Puppet:
    puppet = stage.play(Puppet(choice="action-1"))
    puppet.answers |= {
        "ExtractMemories": {"memories": [REMEMBERED]},
        "GenerateResult": {"town": {"value": "Berlin", "message": "m1"}},
        "RecommendResponses": {"responses": ["Yes."]},
        "GenerateConversationStarters": {"prompts": [{"prompt": "Which books?", "facets": ["facet-1"]}]},
    }
    return puppet


def talk(stage: Stage, user: httpx2.Client) -> str:
    """Hold a conversation, and finish it. Return its identifier when its jobs are done."""
    stage.admin.post("/organization/", json={"user_dimensions": [{"description": "Home", "tags": []}]})
    conversation_id = id_of(begin(user, stage.service(result_schema=SCHEMA), initial_message=LIVES))
    assert finish(user, conversation_id).status_code == 204
    jobs.wait_until_done(stage.server)
    return conversation_id


def listed(client: httpx2.Client, conversation_id: str, **query: Any) -> list[Json]:
    answer = client.get(f"/conversation/{conversation_id}/trace/", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["traces"]


def read(client: httpx2.Client, conversation_id: str, trace: Json) -> Json:
    answer = client.get(f"/conversation/{conversation_id}/trace/{trace['id']}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def of_work(client: httpx2.Client, conversation_id: str, work: str) -> Json:
    """Read the newest trace of a work. Return it."""
    items = listed(client, conversation_id)
    return read(client, conversation_id, next(item for item in items if item["work"] == work))


def kept_of(stage: Stage, user_id: str) -> list[str | None]:
    """The works of the traces that are stored of a user."""
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    with engine.connect() as connection:
        found = connection.execute(sa.select(table.c.work).where(table.c.user_id == user_id)).scalars().all()
    engine.dispose()
    return list(found)


def calls(trace: Json) -> list[Json]:
    return [span["attributes"] for span in trace["spans"] if "tertulia.interaction" in span["attributes"]]


def test_models_that_are_asked_after_a_conversation_are_in_traces_of_their_own(stage: Stage, puppet: Puppet) -> None:
    conversation_id = talk(stage, stage.user())

    items = listed(stage.admin, conversation_id)

    assert items[-1]["work"] == "turn"
    assert sorted(item["work"] for item in items[:-1]) == ["extract-memories", "fill-result", "generate-user-models"]
    assert {item["outcome"] for item in items} == {"settled"}
    assert [item["id"] for item in items] == sorted((item["id"] for item in items), reverse=True)
    trace = of_work(stage.admin, conversation_id, "extract-memories")
    assert (trace["work"], trace["outcome"], trace["prompts"]) == ("extract-memories", "settled", "shown")
    (asked,) = calls(trace)
    assert asked["tertulia.interaction"] == "ExtractMemories"
    assert LIVES in asked["gen_ai.input.messages"][-1]["parts"][0]["content"]
    assert LIVES in asked["gen_ai.output.messages"][0]["parts"][0]["content"]
    names = [span["name"] for span in trace["spans"]]
    assert names == ["extract-memories", "chat", "embeddings scripted"]
    turn = stage.admin.get(f"/conversation/{conversation_id}/interaction/{items[-1]['id']}/trace").json()
    assert turn["spans"] == read(stage.admin, conversation_id, items[-1])["spans"]
    assert stage.admin.get(f"/conversation/{conversation_id}/interaction/{trace['id']}/trace").status_code == 404
    logs = stage.admin.get("/admin/get_prompt_logs/", params={"prompt_log_prefix": f"{conversation_id}/{trace['id']}"})
    with zipfile.ZipFile(io.BytesIO(logs.content)) as archive:
        assert f"{conversation_id}/{trace['id']}/1-ExtractMemories-history" in archive.namelist()


def test_work_that_fails_leaves_a_void_trace_of_each_attempt_and_the_newest(
    stage: Stage, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "MOST_OF_WORK", 2)
    attempts = background_jobs.ATTEMPTS
    monkeypatch.setattr(background_jobs, "ATTEMPTS", 3)
    puppet.answers["ExtractMemories"] = ModelUnavailable("the server is away")
    user = stage.user()
    conversation_id = id_of(begin(user, stage.service(), initial_message=LIVES))
    assert finish(user, conversation_id).status_code == 204
    jobs.wait_for(lambda: jobs.is_dead(stage.server))
    failed = listed(stage.admin, conversation_id)
    puppet.answers["ExtractMemories"] = {"memories": []}
    monkeypatch.setattr(background_jobs, "ATTEMPTS", attempts)
    assert finish(user, conversation_id).status_code == 204
    jobs.wait_until_done(stage.server)

    assert [(item["work"], item["outcome"]) for item in failed] == [("extract-memories", "void")] * 2 + [
        ("turn", "settled")
    ]
    (asked,) = calls(read(stage.admin, conversation_id, failed[0]))
    assert asked["error.type"] == "ModelUnavailable"
    after = [item["outcome"] for item in listed(stage.admin, conversation_id) if item["work"] == "extract-memories"]
    assert after == ["settled", "void"]


def test_suggestions_are_traced_with_their_conversation(stage: Stage, puppet: Puppet) -> None:
    user = stage.user()
    begun = begin(user, stage.service())
    path = f"/conversation/{id_of(begun)}/interaction/{begun[-1]['interaction_id']}/recommend_responses"
    assert user.post(path).json() == {"recommended_responses": ["Yes."]}
    jobs.wait_for(lambda: len(listed(stage.admin, id_of(begun))) == 2)  # an answer does not wait for its trace

    (asked,) = calls(of_work(stage.admin, id_of(begun), "recommend-responses"))

    assert asked["tertulia.interaction"] == "RecommendResponses"


def ask_for_starters(stage: Stage, user: httpx2.Client) -> int:
    wish = {"facets": ["books"], "min_count": 1, "max_count": 1, "generation_instructions": "They like plums."}
    body = {"service_id": stage.service(), **wish}
    return user.post("/conversation/conversation_starter", json=body).status_code


def test_conversation_starters_are_traced_with_the_user_and_go_with_them(
    stage: Stage, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "MOST_OF_WORK", 2)
    user, other = stage.user(), stage.user()
    assert ask_for_starters(stage, user) == ask_for_starters(stage, other) == 200
    jobs.wait_for(lambda: len(kept_of(stage, user.user_id)) == len(kept_of(stage, other.user_id)) == 1)
    well = puppet.answers["GenerateConversationStarters"]
    puppet.answers["GenerateConversationStarters"] = {"prompts": [{"prompt": None, "facets": ["facet-1"]}]}
    assert ask_for_starters(stage, user) == 500
    jobs.wait_for(lambda: len(kept_of(stage, user.user_id)) == 2)
    puppet.answers["GenerateConversationStarters"] = well
    assert ask_for_starters(stage, user) == 200
    work, newest_first = "conversation-starters", ["settled", "void"]  # the first one had to make room
    outcomes = [(work, outcome) for outcome in newest_first]
    jobs.wait_for(lambda: [(each["work"], each["outcome"]) for each in listed(stage.admin, user.user_id)] == outcomes)

    listed_traces = listed(stage.admin, user.user_id)

    trace = read(stage.admin, user.user_id, listed_traces[0])
    (asked,) = calls(trace)
    assert (trace["prompts"], asked["tertulia.interaction"]) == ("shown", "GenerateConversationStarters")
    assert "They like plums." in asked["gen_ai.input.messages"][-1]["parts"][0]["content"]
    assert "Which books?" in asked["gen_ai.output.messages"][0]["parts"][0]["content"]
    assert user.get(f"/conversation/{user.user_id}/trace/{listed_traces[0]['id']}").status_code == 403
    prefix = {"prompt_log_prefix": user.user_id}
    logs = stage.admin.get("/admin/get_prompt_logs/", params=prefix)
    with zipfile.ZipFile(io.BytesIO(logs.content)) as archive:
        assert f"{user.user_id}/{listed_traces[0]['id']}/1-GenerateConversationStarters-history" in archive.namelist()
    assert user.delete(f"/user/{user.user_id}/memory").status_code == 204
    assert stage.admin.get(f"/conversation/{user.user_id}/trace/").status_code == 404
    assert stage.root.delete(f"/user/{other.user_id}").status_code == 204
    jobs.wait_until_done(stage.server)
    assert kept_of(stage, other.user_id) == []


def test_the_comparison_of_triggers_is_a_span_of_its_turn(stage: Stage, puppet: Puppet) -> None:
    service_id = stage.service()
    stage.admin.post("/dynamic_behavior_set/", json=behavior(service_id)).raise_for_status()
    user = stage.user()
    conversation_id = id_of(begin(user, service_id))
    go_on(user, conversation_id, "I am sad.")

    spans = read(stage.admin, conversation_id, listed(stage.admin, conversation_id)[0])["spans"]

    (compared,) = [span["attributes"] for span in spans if span["name"] == "embeddings scripted"]
    assert compared["gen_ai.operation.name"] == "embeddings"
    assert compared["tertulia.texts"] >= 2


def test_who_may_not_see_insights_sees_no_trace_and_void_first_turns_are_listed(stage: Stage, puppet: Puppet) -> None:
    user = stage.user()
    conversation_id = talk(stage, user)
    path = f"/conversation/{conversation_id}/trace/"
    trace = of_work(stage.admin, conversation_id, "extract-memories")
    hiding = stage.user(user_preferences={"conversations_visible_to_admins": False})
    hidden = talk(stage, hiding)
    puppet.pieces = (" ",)
    void = create(stage.user(), stage.service()).headers["x-tertulia-conversation-id"]

    assert user.get(path).status_code == 403
    assert user.get(path + trace["id"]).status_code == 403
    assert stage.admin.get(f"/conversation/{hidden}/trace/").status_code == 403
    assert stage.admin.get(f"/conversation/{'0' * 24}/trace/").status_code == 404
    assert stage.admin.get(f"/conversation/{void}/trace/{trace['id']}").status_code == 404
    assert [(item["work"], item["outcome"]) for item in listed(stage.admin, void)] == [("turn", "void")]


def test_who_forgets_a_user_forgets_what_traces_quote_of_them(stage: Stage, puppet: Puppet) -> None:
    user = stage.user()
    conversation_id = talk(stage, user)

    assert user.delete(f"/user/{user.user_id}/memory").status_code == 204

    assert listed(stage.admin, conversation_id) == []


def test_work_that_began_before_all_was_forgotten_leaves_no_trace(stage: Stage, puppet: Puppet) -> None:
    user = stage.user()
    conversation_id = talk(stage, user)
    worked = traces.Worked("late", "demo", user.user_id, conversation_id, "", "")
    began = clock.now()
    assert user.delete(f"/user/{user.user_id}/memory").status_code == 204

    write(stage.server, traces.insert_trace_of_work, worked, traces.NewTrace(b"[]", 0), began, is_void=False)
    assert listed(stage.admin, conversation_id) == []
    write(stage.server, traces.insert_trace_of_work, worked, traces.NewTrace(b"[]", 0), clock.now(), is_void=False)
    assert [item["work"] for item in listed(stage.admin, conversation_id)] == ["late"]


def test_what_a_deleted_user_leaves_has_no_trace_though_its_work_ends_later(stage: Stage, puppet: Puppet) -> None:
    user = stage.user()
    conversation_id = talk(stage, user)
    worked = traces.Worked("late", "demo", user.user_id, conversation_id, "", "")
    assert stage.admin.delete(f"/user/{user.user_id}").status_code == 204
    jobs.wait_until_done(stage.server)

    write(stage.server, traces.insert_trace_of_work, worked, traces.NewTrace(b"[]", 0), clock.now(), is_void=False)

    assert kept_of(stage, user.user_id) == []
