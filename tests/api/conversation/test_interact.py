"""Going on with a conversation, and finishing it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from support.puppet import PATIENCE_S, Puppet
from support.samples import action, graph
from support.stage import Stage
from support.talk import begin, conversations, finish, go_on, id_of, interact, messages, types
from tertulia.errors import ModelMisbehaved

pytestmark = pytest.mark.both_databases

UNKNOWN = "f" * 24


@pytest.fixture
def user(stage: Stage) -> httpx2.Client:
    return stage.user()


@pytest.fixture
def conversation_id(stage: Stage, user: httpx2.Client) -> str:
    """A conversation in which the agent has said hello."""
    return id_of(begin(user, stage.service(graph(action("start", "end"), action("end")))))


def test_a_message_is_echoed_then_answered(user: httpx2.Client, conversation_id: str) -> None:
    events = go_on(user, conversation_id, "  How are you?  ")
    assert types(events) == ["user-message-available", *["new-message"] * 4, "interaction-complete"]
    assert events[0]["user_message"] == "How are you?"
    shown = messages(user, conversation_id)
    assert [message["message"] for message in shown] == ["Hello there.", "How are you?", "Hello there."]
    assert shown[1]["id"] == events[0]["message_id"]
    assert [piece["sequence_number"] for piece in events[1:-1]] == [1, 2, 3, 4]


def test_the_model_is_shown_what_was_said(stage: Stage, user: httpx2.Client, conversation_id: str) -> None:
    puppet = stage.play(Puppet("Fine."))
    go_on(user, conversation_id, "How are you?")
    go_on(user, conversation_id, "And now?")
    assert [(turn.role, turn.content) for turn in puppet.prompts[-1].turns[1:]] == [
        ("assistant", "Hello there."),
        ("user", "How are you?"),
        ("assistant", "Fine."),
        ("user", "And now?"),
    ]


@pytest.mark.parametrize("as_file", [False, True])
def test_the_message_is_a_field_or_a_file(user: httpx2.Client, conversation_id: str, as_file: bool) -> None:
    part: Any = ("message.txt", "Grüße 👋".encode(), "text/plain") if as_file else (None, "Grüße 👋".encode())
    answer = user.post(
        f"/conversation/{conversation_id}/interact",
        params={"request_format": "text", "response_format": "text"},
        files=[("initial_message_type", (None, "user-message")), ("recorded_message", part)],
    )
    assert json.loads(answer.text.splitlines()[0])["user_message"] == "Grüße 👋"


def test_a_part_that_is_not_known_is_named_in_a_warning(user: httpx2.Client, conversation_id: str) -> None:
    answer = interact(user, conversation_id, "Hello", mesage=["Hallo"], initial_messge_type=["skip"])
    assert answer.status_code == 200
    assert sorted(answer.headers.get_list("x-tertulia-warning")) == [
        f"{name}: this field is not known and was ignored." for name in ("initial_messge_type", "mesage")
    ]


def test_a_skip_lets_the_agent_go_on(stage: Stage, user: httpx2.Client, conversation_id: str) -> None:
    stage.play(Puppet("One more thing."))
    events = go_on(user, conversation_id, "", type="skip")
    assert types(events)[0] == "new-message"
    assert [message["message"] for message in messages(user, conversation_id)] == ["Hello there.", "One more thing."]


def test_an_external_event_is_answered(user: httpx2.Client, conversation_id: str) -> None:
    events = go_on(user, conversation_id, "The parcel arrived", type="external-event")
    assert (events[0]["type"], events[0]["user_message"]) == ("user-message-available", "The parcel arrived")
    assert messages(user, conversation_id)[1]["message_type"] == "external-event"


def _last_time(user: httpx2.Client, conversation_id: str) -> datetime:
    return datetime.fromisoformat(messages(user, conversation_id)[-1]["created_at"])


def test_external_events_come_before_the_message(user: httpx2.Client, conversation_id: str) -> None:
    last = _last_time(user, conversation_id)
    times = [last + timedelta(microseconds=10), last + timedelta(microseconds=20)]
    go_on(
        user,
        conversation_id,
        "Have you heard?",
        external_event_message_content=["It rains", "It stopped"],
        external_event_message_timestamp=[moment.isoformat() for moment in times],
    )
    shown = messages(user, conversation_id)
    assert [message["message"] for message in shown[1:4]] == ["It rains", "It stopped", "Have you heard?"]
    assert [datetime.fromisoformat(message["created_at"]) for message in shown[1:3]] == times


@pytest.mark.parametrize(
    "offsets",
    [
        pytest.param([timedelta(hours=1)], id="in the future"),
        pytest.param([timedelta(days=-1)], id="before the last message"),
        pytest.param([timedelta(milliseconds=2), timedelta(milliseconds=1)], id="not in order"),
    ],
)
def test_external_events_that_do_not_fit_are_refused(
    user: httpx2.Client, conversation_id: str, offsets: list[timedelta]
) -> None:
    last = _last_time(user, conversation_id)
    answer = interact(
        user,
        conversation_id,
        "Well?",
        external_event_message_content=["Something"] * len(offsets),
        external_event_message_timestamp=[(last + offset).isoformat() for offset in offsets],
    )
    assert answer.status_code == 400
    assert "external_event_message_timestamp" in answer.json()["detail"]
    assert len(messages(user, conversation_id)) == 1
    assert types(go_on(user, conversation_id))[-1] == "interaction-complete"


NOW = datetime.now(UTC).isoformat()


@pytest.mark.parametrize(
    ("message", "fields", "field"),
    [
        (None, {}, "recorded_message"),
        ("", {}, "recorded_message"),
        ("x", {"type": "song"}, "initial_message_type"),
        ("x", {"type": "skip"}, "recorded_message"),
        (
            "",
            {
                "type": "skip",
                "external_event_message_content": ["x"],
                "external_event_message_timestamp": [NOW],
            },
            "external_event_message_content",
        ),
        ("x", {"external_event_message_content": ["x"]}, "external_event_message_timestamp"),
        (
            "x",
            {"external_event_message_content": [" "], "external_event_message_timestamp": [NOW]},
            "external_event_message_content",
        ),
        (
            "x",
            {"external_event_message_content": ["x"], "external_event_message_timestamp": ["yesterday"]},
            "external_event_message_timestamp",
        ),
        (
            "x",
            {"external_event_message_content": ["x"], "external_event_message_timestamp": ["2026-01-01T00:00:00"]},
            "external_event_message_timestamp",
        ),
        ("x", {"recorded_message": ["twice"]}, "recorded_message"),
        ("null\0byte", {}, "recorded_message"),
    ],
)
def test_a_wrong_part_is_named_and_changes_nothing(
    user: httpx2.Client, conversation_id: str, message: str | None, fields: dict[str, Any], field: str
) -> None:
    answer = interact(user, conversation_id, message, **fields)
    assert answer.status_code == 422, answer.text
    assert field in answer.json()["detail"][0]["loc"]
    assert len(messages(user, conversation_id)) == 1


def test_a_blank_message_is_refused(user: httpx2.Client, conversation_id: str) -> None:
    assert interact(user, conversation_id, " \n ").status_code == 400


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{}", {"content-type": "application/json"}, 422),
        (b"x", {"content-type": "multipart/form-data"}, 422),
        (b"x", {}, 422),
        (b"not multipart at all", {"content-type": "multipart/form-data; boundary=b"}, 400),
        (b'--b\r\nContent-Disposition: form-data; name="x', {"content-type": "multipart/form-data; boundary=b"}, 422),
        (b"--b\r\ngarbage\r\n\r\n--b--", {"content-type": "multipart/form-data; boundary=b"}, 400),
    ],
)
def test_a_body_that_is_not_multipart_is_refused(
    user: httpx2.Client, conversation_id: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = user.post(
        f"/conversation/{conversation_id}/interact",
        params={"request_format": "text", "response_format": "text"},
        content=content,
        headers=headers,
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize("as_file", [False, True])
def test_text_that_is_not_utf8_is_refused(user: httpx2.Client, conversation_id: str, as_file: bool) -> None:
    part: Any = ("message.txt" if as_file else None, b"\xff\xfe", "text/plain")
    answer = user.post(
        f"/conversation/{conversation_id}/interact",
        params={"request_format": "text", "response_format": "text"},
        files=[("initial_message_type", (None, "user-message")), ("recorded_message", part)],
    )
    assert answer.status_code == 422


@pytest.mark.parametrize("parameter", ["charset=undefined", "charset=utf-7", "charset*=utf-8''unicode_escape"])
def test_the_text_of_a_form_is_utf8_whatever_its_type_says(
    user: httpx2.Client, conversation_id: str, parameter: str
) -> None:
    text = "Grüße +2AA- \\ud800"
    parts = {"initial_message_type": "user-message", "recorded_message": text}.items()
    body = "".join(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts)
    answer = user.post(
        f"/conversation/{conversation_id}/interact",
        params={"request_format": "text", "response_format": "text"},
        content=f"{body}--b--\r\n".encode(),
        headers={"content-type": f'multipart/form-data; boundary="b"; {parameter}'},
    )
    assert json.loads(answer.text.splitlines()[0])["user_message"] == text


def test_a_spoken_reply_is_refused_while_the_agent_has_no_voice(user: httpx2.Client, conversation_id: str) -> None:
    assert interact(user, conversation_id, query={"response_format": "voice"}).status_code == 400
    assert interact(user, conversation_id).status_code == 200


def test_an_unknown_conversation_is_not_found(user: httpx2.Client) -> None:
    assert interact(user, UNKNOWN).status_code == 404
    assert finish(user, UNKNOWN).status_code == 404


def test_somebody_elses_conversation_is_forbidden(stage: Stage, conversation_id: str) -> None:
    stranger = stage.user()
    assert interact(stranger, conversation_id).status_code == 403
    assert finish(stranger, conversation_id).status_code == 403
    assert stranger.post(f"/conversation/{conversation_id}/tags/", json={}).status_code == 403


def test_two_sends_at_once_do_not_mix(stage: Stage, user: httpx2.Client, conversation_id: str) -> None:
    puppet = stage.play(Puppet())
    puppet.hold()
    request: dict[str, Any] = {
        "params": {"request_format": "text", "response_format": "text"},
        "files": [("initial_message_type", (None, "user-message")), ("recorded_message", (None, "First"))],
    }
    with user.stream("POST", f"/conversation/{conversation_id}/interact", **request) as answer:
        assert puppet.asked.wait(PATIENCE_S)
        assert interact(user, conversation_id, "Second").status_code == 409
        assert finish(user, conversation_id).status_code == 409
        puppet.release(4)
        assert b"interaction-complete" in answer.read()
    assert [message["message"] for message in messages(user, conversation_id)[1:]] == ["First", "Hello there."]


def test_an_error_before_the_end_leaves_the_conversation_as_it_was(
    stage: Stage, user: httpx2.Client, conversation_id: str
) -> None:
    stage.play(Puppet("half a", fails=ModelMisbehaved("why")))
    before = conversations(user)
    events = go_on(user, conversation_id, "Lost?")
    assert types(events) == ["user-message-available", "new-message", "error"]
    assert conversations(user) == before
    assert len(messages(user, conversation_id)) == 1
    stage.play(Puppet("Back."))
    go_on(user, conversation_id, "Again")
    assert [message["message"] for message in messages(user, conversation_id)[1:]] == ["Again", "Back."]


def test_a_conversation_ends_itself_at_the_terminal_state(
    stage: Stage, user: httpx2.Client, conversation_id: str
) -> None:
    stage.play(Puppet("Goodbye.", choice="exit-1"))
    assert go_on(user, conversation_id, "Bye")[-1]["conversation_completed"] is True
    assert interact(user, conversation_id).status_code == 409
    assert finish(user, conversation_id).status_code == 409


def test_a_finished_conversation_takes_no_messages(user: httpx2.Client, conversation_id: str) -> None:
    answer = finish(user, conversation_id)
    assert (answer.status_code, answer.content) == (204, b"")
    assert conversations(user)[0]["is_finished"] is True
    assert interact(user, conversation_id).status_code == 409
    assert finish(user, conversation_id).status_code == 409


def test_an_invalid_action_pattern_starts_nothing(user: httpx2.Client, conversation_id: str) -> None:
    assert interact(user, conversation_id, query={"current_agent_action_type": "("}).status_code == 422
    assert len(messages(user, conversation_id)) == 1
