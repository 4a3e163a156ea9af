"""The adapter for OpenAI-compatible servers, against one on loopback that behaves well and badly."""

import gzip
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.chat_server import (
    HEAD,
    Answer,
    ChatServer,
    breaks_off,
    chat_server,
    completes,
    event,
    floods,
    hangs,
    replies,
    sends,
)
from tertulia.errors import ModelError, ModelMisbehaved, ModelRefused, ModelTimeout, ModelUnavailable
from tertulia.providers.base import Prompt, Turn
from tertulia.providers.models.openai_compatible import OpenAICompatibleModel, open_client

KEY = "sk-a-very-secret-key"
PROMPT = Prompt("EngageUser", "Be brief.", [Turn("user", "Hello")], {"temperature": 0.5, "max_tokens": 9, "stream": 7})
SCHEMA = {
    "type": "object",
    "properties": {"choice": {"type": "string", "enum": ["action-1", "exit-1"]}},
    "required": ["choice"],
}


@asynccontextmanager
async def served(*answers: Answer, stall_s: float = 5) -> AsyncGenerator[tuple[OpenAICompatibleModel, ChatServer]]:
    async with chat_server(*answers) as server, open_client(server.url, KEY, stall_s) as client:
        yield OpenAICompatibleModel(client, "tiny", stall_s, KEY), server


async def reply(model: OpenAICompatibleModel) -> list[str]:
    return [piece async for piece in model.stream(PROMPT)]


async def test_a_reply_arrives_in_the_pieces_that_the_server_sent():
    async with served(replies("", "Good ", "day", "!")) as (model, server):
        assert await reply(model) == ["Good ", "day", "!"]
    assert server.requests == [
        {
            "temperature": 0.5,
            "max_tokens": 9,
            "model": "tiny",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
            "stream": True,
        }
    ]
    assert f"authorization: bearer {KEY}".encode() in server.headers[0].lower()


async def test_a_connection_is_used_again():
    async with served(replies("Hi")) as (model, server):
        await reply(model)
        await reply(model)
    assert server.connections == 1


async def test_no_cookie_is_kept_for_ever():
    answer = replies("Hi", head=HEAD + b"Set-Cookie: session=1; Max-Age=1\r\n")
    async with chat_server(answer) as server, open_client(server.url, KEY, 5) as client:
        for name in ("tiny", "tinier"):
            await reply(OpenAICompatibleModel(client, name, 5, KEY))
    assert [b"cookie" in head.lower() for head in server.headers] == [False, False]


async def test_a_reply_without_a_last_line_is_whole_when_it_gives_a_reason_to_finish():
    async with served(replies("Hi", done=event(None, "stop"))) as (model, _):
        assert await reply(model) == ["Hi"]


@settings(max_examples=15, deadline=None)
@given(
    pieces=st.lists(st.text(min_size=1, max_size=8), max_size=6).map(lambda more: [*more, "."]),
    each=st.integers(1, 40),
)
async def test_text_survives_any_cut_of_the_stream(pieces: list[str], each: int):
    async with served(replies(*pieces, each=each)) as (model, _):
        assert "".join(await reply(model)) == "".join(pieces)


async def test_carriage_returns_comments_and_other_fields_are_passed_over():
    stream = b": hello\r\nevent: message\r\nid: 7\r\n" + event("Hi").replace(b"\n", b"\r\n") + b"data:[DONE]\r\n\r\n"
    async with served(replies(done=stream)) as (model, _):
        assert await reply(model) == ["Hi"]


async def test_a_compressed_stream_is_read():
    packed = gzip.compress(event("Grüße") + b"data: [DONE]\n\n")
    async with served(sends(packed, headers=b"Content-Encoding: gzip\r\n")) as (model, _):
        assert await reply(model) == ["Grüße"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(sends(b"{}", "400 Bad Request"), ModelRefused, id="bad request"),
        pytest.param(sends(b"{}", "401 Unauthorized"), ModelRefused, id="wrong key"),
        pytest.param(sends(b"{}", "403 Forbidden"), ModelRefused, id="forbidden"),
        pytest.param(sends(b"{}", "404 Not Found"), ModelRefused, id="unknown model"),
        pytest.param(sends(b"", "302 Found", b"Location: /elsewhere\r\n"), ModelRefused, id="moved"),
        pytest.param(sends(b"{}", "429 Too Many Requests"), ModelUnavailable, id="too many requests"),
        pytest.param(sends(b"{}", "503 Service Unavailable"), ModelUnavailable, id="unavailable"),
        pytest.param(sends(b"{}", "504 Gateway Timeout"), ModelTimeout, id="gateway timeout"),
        pytest.param(breaks_off(), ModelUnavailable, id="cut before a piece"),
        pytest.param(breaks_off("Hi"), ModelUnavailable, id="cut after a piece"),
        pytest.param(replies("Hi", done=b""), ModelUnavailable, id="no end"),
        pytest.param(replies(" ", "\n"), ModelMisbehaved, id="white space alone"),
        pytest.param(replies(), ModelMisbehaved, id="empty"),
        pytest.param(replies(done=event(None, "stop")), ModelMisbehaved, id="finished, but empty"),
        pytest.param(replies(done=b"data: garbage\n\n"), ModelMisbehaved, id="not JSON"),
        pytest.param(
            replies(done=b'data: {"choices": [{"delta": {"content": 7}}]}\n\n'), ModelMisbehaved, id="wrong type"
        ),
        pytest.param(replies(done=b"data: " + b"[" * 100_000 + b"\n\n"), ModelMisbehaved, id="nested too deeply"),
        pytest.param(
            replies(done=b'data: {"error": {"message": "no"}}\n\n'), ModelUnavailable, id="error in the stream"
        ),
        pytest.param(
            sends(b"<html>", headers=b"Content-Encoding: gzip\r\n"), ModelUnavailable, id="broken compression"
        ),
        pytest.param(floods(b"x" * 65536), ModelMisbehaved, id="endless line"),
        pytest.param(floods(event("x" * 65536)), ModelMisbehaved, id="endless reply"),
        pytest.param(floods(b":" + b"x" * 65536 + b"\n"), ModelMisbehaved, id="endless comments"),
        pytest.param(
            sends(gzip.compress(b"x" * (80 << 20)), headers=b"Content-Encoding: gzip\r\n"),
            ModelMisbehaved,
            id="gzip bomb",
        ),
    ],
)
async def test_a_bad_answer_becomes_an_error_of_its_kind(answer: Answer, error: type[ModelError]):
    async with served(answer) as (model, _):
        with pytest.raises(ModelError) as caught:
            await reply(model)
    assert type(caught.value).__mro__.index(error) <= 1


@pytest.mark.parametrize("sign_of_life", [b"", b": still here\n\n", b"x"], ids=["silence", "comments", "a trickle"])
async def test_a_server_that_sends_no_piece_in_time_has_stalled(sign_of_life: bytes):
    async with served(hangs("Hi", sign_of_life=sign_of_life), stall_s=1) as (model, _):
        pieces = model.stream(PROMPT)
        assert await anext(pieces) == "Hi"
        with pytest.raises(ModelTimeout):
            await anext(pieces)


async def test_nobody_at_the_address_is_unavailable():
    async with chat_server() as server:
        pass
    async with open_client(server.url, "", 1) as client:
        with pytest.raises(ModelUnavailable):
            await reply(OpenAICompatibleModel(client, "tiny", 1))


async def test_the_key_is_cut_out_of_the_reason():
    async with served(sends(f"bad key: {KEY}".encode(), "401 Unauthorized")) as (model, _):
        with pytest.raises(ModelRefused) as caught:
            await reply(model)
    assert caught.value.reason == "status 401: bad key: ***"
    assert KEY not in repr(caught.value) + caught.value.detail


async def test_parameters_that_are_not_text_are_refused():
    async with served(replies("Hi")) as (model, _):
        with pytest.raises(ModelRefused):
            await anext(model.stream(Prompt("EngageUser", "", [], {"stop": "\ud800"})))


async def test_a_consumer_that_stops_closes_the_connection():
    async with served(hangs("Hi", sign_of_life=b": still here\n\n")) as (model, server):
        async with aclosing(model.stream(PROMPT)) as pieces:
            assert await anext(pieces) == "Hi"
            assert not server.closed.is_set()
        await server.closed.wait()


async def test_a_choice_is_asked_for_with_its_schema():
    async with served(completes('{"choice": "exit-1"}')) as (model, server):
        assert await model.choose(PROMPT, SCHEMA) == {"choice": "exit-1"}
    assert server.requests[0]["response_format"]["json_schema"] == {
        "name": "answer",
        "strict": True,
        "schema": {**SCHEMA, "additionalProperties": False},
    }
    assert server.requests[0]["stream"] is False


async def test_a_server_that_knows_no_schema_is_asked_in_words():
    refusal = sends(b"response_format?", "400 Bad Request")
    async with served(refusal, refusal, completes('Sure!\n```json\n{"choice": "exit-1"}\n```')) as (model, server):
        assert await model.choose(PROMPT, SCHEMA) == {"choice": "exit-1"}
        assert await model.choose(PROMPT, SCHEMA) == {"choice": "exit-1"}
    assert [request.get("response_format", {}).get("type") for request in server.requests] == [
        "json_schema",
        "json_object",
        None,
        None,
    ]
    assert "exit-1" in server.requests[3]["messages"][-1]["content"]


async def test_a_request_that_is_refused_in_every_format_is_refused():
    async with served(sends(b"no", "400 Bad Request")) as (model, _):
        with pytest.raises(ModelRefused):
            await model.choose(PROMPT, SCHEMA)


async def test_an_answer_of_another_form_is_asked_for_once_more():
    async with served(completes('{"choice": "other"}'), completes('{"choice": "exit-1"}')) as (model, _):
        assert await model.choose(PROMPT, SCHEMA) == {"choice": "exit-1"}


@pytest.mark.parametrize(
    "answer", [completes("no JSON"), completes('{"choice": "other"}'), sends(b"{}"), sends(b"garbage")]
)
async def test_an_answer_of_another_form_twice_is_misbehaviour(answer: Answer):
    async with served(answer) as (model, server):
        with pytest.raises(ModelMisbehaved):
            await model.choose(PROMPT, SCHEMA)
    assert len(server.requests) == 2


async def test_an_answer_that_does_not_end_is_cut():
    async with served(floods(b"x" * 65536)) as (model, _):
        with pytest.raises(ModelMisbehaved):
            await model.choose(PROMPT, SCHEMA)


async def test_an_answer_that_does_not_come_in_time_has_stalled():
    async with served(hangs(sign_of_life=b" "), stall_s=0.1) as (model, _):
        with pytest.raises(ModelTimeout):
            await model.choose(PROMPT, SCHEMA)
