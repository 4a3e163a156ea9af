"""Live conversations in text, and how a connection begins and ends. Speech: test_realtime_voice.py."""

import json
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from support import talk
from support.accounts import demote
from support.live import Live, address, live, patiently, types
from support.puppet import Puppet
from support.samples import action, graph
from support.server import Serve
from support.stage import Stage
from support.targets import make_key, make_role
from tertulia.api.conversation import realtime
from tertulia.auth import roles, tokens
from tertulia.auth.credentials import SUBPROTOCOL
from tertulia.engine.live.session import Pace

QUICK = Pace(idle_s=0.3, alone_s=0.05)


def token_of(client: httpx2.Client) -> str:
    return client.headers["Authorization"].removeprefix("Bearer ")


Connect = Callable[..., AbstractContextManager[Live]]


@pytest.fixture
def connected(stage: Stage) -> Connect:
    """Connects, as a new user unless another one's client is given."""

    @contextmanager
    def connect_as(client: httpx2.Client | None = None, query: str = "response_format=text") -> Generator[Live]:
        with live(stage.server, token_of(client or stage.user()), query) as opened:
            yield opened

    return connect_as


# --- Connecting ------------------------------------------------------------------------------------------------------


def test_a_browser_hears_which_subprotocol_was_chosen(stage: Stage):
    token = token_of(stage.user())
    with live(stage.server, token) as opened:
        assert opened.connection.subprotocol == f"{SUBPROTOCOL}{token}"


@pytest.mark.parametrize("header", ["Authorization", "Sec-WebSocket-Protocol"])
def test_a_token_may_come_in_a_header(stage: Stage, header: str):
    token = token_of(stage.user())
    value = f"Bearer {token}" if header == "Authorization" else f"{SUBPROTOCOL}{token}"
    with connect(address(stage.server), additional_headers={header: value}, proxy=None) as connection:
        connection.send('{"type": "client.extend-timeout"}')


def status_of(url: str, **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused, connect(url, proxy=None, **options):
        pass
    response = refused.value.response
    return response.status_code, json.loads(response.body or b"")


def with_token(token: str) -> dict[str, Any]:
    return {"subprotocols": [f"{SUBPROTOCOL}{token}"]}


def test_without_a_valid_token_nobody_connects(stage: Stage):
    assert status_of(address(stage.server))[0] == 401
    status, body = status_of(address(stage.server), **with_token("nonsense"))
    assert status == 401
    assert body["detail"]


def test_an_unknown_organization_comes_first(stage: Stage):
    assert status_of(address(stage.server, organization="nowhere"))[0] == 404


def test_a_wrong_query_is_told_field_by_field(stage: Stage):
    status, body = status_of(
        address(stage.server, "response_format=song&audio_format=wav"), **with_token(token_of(stage.user()))
    )
    assert status == 422
    assert {tuple(problem["loc"]) for problem in body["detail"]} == {
        ("query", "response_format"),
        ("query", "audio_format"),
    }


def test_fields_that_are_not_known_are_named_in_the_next_message(stage: Stage, connected: Connect):
    service_id = stage.service()
    with connected() as opened:
        opened.send("extend-timeout", secnods=60)
        begun = opened.start(service_id, srevice="x", tags={"any": "tag"})
        opened.send("new-text-message", text="Hello", message_type="user-message")
        answered = opened.until("interaction-complete")
    assert begun[0]["type"] == "server.conversation-created"
    assert begun[0]["warnings"] == [
        f"{name}: this field is not known and was ignored." for name in ("secnods", "srevice")
    ]
    assert not [message for message in begun[1:] + answered if "warnings" in message]


def test_who_connects_too_often_has_to_wait(serve: Serve):
    server = serve(rate_limits="contract")
    token = server.sign_in(server.demo.user_id)
    for _ in range(realtime.SESSIONS_A_MINUTE):
        with live(server, token):
            pass
    assert status_of(address(server), **with_token(token))[0] == 429


def test_a_user_has_only_so_many_sessions_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    server = serve(rate_limits="contract")
    monkeypatch.setattr(realtime, "SESSIONS_AT_ONCE", 1)
    token = server.sign_in(server.demo.user_id)
    with live(server, token) as first:
        assert status_of(address(server), **with_token(token))[0] == 429
        with live(server, server.sign_in(server.demo.admin_user_id)):
            pass
        first.send("close-connection")
        first.closed()
    with live(server, token):
        pass


def test_both_slash_forms_are_there(stage: Stage):
    url = address(stage.server).replace("?", "/?")
    with connect(url, additional_headers={"Authorization": f"Bearer {token_of(stage.user())}"}, proxy=None):
        pass


# --- Talking ---------------------------------------------------------------------------------------------------------


def test_the_agent_begins_and_answers(stage: Stage, connected: Connect):
    user = stage.user()
    with connected(user) as opened:
        first = opened.start(stage.service())
        assert types(first)[0] == "conversation-created"
        assert types(first)[-4:] == ["new-message", "new-message", "new-message", "interaction-complete"][-4:]
        opened.say("Good morning")
        answer = opened.until("interaction-complete")
    assert answer[0]["type"] == "server.user-message-available"
    assert answer[0]["user_message"] == "Good morning"
    pieces = [message for message in answer if message["type"] == "server.new-message"]
    assert "".join(piece["message"] for piece in pieces) == answer[-1]["full_message"] == "Hello there."
    assert [piece["stop"] for piece in pieces] == [False, False, False, True]
    said = [message["message"] for message in talk.messages(user, first[0]["conversation_id"])]
    assert said == ["Hello there.", "Good morning", "Hello there."]


def test_a_message_of_http_has_the_same_fields(stage: Stage, connected: Connect):
    service_id = stage.service()
    over_http = talk.begin(stage.user(), service_id)
    with connected() as opened:
        over_socket = opened.start(service_id)
    assert [{**event, "type": f"server.{event['type']}"}.keys() for event in over_http] == [
        message.keys() for message in over_socket
    ]
    assert [event["type"] for event in over_http] == types(over_socket)


def test_the_user_may_begin(stage: Stage, connected: Connect):
    user = stage.user()
    with connected(user) as opened:
        messages = opened.start(
            stage.service(),
            initial_message="I begin",
            initial_message_type="user-message",
            service_version_set_name="release",
            tags={"kind": "test"},
        )
    [found] = talk.conversations(user)
    assert found["tags"] == {"kind": "test"}
    said = [message["message"] for message in talk.messages(user, messages[0]["conversation_id"])]
    assert said == ["I begin", "Hello there."]


def test_actions_are_told_as_the_query_wants(stage: Stage, connected: Connect):
    admin = stage.user("DefaultAdministratorRole")
    with connected(admin, "response_format=text&current_agent_action_type=selected$") as opened:
        messages = opened.start(stage.service())
    actions = [message["action"]["type"] for message in messages if message["type"] == "server.current-agent-action"]
    assert actions == ["navigate-state-machine-action-state-action-selected"]


def test_messages_wait_for_the_turn_before_them(stage: Stage, connected: Connect):
    puppet = stage.play(Puppet())
    with connected() as opened:
        opened.start(stage.service())
        puppet.hold()
        for text in ("one", "two"):
            opened.say(text)
        puppet.release(100)
        first, second = opened.until("interaction-complete"), opened.until("interaction-complete")
    assert [messages[0]["user_message"] for messages in (first, second)] == ["one", "two"]


def test_only_so_many_messages_wait(stage: Stage, connected: Connect):
    puppet = stage.play(Puppet())
    with connected() as opened:
        opened.start(stage.service())
        puppet.hold()
        puppet.asked.clear()
        opened.say("answered now")
        assert puppet.asked.wait(10)
        for number in range(9):
            opened.say(f"message {number}")
        messages = opened.until("error")
        assert messages[-1]["http_error_code"] == 429
        puppet.release(1000)
        for _ in range(9):
            opened.until("interaction-complete")


def test_a_conversation_goes_on_where_it_was_left(stage: Stage, connected: Connect):
    user = stage.user()
    conversation_id = talk.id_of(talk.begin(user, stage.service()))
    with connected(user) as opened:
        opened.send("continue-conversation", conversation_id=conversation_id)
        assert opened.receive() == {"type": "server.conversation-created", "conversation_id": conversation_id}
        opened.say("Here again")
        opened.until("interaction-complete")
    assert len(talk.messages(user, conversation_id)) == 3


def test_a_turn_that_fails_is_told_and_the_session_goes_on(stage: Stage, connected: Connect):
    with connected() as opened:
        opened.start(stage.service())
        stage.play(Puppet(fails=RuntimeError("boom")))
        opened.say("fail")
        assert opened.until("error")[-1]["http_error_code"] == 500
        stage.play(Puppet())
        opened.say("work")
        assert opened.until("interaction-complete")[0]["user_message"] == "work"


def test_a_conversation_that_could_not_begin_may_be_begun_again(stage: Stage, connected: Connect):
    with connected() as opened:
        opened.send("start-conversation", service_id="0" * 24)
        assert opened.refused()[0] == 404
        opened.say("too early")
        assert opened.refused()[0] == 400
        opened.start(stage.service())


def test_an_unfinished_conversation_is_in_the_way(stage: Stage, connected: Connect):
    user, service_id = stage.user(), stage.service()
    talk.begin(user, service_id)
    with connected(user) as opened:
        opened.send("start-conversation", service_id=service_id)
        assert opened.refused()[0] == 400


def test_permissions_are_asked_as_over_http(stage: Stage, connected: Connect):
    conversation_id = talk.id_of(talk.begin(stage.user(), stage.service()))
    with connected(stage.user()) as opened:
        opened.send("continue-conversation", conversation_id=conversation_id)
        assert opened.refused()[0] == 403
        opened.send("continue-conversation", conversation_id="0" * 24)
        assert opened.refused()[0] == 404


def test_of_two_sessions_on_a_conversation_one_talks_at_a_time(stage: Stage, connected: Connect):
    puppet, user = stage.play(Puppet()), stage.user()
    with connected(user) as one, connected(user) as other:
        [created, *_] = one.start(stage.service())
        other.send("continue-conversation", conversation_id=created["conversation_id"])
        other.until("conversation-created")
        puppet.hold()
        one.say("first")
        one.until("user-message-available")
        other.say("second")
        assert other.refused()[0] == 409
        puppet.release(100)
        one.until("interaction-complete")
        other.say("second, again")
        other.until("interaction-complete")


# --- External events -------------------------------------------------------------------------------------------------


def test_external_events_come_before_the_next_message(stage: Stage, connected: Connect):
    user = stage.user()
    with connected(user) as opened:
        [created, *_] = opened.start(stage.service())
        opened.happen("It rains")
        opened.happen("It pours")
        opened.say("What is it?")
        opened.until("interaction-complete")
    said = [
        (message["message_type"], message["message"]) for message in talk.messages(user, created["conversation_id"])
    ]
    assert said[1:4] == [
        ("external-event", "It rains"),
        ("external-event", "It pours"),
        ("user-message", "What is it?"),
    ]


def test_what_happens_during_a_turn_belongs_to_the_next(stage: Stage, connected: Connect):
    user, puppet = stage.user(), stage.play(Puppet())
    with connected(user) as opened:
        [created, *_] = opened.start(stage.service())
        puppet.hold()
        opened.say("one")
        opened.until("user-message-available")
        opened.happen("It rains")
        opened.send("switch-vad-mode", vad_mode_on=False)
        opened.until("vad-mode-switched")  # what was sent before has been taken
        puppet.release(100)
        opened.until("interaction-complete")
        opened.say("two")
        opened.until("interaction-complete")
    said = [message["message"] for message in talk.messages(user, created["conversation_id"])]
    assert said == ["Hello there.", "one", "Hello there.", "It rains", "two", "Hello there."]


def test_an_event_alone_is_answered_when_nothing_else_comes(
    stage: Stage, connected: Connect, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(realtime, "PACE", Pace(alone_s=0.01))
    user = stage.user()
    with connected(user) as opened:
        [created, *_] = opened.start(stage.service())
        opened.happen("It rains")
        assert opened.until("interaction-complete")[0]["user_message"] == "It rains"
    kinds = [message["message_type"] for message in talk.messages(user, created["conversation_id"])]
    assert kinds == ["agent-message", "external-event", "agent-message"]


# --- Ending ----------------------------------------------------------------------------------------------------------


def test_finishing_ends_conversation_and_session(stage: Stage, connected: Connect):
    user = stage.user()
    with connected(user) as opened:
        opened.start(stage.service())
        opened.send("finish-conversation")
        assert opened.closed() == (1000, "the conversation is finished")
    assert [found["is_finished"] for found in talk.conversations(user)] == [True]


def test_closing_leaves_the_conversation_open(stage: Stage, connected: Connect):
    user = stage.user()
    with connected(user) as opened:
        opened.start(stage.service())
        opened.send("close-connection")
        assert opened.closed()[0] == 1000
    assert [found["is_finished"] for found in talk.conversations(user)] == [False]


def test_a_conversation_that_ends_itself_ends_the_session(stage: Stage, connected: Connect):
    service_id = stage.service(graph(action("start", "end"), action("end"), new_user_initial_state="end"))
    with connected() as opened:
        assert opened.start(service_id)[-1]["conversation_completed"] is True
        assert opened.closed()[0] == 1000


@pytest.mark.parametrize("kind", ["say", "finish"])
def test_a_user_who_is_deleted_is_shown_out(stage: Stage, connected: Connect, kind: str):
    user = stage.user()
    with connected(user) as opened:
        opened.start(stage.service())
        assert stage.root.delete(f"/user/{user.user_id}").status_code == 204
        with suppress(ConnectionClosed):  # the session may have been ended by then
            if kind == "say":
                opened.say("Hello?")
            else:
                opened.send("finish-conversation")
        assert opened.closed_in_the_end() == 1008


def test_a_session_ends_with_its_user_also_where_nothing_is_said(stage: Stage, connected: Connect):
    user = stage.user()
    with connected(user) as opened:
        assert stage.root.delete(f"/user/{user.user_id}").status_code == 204
        assert opened.closed() == (1008, "the user is not there any more")


def test_a_session_ends_with_the_role_of_its_user(stage: Stage, connected: Connect):
    user = stage.user("DefaultAdministratorRole")
    with connected(user) as opened:
        opened.start(stage.service())
        demote(stage.server, user.user_id)
        assert opened.closed() == (1008, "the user has another role")


def test_a_session_ends_with_the_key_that_its_token_was_got_with(stage: Stage):
    server = stage.server
    keys, user_id = make_key(server.as_super), server.demo.user_id
    headers = {"x-api-key": keys["api_key"], "x-api-key-id": keys["api_key_id"], "x-user-id": user_id}
    token = server.anonymous.post("/user/signin_with_api_key", headers=headers).json()["id_token"]
    with live(server, token) as opened, live(server, server.sign_in(user_id)) as other:
        server.as_super.delete(f"/organization/api_key/{keys['api_key_id']}/").raise_for_status()
        assert opened.closed() == (1008, "the API key is not there any more")
        other.start(server.demo.service_id)


def test_a_session_ends_when_the_key_that_its_token_was_got_with_has_another_role(stage: Stage):
    server, user_id = stage.server, stage.server.demo.user_id
    query = {"name": roles.USER, "return_permission_grants": True}
    plain = server.as_super.get("/role/", params=query).json()["roles"][0]["permission_grants"]
    name = make_role(server.as_super, *plain, {"permission_name": "Tool:InvokeTool", "conditions": {}})
    keys = make_key(server.as_super, role_name=name)
    headers = {"x-api-key": keys["api_key"], "x-api-key-id": keys["api_key_id"], "x-user-id": user_id}
    token = server.anonymous.post("/user/signin_with_api_key", headers=headers).json()["id_token"]
    with live(server, token) as opened:
        server.as_super.post(f"/role/{name}", json={"permission_grants": plain}).raise_for_status()
        assert opened.closed() == (1008, "the API key has another role")


def test_a_session_ends_with_its_token(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tokens, "LIFETIME", timedelta(seconds=2))
    token = stage.server.sign_in(stage.server.demo.user_id)
    with live(stage.server, token) as opened:
        assert opened.closed() == (1008, "the token has expired")


def test_a_session_in_which_nothing_happens_ends(stage: Stage, connected: Connect, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(realtime, "PACE", QUICK)
    with connected() as opened:
        assert opened.closed()[0] == 4408


def test_a_server_that_stops_says_so(serve: Serve):
    server = serve()
    with live(server, server.sign_in(server.demo.user_id)) as opened:
        opened.start(server.demo.service_id)
        server.stop()
        assert opened.closed()[0] == 1012


def test_a_turn_outlives_the_session(stage: Stage, connected: Connect):
    user, puppet = stage.user(), stage.play(Puppet())
    with connected(user) as opened:
        [created, *_] = opened.start(stage.service())
        puppet.hold()
        opened.say("I am off")
        opened.until("user-message-available")
    puppet.release(100)
    conversation_id = created["conversation_id"]
    patiently(lambda: len(talk.messages(user, conversation_id)) == 3)
    assert [message["message"] for message in talk.messages(user, conversation_id)][1:] == ["I am off", "Hello there."]


# --- What is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("{", 400),
        ("[]", 422),
        ("{}", 422),
        ('{"type": "client.unheard-of"}', 422),
        ('{"type": "client.new-text-message"}', 422),
        ('{"type": "client.new-text-message", "text": "a", "message_type": "song"}', 422),
        ('{"type": "client.new-text-message", "text": "a\\u0000"}', 422),
        ('{"type": "client.new-text-message", "text": " "}', 400),
        ('{"type": "client.new-audio-message", "audio": "no base64!"}', 422),
        ('{"type": "client.new-audio-message", "audio": "AAAA", "audio_config": {"type": "midi"}}', 422),
        ('{"type": "client.start-conversation", "service_id": "000000000000000000000000"}', 409),
        ('{"type": "client.start-conversation", "service_id": "short"}', 422),
    ],
)
def test_a_wrong_message_is_refused_and_the_session_goes_on(
    stage: Stage, connected: Connect, message: str, status: int
):
    with connected() as opened:
        opened.start(stage.service())
        opened.connection.send(message)
        code, text = opened.refused()
        assert (code, bool(text)) == (status, True)
        opened.say("Still there?")
        opened.until("interaction-complete")


def test_a_wrong_field_is_named(connected: Connect):
    with connected() as opened:
        opened.send("start-conversation", service_id="0" * 24, initial_message=" ", tags={"a": ""})
        code, text = opened.refused()
    assert code == 422
    assert "initial_message" in text
    assert "tags" in text


def test_binary_messages_are_not_understood(connected: Connect):
    with connected() as opened:
        opened.connection.send(b"{}")
        assert opened.closed()[0] == 1003


def test_a_message_that_is_too_long_ends_the_session(connected: Connect):
    with connected() as opened:
        opened.connection.send(json.dumps({"type": "client.new-text-message", "text": "a" * realtime.MESSAGE_BYTES}))
        assert opened.closed()[0] == 1009


def test_an_event_that_waits_while_the_conversation_goes_on_elsewhere_is_told_with_the_next_message(
    stage: Stage, connected: Connect
) -> None:
    user = stage.user()
    conversation = talk.id_of(talk.begin(user, stage.service()))
    with connected(user) as session:
        session.send("continue-conversation", conversation_id=conversation)
        session.until("conversation-created")
        session.happen("The parcel has arrived.")
        talk.go_on(user, conversation, "Hello from another tab")
        session.say("Where is my parcel?")
        session.until("interaction-complete")

    told = [message["message"] for message in talk.messages(user, conversation, sort_by="+created_at")]
    assert told.index("Hello from another tab") < told.index("The parcel has arrived.")
    assert told.index("The parcel has arrived.") == told.index("Where is my parcel?") - 1


def test_a_message_is_as_long_as_over_http_and_no_longer(stage: Stage, connected: Connect) -> None:
    user = stage.user()
    conversation = talk.id_of(talk.begin(user, stage.service()))
    with connected(user) as session:
        session.send("continue-conversation", conversation_id=conversation)
        session.until("conversation-created")
        session.say("x" * 100_001)
        refused = session.receive()
        session.say("x" * 100_000)
        session.until("interaction-complete")

    assert (refused["type"], refused["http_error_code"]) == ("server.error", 400)
    assert "100000" in refused["error_description"]
