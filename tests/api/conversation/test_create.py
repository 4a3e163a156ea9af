"""Creating a conversation: who speaks first, what streams, what is refused."""

import json
from typing import Any

import httpx2
import pytest

from support.puppet import PATIENCE_S, Puppet
from support.samples import action, annotation, decision, graph
from support.server import Serve
from support.stage import Stage
from support.talk import begin, conversations, create, finish, id_of, lines, messages, types
from tertulia.engine.agent.library import Library
from tertulia.errors import ModelUnavailable, Unavailable

pytestmark = pytest.mark.both_databases

UNKNOWN = "f" * 24


def test_the_agent_speaks_first_where_nobody_else_does(stage: Stage) -> None:
    events = begin(stage.user("DefaultAdministratorRole"), stage.service())
    assert types(events) == [
        "conversation-created",
        "navigate-state-machine-action-state-action-selected",
        "new-message",
        "new-message",
        "new-message",
        "new-message",
        "interaction-complete",
    ]
    created, _, *pieces, complete = events
    message_id, interaction_id = complete["message_id"], complete["interaction_id"]
    assert [set(created), len(created["conversation_id"])] == [{"type", "conversation_id"}, 24]
    assert pieces == [
        {
            "type": "new-message",
            "message": text,
            "transcript_alignment": None,
            "message_metadata": [],
            "stop": stop,
            "sequence_number": number,
            "message_id": message_id,
        }
        for number, (text, stop) in enumerate([("Hello", False), (" there", False), (".", False), ("", True)], 1)
    ]
    assert complete == {
        "type": "interaction-complete",
        "message_id": message_id,
        "interaction_id": interaction_id,
        "full_message": "Hello there.",
        "conversation_completed": False,
    }


def test_what_was_streamed_is_stored(stage: Stage) -> None:
    user = stage.user()
    events = begin(user, stage.service(), initial_message="  What can you do?  ")
    asked, answered = messages(user, id_of(events))
    assert (asked["message"], asked["message_type"], asked["sender"]) == (
        "What can you do?",
        "user-message",
        "Test Person",
    )
    assert (answered["message"], answered["message_type"], answered["sender"], answered["id"]) == (
        "Hello there.",
        "agent-message",
        "Test Agent",
        events[-1]["message_id"],
    )
    assert {message["interaction_id"] for message in (asked, answered)} == {events[-1]["interaction_id"]}
    assert {message["format"] for message in (asked, answered)} == {"text"}


@pytest.mark.parametrize(
    ("kind", "stored"), [(None, "user-message"), ("user-message", "user-message"), ("external-event", "external-event")]
)
def test_the_user_or_an_event_may_speak_first(stage: Stage, kind: str | None, stored: str) -> None:
    puppet, user = stage.play(Puppet()), stage.user()
    events = begin(user, stage.service(), initial_message="The order has arrived", initial_message_type=kind)
    assert "user-message-available" not in types(events)
    assert [message["message_type"] for message in messages(user, id_of(events))] == [stored, "agent-message"]
    assert "The order has arrived" in puppet.prompts[-1].turns[-1].content


def test_a_piece_leaves_the_server_before_the_model_makes_the_next_one(stage: Stage) -> None:
    puppet = stage.play(Puppet("one", "two", "three"))
    puppet.hold()
    request: dict[str, Any] = {"params": {"response_format": "text"}, "json": {"service_id": stage.service()}}
    with stage.user().stream("POST", "/conversation/", **request) as answer:
        assert answer.status_code == 201
        arriving = answer.iter_lines()
        assert json.loads(next(arriving))["type"] == "conversation-created"
        for text in ("one", "two", "three"):
            puppet.release()
            assert json.loads(next(arriving))["message"] == text
        puppet.release()
        assert [json.loads(line)["type"] for line in arriving] == ["new-message", "interaction-complete"]


def test_a_slow_models_pieces_arrive_one_by_one(serve: Serve) -> None:
    server = serve(scripted={"pieces": 5, "delay_ms": 60})
    request: dict[str, Any] = {"params": {"response_format": "text"}, "json": {"service_id": server.demo.service_id}}
    with server.as_user.stream("POST", "/conversation/", **request) as answer:
        chunks = [chunk for chunk in answer.iter_raw() if b'"new-message"' in chunk]
    assert len(chunks) == 5  # the last comes together with the piece that says stop
    assert [chunk.count(b'"stop":false') for chunk in chunks] == [1] * 5


def test_action_events_are_for_those_who_may_see_them(stage: Stage) -> None:
    service = stage.service()
    assert "current-agent-action" not in {event["type"] for event in begin(stage.user(), service)}
    administrator = stage.user("DefaultAdministratorRole")
    assert "current-agent-action" in {event["type"] for event in begin(administrator, service)}


@pytest.mark.parametrize(
    ("pattern", "seen"),
    [
        ("^.*$", ["action-selected", "exit", "transitioned"]),
        ("^$", []),
        ("action-selected", ["action-selected"]),
        ("^navigate-state-machine-state", ["transitioned"]),
        ("(a+)+$", []),
        ("(.*)*x{1,40}(a|aa)+$", []),
    ],
)
def test_a_pattern_filters_the_action_events(stage: Stage, pattern: str, seen: list[str]) -> None:
    stage.play(Puppet(choice="exit-1"))
    user = stage.user("DefaultAdministratorRole")
    query = {"current_agent_action_type": pattern}
    answer = create(user, stage.service(), query, initial_message="Let us end")
    names = {
        "navigate-state-machine-action-state-action-selected": "action-selected",
        "navigate-state-machine-exit-condition-selected": "exit",
        "navigate-state-machine-state-transitioned": "transitioned",
    }
    actions = [names[kind] for kind in types(lines(answer)) if kind in names]
    assert sorted(actions) == seen


@pytest.mark.parametrize("pattern", ["(", "[", "a{2,1}", "(?=x)", "(?P<n>", r"\pL" * 99])
def test_an_invalid_pattern_is_refused(stage: Stage, pattern: str) -> None:
    answer = create(stage.user(), stage.service(), {"current_agent_action_type": pattern})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", "current_agent_action_type"])


def test_a_second_unfinished_conversation_of_a_service_is_refused(stage: Stage) -> None:
    user, service = stage.user(), stage.service()
    first = id_of(begin(user, service))
    refused = create(user, service)
    assert refused.status_code == 400
    assert first in refused.json()["detail"]
    assert create(user, stage.service()).status_code == 201
    assert create(stage.user(), service).status_code == 201
    assert finish(user, first).status_code == 204
    assert create(user, service).status_code == 201


def test_while_a_conversation_is_being_created_another_is_a_conflict(stage: Stage) -> None:
    puppet = stage.play(Puppet())
    puppet.hold()
    user, service = stage.user(), stage.service()
    request: dict[str, Any] = {"params": {"response_format": "text"}, "json": {"service_id": service}}
    with user.stream("POST", "/conversation/", **request) as answer:
        assert puppet.asked.wait(PATIENCE_S)
        assert create(user, service).status_code == 409
        puppet.release(4)
        assert b"interaction-complete" in answer.read()


@pytest.mark.parametrize(
    ("fails", "status"), [(ModelUnavailable("the secret key is wrong"), 503), (RuntimeError("a secret path"), 500)]
)
def test_an_error_before_the_end_leaves_nothing_behind(stage: Stage, fails: Exception, status: int) -> None:
    stage.play(Puppet(fails=fails))
    user, service = stage.user(), stage.service()
    events = begin(user, service)
    assert types(events)[-1] == "error"
    assert types(events).count("error") == 1
    assert "interaction-complete" not in types(events)
    assert events[-1]["http_error_code"] == status
    assert "secret" not in json.dumps(events)
    assert conversations(user) == []
    assert user.get(f"/conversation/{id_of(events)}/messages/").status_code == 404
    stage.play(Puppet())
    assert create(user, service).status_code == 201


def test_a_turn_whose_graph_cannot_be_read_is_void_and_gives_the_conversation_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_args: object) -> None:
        raise Unavailable("The database cannot be reached.")

    user, service = stage.user(), stage.service()
    with monkeypatch.context() as patched:
        patched.setattr(Library, "graphs", unavailable)
        assert types(begin(user, service)) == ["conversation-created", "error"]
    assert types(begin(user, service))[-1] == "interaction-complete"


def test_an_empty_reply_is_an_error(stage: Stage) -> None:
    stage.play(Puppet(" ", "\n"))
    assert types(begin(stage.user(), stage.service()))[-1] == "error"


def test_a_model_that_chooses_nothing_that_exists_is_an_error(stage: Stage) -> None:
    puppet = stage.play(Puppet())
    puppet.choice = RuntimeError("no choice")
    events = begin(stage.user(), stage.service(), initial_message="Hello")
    assert types(events) == ["conversation-created", "error"]


def test_entering_the_terminal_state_and_speaking_ends_the_conversation(stage: Stage) -> None:
    stage.play(Puppet("Goodbye.", choice="exit-1"))
    user, service = stage.user(), stage.service()
    events = begin(user, service, initial_message="That is all")
    assert events[-1]["conversation_completed"] is True
    (listed,) = conversations(user)
    assert (listed["is_finished"], listed["final_message"], listed["num_messages"]) == (True, "Goodbye.", 2)
    assert finish(user, id_of(events)).status_code == 409
    assert create(user, service).status_code == 201


def test_decision_and_annotation_states_run_silently(stage: Stage) -> None:
    stage.play(Puppet(choice="exit-2"))
    admin = stage.user("DefaultAdministratorRole")
    service = stage.service(
        graph(
            action("start", "other", "choose"),
            decision("choose", "other", "think"),
            annotation("think", "talk"),
            action("talk", "end"),
            action("other", "end"),
            action("end"),
        )
    )
    events = begin(admin, service, initial_message="Hello")
    assert [kind.removeprefix("navigate-state-machine-") for kind in types(events)[1:-5]] == [
        "exit-condition-selected",
        "state-transitioned",
        "decision-state-decision-started",
        "exit-condition-selected",
        "state-transitioned",
        "annotation-state-annotation-retrieved",
        "state-transitioned",
        "action-state-action-selected",
    ]
    shown = messages(admin, id_of(events))
    assert [message["message_type"] for message in shown] == ["user-message", "agent-message"]
    (thought,) = messages(admin, id_of(events), message_type="agent-inner-thought")
    assert (thought["message"], thought["sender"]) == ("Thought of think", "Test Agent")


def test_a_returning_user_starts_where_the_graph_says(stage: Stage) -> None:
    admin = stage.user("DefaultAdministratorRole")
    service = stage.service(
        graph(action("start", "end"), action("again", "end"), action("end"), returning_user_initial_state="again")
    )

    def selected() -> str:
        events = begin(admin, service)
        finish(admin, id_of(events))
        return str(events[1]["action"]["action"])

    assert [selected(), selected()] == ["Action 1 of start", "Action 1 of again"]


def test_everything_that_an_agent_and_a_state_say_reaches_the_model(stage: Stage) -> None:
    puppet = stage.play(Puppet())
    user = stage.user(user_preferences={"preferred_language": "spa", "timezone": "America/Bogota"})
    begin(user, stage.service(graph(action("start", "end", actions=2), action("end"))), initial_message="Hello")
    choosing, speaking = (f"{prompt.system}\n{prompt.question}" for prompt in puppet.prompts)
    for part in ("Test Agent", "Objective of start", "Navigation guideline of start", "Global navigation guideline"):
        assert part in choosing
    assert "action-1: Action 1 of start" in choosing
    assert "exit-1: To end" in choosing
    for part in (
        "Test Agent",
        "a host of tests",
        "the test suite",
        "owned by the test suite",
        "Background of the agent.",
        "Behaviour of the agent.",
        "Pattern of the agent.",
        "Objective of start",
        "Action 1 of start",
        "Action guideline of start",
        "Global action guideline",
        "Boundary of start",
        "Global boundary",
        "Test Person",
        "Spanish",
    ):
        assert part in speaking


def test_the_version_set_decides_which_versions_run(stage: Stage) -> None:
    user, service = stage.user("DefaultAdministratorRole"), stage.service()
    assert create(user, service, service_version_set_name="missing").status_code == 404
    events = begin(user, service, service_version_set_name="edge")
    (listed,) = conversations(user, id=id_of(events))
    info = listed["version_set_info"]
    assert (info["name"], info["agent_version_info"][1], info["llm_model_preferences"]) == ("edge", 1, {})
    assert info["service_hierarchical_state_machine_version_info"][1] == 1


def test_tags_and_the_test_mark_are_kept(stage: Stage) -> None:
    user = stage.user()
    events = begin(user, stage.service(), tags={"channel": "web chat, v2", "pilot": None}, is_test=True)
    (listed,) = conversations(user, id=id_of(events))
    assert listed["tags"] == {"channel": "web chat, v2", "pilot": None}
    assert (listed["is_analyzed"], listed["completed_post_processings"]) == (False, [])
    assert [len(conversations(user, id=id_of(events), is_test=wanted)) for wanted in (True, False)] == [1, 0]


def test_a_list_tells_how_far_each_conversation_has_come(stage: Stage) -> None:
    user, service = stage.user("DefaultAdministratorRole"), stage.service()
    events = begin(user, service)
    (listed,) = conversations(user, id=id_of(events))
    assert (listed["num_turns"], listed["is_test"]) == (1, False)
    assert listed["created_at"] <= listed["last_message_at"]
    assert listed["state"] == "start"
    alone = stage.user()
    (own,) = conversations(alone, id=id_of(begin(alone, service)))
    assert own["state"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"initial_message_type": "user-message"}, "initial_message_type"),
        ({"initial_message": "   ", "initial_message_type": "user-message"}, "initial_message"),
        ({"initial_message": ""}, "initial_message"),
        ({"initial_message": 7}, "initial_message"),
        ({"initial_message": "x", "initial_message_type": "skip"}, "initial_message_type"),
        ({"service_id": "not an id"}, "service_id"),
        ({"service_id": None}, "service_id"),
        ({"service_version_set_name": 1}, "service_version_set_name"),
        ({"tags": {"k-1": "v"}}, "tags"),
        ({"tags": {"key": "v" * 101}}, "tags"),
        ({"tags": {f"k{n}": "v" for n in range(21)}}, "tags"),
        ({"is_test": "perhaps"}, "is_test"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_created(stage: Stage, body: dict[str, Any], field: str) -> None:
    user, service = stage.user(), stage.service()
    sent: dict[str, Any] = {"service_id": service, **body}
    answer = create(user, **sent)
    assert answer.status_code == 422
    assert field in answer.json()["detail"][0]["loc"]
    assert conversations(user) == []


@pytest.mark.parametrize(
    ("query", "field"), [({"response_format": "song"}, "response_format"), ({"audio_format": "wav"}, "audio_format")]
)
def test_a_wrong_query_parameter_is_named(stage: Stage, query: dict[str, str], field: str) -> None:
    answer = create(stage.user(), stage.service(), query)
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", field])


def test_the_response_format_is_required(stage: Stage) -> None:
    answer = stage.user().post("/conversation/", json={"service_id": stage.service()})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", "response_format"])


def test_an_audio_format_is_accepted(stage: Stage) -> None:
    assert create(stage.user(), stage.service(), {"audio_format": "mp3"}).status_code == 201


def test_voice_is_refused_while_the_agent_has_none(stage: Stage) -> None:
    user = stage.user()
    assert create(user, stage.service(), {"response_format": "voice"}).status_code == 400
    assert create(user, UNKNOWN, {"response_format": "voice"}).status_code == 404
    assert conversations(user) == []


def test_an_unknown_service_is_not_found(stage: Stage) -> None:
    answer = create(stage.user(), UNKNOWN)
    assert (answer.status_code, UNKNOWN in answer.json()["detail"]) == (404, True)


def test_an_inactive_service_takes_no_conversations(stage: Stage) -> None:
    assert create(stage.user(), stage.service(is_active=False)).status_code == 400


def test_proxies_are_told_not_to_hold_the_stream_back(stage: Stage) -> None:
    headers = create(stage.user(), stage.service()).headers
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
    assert headers["content-type"] == "application/x-ndjson"
    assert "content-length" not in headers


def test_both_forms_of_the_path_work_without_a_redirect(stage: Stage) -> None:
    service = stage.service()
    for path in ("/conversation", "/conversation/"):
        answer = stage.user().post(path, params={"response_format": "text"}, json={"service_id": service})
        assert answer.status_code == 201


def test_a_turn_goes_on_when_its_client_leaves(stage: Stage) -> None:
    puppet = stage.play(Puppet())
    puppet.hold()
    user, service = stage.user(), stage.service()
    request: dict[str, Any] = {"params": {"response_format": "text"}, "json": {"service_id": service}}
    with user.stream("POST", "/conversation/", **request) as answer:
        conversation_id = json.loads(next(answer.iter_lines()))["conversation_id"]
        assert puppet.asked.wait(PATIENCE_S)
    puppet.release(4)
    assert puppet.closed.wait(PATIENCE_S)
    assert _settled(user, conversation_id) == ["Hello there."]


def _settled(user: httpx2.Client, conversation_id: str) -> list[str]:
    """The messages of a conversation once its turn is over: until then, finishing it is a conflict."""
    for _ in range(1000):
        answer = finish(user, conversation_id)
        if answer.status_code == 204:
            break
        assert answer.status_code == 409
    return [message["message"] for message in messages(user, conversation_id)]


def test_a_graph_in_another_graph_is_run_and_left(stage: Stage) -> None:
    admin = stage.user("DefaultAdministratorRole")
    inner = stage.service(graph(action("start", "end"), action("end")))
    inner_graph = stage.admin.get("/service/", params={"id": inner}).json()["services"][0][
        "service_hierarchical_state_machine_id"
    ]
    service = stage.service(
        graph(
            action("start", ["inner.start", "after"]),
            action("after", "end"),
            action("end"),
            references={"inner": [inner_graph, 1]},
        )
    )
    stage.play(Puppet(choice="exit-1"))
    first = begin(admin, service, initial_message="Go in")
    transitions = [event["action"] for event in first if event.get("action", {}).get("prev_state")]
    # In by the exit, out again at the inner graph's end, back in the outer graph and on to its end.
    assert [(item["prev_state"], item["next_state"]) for item in transitions] == [
        ("start", "start"),
        ("start", "end"),
        ("end", "after"),
        ("after", "end"),
    ]
    assert first[-1]["conversation_completed"] is True
