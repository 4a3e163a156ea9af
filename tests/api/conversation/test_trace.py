"""The trace of an interaction: what it tells, of void ones too, to whom, and for how long."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from providers.chat_server import (
    DONE,
    ChatServer,
    chat_server_beside,
    completes,
    data,
    event,
    replies,
    sends,
    streams,
)
from support.puppet import Puppet
from support.samples import action, annotation, decision, graph, make_service
from support.server import Serve, Server
from support.stage import Stage
from support.talk import create, interact
from tertulia import clock
from tertulia.engine import trace as recorder
from tertulia.errors import ModelMisbehaved
from tertulia.storage import trace as traces
from tertulia.storage.database import dialect
from tertulia.storage.tables import traces as table

Ids = tuple[str, str]
Json = dict[str, Any]

ONE_WAY = graph(action("start", "end", exit_conditions=[]), action("end"))


def ask(client: httpx2.Client, ids: Ids) -> httpx2.Response:
    return client.get(f"/conversation/{ids[0]}/interaction/{ids[1]}/trace")


def trace_of(client: httpx2.Client, ids: Ids) -> Json:
    answer = ask(client, ids)
    assert answer.status_code == 200, answer.text
    return answer.json()


def attributes_of(trace: Json, name: str) -> list[Json]:
    """The attributes of the spans that have one of a name."""
    return [span["attributes"] for span in trace["spans"] if name in span["attributes"]]


def calls(trace: Json) -> list[Json]:
    return attributes_of(trace, "tertulia.interaction")


def ids_of(answer: httpx2.Response) -> Ids:
    return answer.headers["x-tertulia-conversation-id"], answer.headers["x-tertulia-interaction-id"]


def texts(message: Json) -> str:
    return "".join(part["content"] for part in message["parts"])


# --- What it tells ---------------------------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_a_turn_tells_what_its_model_was_asked_and_answered(stage: Stage) -> None:
    puppet = stage.play(Puppet("Hel", "lo."))
    ids = ids_of(create(stage.user(), stage.service(ONE_WAY)))

    trace = trace_of(stage.admin, ids)

    assert (trace["outcome"], trace["prompts"]) == ("settled", "shown")
    assert (trace["conversation_id"], trace["interaction_id"]) == ids
    root, *others = trace["spans"]
    assert (root["id"], root["parent_id"], root["name"]) == (0, None, "invoke_agent")
    assert root["attributes"]["gen_ai.conversation.id"] == ids[0]
    assert {span["parent_id"] for span in others} == {0}
    (spoken,) = calls(trace)
    (prompt,) = puppet.prompts
    assert spoken["tertulia.interaction"] == "EngageUser"
    assert list(map(texts, spoken["gen_ai.output.messages"])) == ["Hello."]
    assert spoken["gen_ai.system_instructions"] == [{"type": "text", "content": prompt.system}]
    asked = [(message["role"], texts(message)) for message in spoken["gen_ai.input.messages"]]
    assert asked == [(turn.role, turn.content) for turn in prompt.asked]
    assert spoken["tertulia.tries"] == 1
    assert spoken["gen_ai.usage.input_tokens"] is None


def test_spans_begin_after_their_turn_and_end_before_it(stage: Stage) -> None:
    stage.play(Puppet())

    root, *others = trace_of(stage.admin, ids_of(create(stage.user(), stage.service())))["spans"]

    begins = datetime.fromisoformat(root["start"])
    ends = begins + timedelta(milliseconds=root["ms"])
    assert [span["id"] for span in others] == list(range(1, len(others) + 1))
    for span in others:
        start = datetime.fromisoformat(span["start"])
        assert begins <= start <= start + timedelta(milliseconds=span["ms"]) <= ends


def test_steps_and_decisions_stand_in_their_order(stage: Stage) -> None:
    stage.play(Puppet(choice="exit-1"))
    user = stage.user()
    walk = graph(
        action("start", "note"),
        annotation("note", "fork"),
        decision("fork", "talk", "end"),
        action("talk", "end"),
        action("end"),
    )
    conversation_id, _ = ids_of(create(user, stage.service(walk)))

    trace = trace_of(stage.admin, ids_of(interact(user, conversation_id)))

    names = [span["name"] for span in trace["spans"] if "tertulia.action" in span["attributes"]]
    assert [name.removeprefix("navigate-state-machine-") for name in names][:5] == [
        "exit-condition-selected",
        "state-transitioned",
        "annotation-state-annotation-retrieved",
        "state-transitioned",
        "decision-state-decision-started",
    ]
    told = attributes_of(trace, "tertulia.action")[1]["tertulia.action"]
    assert (told["prev_state"], told["next_state"]) == ("start", "note")
    asked = [call["tertulia.interaction"] for call in calls(trace)]
    assert asked[:2] == ["SelectNextAction", "SelectNextActionForDecisionState"]
    assert asked[-1] == "EngageUser"
    assert list(map(texts, calls(trace)[0]["gen_ai.output.messages"])) == ['{"choice": "exit-1"}']


@pytest.mark.both_databases
def test_a_void_first_turn_leaves_its_trace_and_nothing_else(stage: Stage) -> None:
    stage.play(Puppet("Half", fails=ModelMisbehaved("it made no sense")))
    answer = create(stage.user(), stage.service(ONE_WAY))
    ids = ids_of(answer)
    assert '"error"' in answer.text

    trace = trace_of(stage.admin, ids)

    assert trace["outcome"] == "void"
    assert trace["spans"][0]["attributes"]["error.type"] == "ModelMisbehaved"
    (spoken,) = calls(trace)
    assert (spoken["error.type"], spoken["tertulia.error.reason"]) == ("ModelMisbehaved", "it made no sense")
    assert list(map(texts, spoken["gen_ai.output.messages"])) == ["Half"]
    assert stage.admin.get(f"/conversation/{ids[0]}/messages/").status_code == 404
    assert stage.admin.get(f"/conversation/{ids[0]}/interaction/{ids[1]}/insights").status_code == 404


@pytest.mark.both_databases
def test_a_void_later_turn_leaves_its_trace_and_the_conversation(stage: Stage) -> None:
    puppet = stage.play(Puppet())
    user = stage.user()
    conversation_id, first = ids_of(create(user, stage.service(ONE_WAY)))
    puppet.pieces = ("  ",)
    void = ids_of(interact(user, conversation_id, "Are you there?"))

    trace = trace_of(stage.admin, void)

    assert trace["outcome"] == "void"
    assert "Are you there?" in texts(calls(trace)[0]["gen_ai.input.messages"][-1])
    assert trace_of(stage.admin, (conversation_id, first))["outcome"] == "settled"


def test_what_does_not_fit_is_cut_with_a_note(stage: Stage) -> None:
    stage.play(Puppet())
    user = stage.user()
    conversation_id, _ = ids_of(create(user, stage.service(ONE_WAY)))
    ids = ids_of(interact(user, conversation_id, "a" * 50_000 + "the end"))

    (spoken,) = calls(trace_of(stage.admin, ids))

    asked = texts(spoken["gen_ai.input.messages"][-1])
    assert len(asked) < recorder.MOST_TEXT_CHARS + 1000
    assert "characters are not kept in the trace" in asked


def test_halves_of_surrogate_pairs_and_nul_in_an_answer_void_no_turn(stage: Stage) -> None:
    stage.play(Puppet("Hi \ud83d", " there\0."))
    answer = create(stage.user(), stage.service(ONE_WAY))

    (spoken,) = calls(trace_of(stage.admin, ids_of(answer)))

    assert "interaction-complete" in answer.text
    assert list(map(texts, spoken["gen_ai.output.messages"])) == ["Hi ? there\0."]


# --- What providers tell ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chat() -> Iterator[ChatServer]:
    with chat_server_beside() as chat:
        yield chat


@pytest.fixture(scope="module")
def behind(serve: Serve, chat: ChatServer) -> Server:
    """A server whose first model is behind the chat server, and whose second one is scripted."""
    models = ("openai:tiny", "scripted")
    return serve(model=models, openai={"base_url": chat.url, "api_key": ""}, rate_limits="off")


USAGE = {"prompt_tokens": 120, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 100}}


def test_tokens_are_those_that_the_server_counted(behind: Server, chat: ChatServer) -> None:
    chat.answers[:] = [streams(event("Hello.", "stop"), data({"choices": [], "usage": USAGE}), DONE)]
    service_id = make_service(behind.as_admin, ONE_WAY)

    (spoken,) = calls(trace_of(behind.as_admin, ids_of(create(behind.as_user, service_id))))

    names = ("input_tokens", "output_tokens", "cache_read.input_tokens")
    assert [spoken[f"gen_ai.usage.{name}"] for name in names] == [120, 7, 100]
    assert (spoken["gen_ai.provider.name"], spoken["gen_ai.response.model"]) == ("openai", "openai:tiny")
    assert chat.requests[-1]["stream_options"] == {"include_usage": True}


def test_a_server_that_cannot_count_is_asked_without(serve: Serve) -> None:
    def decide(body: Json) -> Any:
        return sends(b'{"error": "extra field"}', "400 Bad Request") if "stream_options" in body else replies("Hello.")

    with chat_server_beside(decide=decide) as strict:
        server = serve(model=("openai:tiny",), openai={"base_url": strict.url, "api_key": ""})
        service_id = make_service(server.as_admin, ONE_WAY)
        (spoken,) = calls(trace_of(server.as_admin, ids_of(create(server.as_user, service_id))))
        assert "interaction-complete" in create(server.as_admin, service_id).text

    assert spoken["tertulia.tries"] == 2
    assert spoken["gen_ai.usage.output_tokens"] is None
    assert ["stream_options" in body for body in strict.requests] == [True, False, False]


def test_a_fallback_is_told_with_the_model_that_failed(behind: Server, chat: ChatServer) -> None:
    chat.answers[:] = [sends(b"broken", "500 Internal Server Error")]
    service_id = make_service(behind.as_admin, ONE_WAY)

    (spoken,) = calls(trace_of(behind.as_admin, ids_of(create(behind.as_user, service_id))))

    assert spoken["gen_ai.response.model"] == "scripted"
    assert spoken["tertulia.fallbacks"] == [{"model": "openai:tiny", "error.type": "ModelUnavailable"}]
    assert spoken["tertulia.tries"] >= 2


def test_the_raw_answer_of_a_choice_that_is_none_is_kept(behind: Server, chat: ChatServer) -> None:
    chat.answers[:] = [completes("Let me think about that.")]
    service_id = make_service(behind.as_admin, graph(action("start", "end", actions=2), action("end")))

    first, *_ = calls(trace_of(behind.as_admin, ids_of(create(behind.as_user, service_id))))

    assert first["tertulia.interaction"] == "SelectNextAction"
    assert first["tertulia.fallbacks"] == [{"model": "openai:tiny", "error.type": "ModelMisbehaved"}]
    assert list(map(texts, first["gen_ai.output.messages"])) == ['{"choice": "action-1"}']


def test_the_raw_answer_that_voided_a_turn_is_kept(serve: Serve) -> None:
    with chat_server_beside(completes("Let me think about that.")) as odd:
        server = serve(model=("openai:tiny",), openai={"base_url": odd.url, "api_key": ""})
        service_id = make_service(server.as_admin, graph(action("start", "end", actions=2), action("end")))
        answer = create(server.as_user, service_id)

    trace = trace_of(server.as_admin, ids_of(answer))

    assert trace["outcome"] == "void"
    (asked,) = calls(trace)
    assert list(map(texts, asked["gen_ai.output.messages"])) == ["Let me think about that."]
    assert (asked["error.type"], asked["tertulia.tries"]) == ("ModelMisbehaved", 2)


# --- Who sees it -----------------------------------------------------------------------------------------------------


def test_a_user_needs_the_permission_of_insights(stage: Stage) -> None:
    stage.play(Puppet())
    user = stage.user()
    answer = ask(user, ids_of(create(user, stage.service())))

    assert answer.status_code == 403
    assert answer.json()["detail"] == "You need the permission Conversation:GetInteractionInsights."


def test_what_a_user_hides_from_administrators_is_hidden_in_void_turns_too(stage: Stage) -> None:
    stage.play(Puppet(" "))
    user = stage.user(user_preferences={"conversations_visible_to_admins": False})

    answer = ask(stage.admin, ids_of(create(user, stage.service(ONE_WAY))))

    assert answer.status_code == 403


# --- For how long ----------------------------------------------------------------------------------------------------


def count(stage: Stage, user_id: str) -> int:
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    with engine.connect() as connection:
        query = sa.select(sa.func.count()).where(table.c.user_id == user_id)
        found = connection.execute(query).scalar_one()
    engine.dispose()
    return found


@pytest.mark.both_databases
def test_the_traces_of_a_deleted_user_go_with_them(stage: Stage) -> None:
    puppet = stage.play(Puppet())
    user = stage.user()
    user_id: str = user.user_id
    conversation_id, _ = ids_of(create(user, stage.service(ONE_WAY)))
    puppet.pieces = (" ",)
    interact(user, conversation_id)
    create(user, stage.service(ONE_WAY))
    assert count(stage, user_id) == 3

    assert stage.admin.delete(f"/user/{user_id}").status_code == 204

    assert count(stage, user_id) == 0


@pytest.mark.both_databases
def test_a_trace_is_gone_after_thirty_days(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.play(Puppet())
    user = stage.user()
    ids = ids_of(create(user, stage.service()))
    later = clock.now() + traces.KEPT + timedelta(minutes=1)
    monkeypatch.setattr(traces.clock, "now", lambda: later)

    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    with engine.begin() as connection:
        connection.execute(sa.delete(table).where(table.c.interaction_id != ids[1]))
        more = traces.purge_traces(connection)
    engine.dispose()

    assert more is False
    assert count(stage, user.user_id) == 0


def test_void_turns_of_a_user_leave_so_many_traces_and_the_newest(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "MOST_VOID", 2)
    stage.play(Puppet(" "))
    user, service_id = stage.user(), stage.service(ONE_WAY)
    void = [ids_of(create(user, service_id)) for _ in range(4)]

    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    with engine.begin() as connection:
        while traces.purge_traces(connection):
            pass
    engine.dispose()

    assert [ask(stage.admin, ids).status_code for ids in void] == [404, 404, 200, 200]


# --- What is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("detail", "status"), [("off", 404), ("spans", 200)])
def test_a_setting_says_what_is_kept(serve: Serve, detail: str, status: int) -> None:
    server = serve(trace=detail)
    ids = ids_of(create(server.as_user, make_service(server.as_admin, ONE_WAY)))

    answer = ask(server.as_admin, ids)

    assert answer.status_code == status
    if status == 200:
        assert answer.json()["prompts"] == "not kept"
        assert "Objective" not in answer.text
        assert calls(answer.json())[0]["gen_ai.response.model"] == "scripted"
    logs = server.as_admin.get("/admin/get_prompt_logs/", params={"prompt_log_prefix": ids[0]})
    assert logs.status_code == 404
