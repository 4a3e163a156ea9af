"""Conversations with a model behind a server: only the reply that it sends is kept and shown to it again."""

import secrets
from collections.abc import Iterator

import httpx2
import pytest

from providers.chat_server import (
    DONE,
    Answer,
    ChatServer,
    chat_server_beside,
    event,
    in_room,
    replies,
    sends,
    streams,
)
from support.samples import action, graph, make_service
from support.server import Serve, Server
from support.talk import begin, create, go_on, id_of, lines, messages, types

ONE_WAY = graph(action("start", "end", exit_conditions=[]), action("end"))
REPLY = "word " * 300


@pytest.fixture(scope="module")
def chat() -> Iterator[ChatServer]:
    with chat_server_beside() as chat:
        yield chat


@pytest.fixture(scope="module")
def server(serve: Serve, chat: ChatServer) -> Server:
    """A server of one model, behind the chat server."""
    return serve(model=("openai:tiny",), openai={"base_url": chat.url, "api_key": ""}, rate_limits="off")


@pytest.fixture
def user(server: Server) -> httpx2.Client:
    """A user whose conversation is left open: what follows a finished one would ask the chat server too."""
    person = {
        "first_name": "Test",
        "last_name": "Person",
        "email": f"{secrets.token_hex(6)}@example.com",
        "role_name": "DefaultUserRole",
    }
    made = server.as_admin.post("/user/", json=person)
    assert made.status_code == 201, made.text
    return server.client_of(made.json()["user_id"])


@pytest.fixture
def service_id(server: Server) -> str:
    return make_service(server.as_admin, ONE_WAY)


def answers(chat: ChatServer, *given: Answer) -> None:
    chat.decide, chat.answers[:] = None, given


@pytest.mark.parametrize(
    "pieces",
    [
        ("<think>I should greet.</think>\n\nHello.",),
        ("<thi", "nk>I should ", "greet.</thin", "k>Hello."),
        ("[THINK]I should greet.[/THINK]", "Hello."),
        ("I should greet.", "\n</think>\n", "Hello."),
        ("I should greet.</think>Hello.",),
    ],
)
def test_thoughts_are_neither_committed_nor_in_the_next_prompt(
    user: httpx2.Client, chat: ChatServer, service_id: str, pieces: tuple[str, ...]
) -> None:
    answers(chat, replies(*pieces))
    events = begin(user, service_id)
    assert events[-1]["full_message"] == "Hello."
    conversation_id = id_of(events)
    answers(chat, replies("Fine."))
    go_on(user, conversation_id, "How are you?")
    assert [message["message"] for message in messages(user, conversation_id)] == ["Hello.", "How are you?", "Fine."]
    assert "I should greet" not in str(chat.requests[-1]["messages"])


def test_a_reply_that_its_provider_broke_off_leaves_nothing(
    user: httpx2.Client, chat: ChatServer, service_id: str
) -> None:
    answers(chat, replies("Hello."))
    conversation_id = id_of(begin(user, service_id))
    answers(chat, replies("Half a", done=b'data: {"choices":[{"delta":{},"finish_reason":"network_error"}]}\n\n'))
    assert types(go_on(user, conversation_id, "How are you?"))[-1] == "error"
    assert [message["message"] for message in messages(user, conversation_id)] == ["Hello."]


@pytest.mark.parametrize(
    ("reason", "told"), [("length", "length"), ("SAFETY", "content_filter"), ("content_filter", "content_filter")]
)
def test_a_reply_that_was_cut_short_is_kept_and_its_insights_say_so(
    server: Server, user: httpx2.Client, chat: ChatServer, service_id: str, reason: str, told: str
) -> None:
    answers(chat, streams(event("Half a sentence"), event("", reason), DONE))
    events = begin(user, service_id)
    assert events[-1]["full_message"] == "Half a sentence"
    answers(chat, replies("A whole one."))
    again = go_on(user, id_of(events), "Go on.")
    seen = [
        server.as_admin.get(f"/conversation/{id_of(events)}/interaction/{turn[-1]['interaction_id']}/insights").json()
        for turn in (events, again)
    ]
    assert [insights["reply_cut_short"] for insights in seen] == [told, None]


def test_a_conversation_goes_on_however_long_it_gets(user: httpx2.Client, chat: ChatServer, service_id: str) -> None:
    chat.decide = in_room(12_000, REPLY, sends(b'{"error": {"code": "context_length_exceeded"}}', "400 Bad Request"))
    conversation_id = id_of(begin(user, service_id))
    for number in range(20):
        assert types(go_on(user, conversation_id, f"Message {number}"))[-1] == "interaction-complete"
        assert chat.requests[-1]["messages"][-1]["content"].startswith(f"Message {number}")
        assert "Test Agent" in chat.requests[-1]["messages"][0]["content"]


def test_a_model_that_is_missing_is_named_and_no_other_one_answers(
    server: Server, user: httpx2.Client, chat: ChatServer
) -> None:
    answers(chat, replies("I am another model."))
    asked = len(chat.requests)
    version_set = {
        "agent_version_number": None,
        "service_hierarchical_state_machine_version_number": None,
        "llm_model_preferences": {"EngageUser": {"llm_name": "openai_gpt-6-luna", "params": {}}},
    }
    pinned = make_service(server.as_admin, ONE_WAY, release_version_set=version_set)
    events = lines(create(user, pinned))
    assert types(events)[-1] == "error"
    assert events[-1]["error_description"] == "The language model openai_gpt-6-luna cannot be reached from this server."
    assert len(chat.requests) == asked
