"""Streams as servers really send them: what is odd but clear is understood, and what is broken off is void."""

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from providers.chat_server import DONE, Answer, ChatServer, chat_server, data, event, hangs, replies, sends, streams
from tertulia.errors import ModelError, ModelMisbehaved, ModelTimeout, ModelUnavailable
from tertulia.providers.base import Prompt, Sign, Turn
from tertulia.providers.models.fallback import FallbackModel
from tertulia.providers.models.openai_compatible import OpenAICompatibleModel, open_client
from tertulia.providers.models.reading import Reading
from tertulia.providers.models.scripted import ScriptedModel

KEY = "sk-a-very-secret-key"
HELLO, STOP = event("Hello"), event(None, "stop")


@asynccontextmanager
async def served(*answers: Answer, stall_s: float = 5) -> AsyncGenerator[tuple[OpenAICompatibleModel, ChatServer]]:
    async with chat_server(*answers) as server, open_client(server.url, KEY, stall_s) as client:
        yield OpenAICompatibleModel(client, "tiny", stall_s, KEY), server


async def reply(model: OpenAICompatibleModel, signs: list[Sign] | None = None) -> str:
    """Read a reply. Return what is committed of it: all pieces since the last that was taken back."""
    pieces: list[str] = []

    def tell(sign: Sign) -> None:
        if signs is not None:
            signs.append(sign)
        if sign == "taken-back":
            pieces.clear()

    async for piece in model.stream(Prompt("EngageUser", "Be brief.", [Turn("user", "Hi")], tell=tell)):
        pieces.append(piece)  # noqa: PERF401 - it can be emptied meanwhile
    return "".join(pieces)


def choice(**parts: Any) -> bytes:
    return data({"choices": [{"index": 0, **parts}]})


FOREIGN = [
    b"data: null\n\n",
    b"data:\n\n",
    b"data: [null]\n\n",
    b"data: 7\n\n",
    b'event: ping\ndata: {"type": "ping"}\n\n',
    b"event: ping\ndata: still here\n\n",
    b": comment\n\n",
    b"retry: 500\nid: 7\n\n",
    data({"choices": None}),
    data({"choices": [None]}),
    data({"choices": [], "usage": {"total_tokens": 9}}),
    data({"error": "", "choices": []}),
    data({"error": {}, "choices": []}),
    data({"error": False}),
    data({"error": {"message": None, "code": 0}}),
    b"error: null\n\n",
    data({"error": "null", "choices": []}),
    data({"choices": None, "base_resp": {"status_code": 0, "status_msg": ""}}),
    data({"choices": [], "x_groq": {"id": "r"}}),
    choice(delta={"content": False}),
    choice(delta=None),
    choice(delta={}),
    choice(delta={"content": None, "reasoning_content": "hm"}),
    choice(delta={"content": ""}, finish_reason=""),
    data({"choices": [{"index": 1, "delta": {"content": "another"}, "finish_reason": "stop"}]}),
    b"data: undefined\n\n",
    b"data: [PING]\n\n",
    b"data: keep-alive\n\n",
    b"data: : OPENROUTER PROCESSING\n\n",
    data({"error": [None]}),
    data({"error": {"code": 200, "message": "OK"}, "choices": []}),
    data({"code": 200, "message": "ok"}),
    choice(delta={"tool_calls": [{"index": 0, "function": {"name": None}}]}),
    choice(delta={"refusal": None, "thinking": "hm"}),
    choice(
        delta={"content": [{"type": "text", "text": "hm", "thought": True}, {"type": "reasoning_text", "text": "hm"}]}
    ),
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda line: line.decode().strip()[:60])
async def test_foreign_things_in_a_stream_are_passed_over(foreign: bytes):
    async with served(streams(foreign, HELLO, foreign, event("!"), foreign, STOP, foreign, DONE)) as (model, _):
        assert await reply(model) == "Hello!"


@pytest.mark.parametrize("index", [None, 0, "0", 0.0], ids=repr)
async def test_a_choice_without_a_number_is_the_first(index: object):
    async with served(streams(data({"choices": [{"index": index, "delta": {"content": "Hello"}}]}), DONE)) as (
        model,
        _,
    ):
        assert await reply(model) == "Hello"


async def test_the_text_parts_of_a_content_count_and_the_thinking_parts_do_not():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Hel"},
        "lo",
        None,
    ]
    signs: list[Sign] = []
    async with served(streams(choice(delta={"content": parts[:1]}), choice(delta={"content": parts}), DONE)) as (
        model,
        _,
    ):
        assert await reply(model, signs) == "Hello"
    assert signs == ["alive"]


@pytest.mark.parametrize("reason", ["stop", "null", "", "eos", "tool_calls", "STOP", "end_turn"])
async def test_all_text_until_the_end_counts(reason: str):
    early = choice(delta={"content": "Hello"}, finish_reason=reason)
    async with served(streams(early, event(" there"), STOP, STOP, event("!"), DONE)) as (model, _):
        assert await reply(model) == "Hello there!"


async def test_a_stream_that_ends_after_its_reason_is_whole():
    for end in (STOP, choice(delta={}, finish_reason="length")):
        async with served(streams(HELLO, end)) as (model, _):
            assert await reply(model) == "Hello"


@pytest.mark.parametrize(
    "broken",
    [
        choice(delta={}, finish_reason="error"),
        choice(delta={}, finish_reason="network_error"),
        choice(delta={}, finish_reason="abort"),
        choice(delta={}, finish_reason="insufficient_system_resource"),
        choice(delta={}, finish_reason="OTHER"),
        choice(delta={}, finish_reason="error", error={"code": 502, "message": "upstream"}),
        data({"error": {"message": "overloaded"}}),
        data({"error": "overloaded", "choices": []}),
        data({"object": "error", "message": "overloaded", "code": 50001}),
        data({"type": "error", "message": "overloaded"}),
        b'event: error\ndata: {"message": "overloaded"}\n\n',
        b"event: error\ndata: overloaded\n\n",
        b"event: error\n\n",
        b'error: {"message": "overloaded"}\n\n',
        b'{"error": "overloaded"}\n',
        b'[{"error": {"code": 503, "message": "overloaded"}}]\n',
        data([{"error": {"code": 503, "message": "overloaded"}}]),
        data({"status": "error", "message": "overloaded"}),
        data({"success": False, "message": "overloaded"}),
        data({"code": "InternalError", "message": "overloaded"}),
        data({"detail": "overloaded"}),
        data({"errors": [{"message": "overloaded"}]}),
        data({"choices": None, "base_resp": {"status_code": 1002, "status_msg": "overloaded"}}),
        data({"choices": [{"index": 0, "delta": {}}], "x_groq": {"error": "overloaded"}}),
        choice(delta={}, finish_reason={"type": "abort", "message": "overloaded"}),
        choice(delta={}, finish_reason="function_call_filter: MALFORMED_FUNCTION_CALL"),
        choice(delta={}, finish_reason="UNEXPECTED_TOOL_CALL"),
        choice(delta={}, finish_reason="connection_lost"),
        choice(delta={}, finish_reason="interrupted"),
        choice(delta={}, finish_reason="time_limit"),
        choice(delta={}, finish_reason="rate_limit"),
        choice(delta={}, finish_reason="deadline_exceeded"),
        choice(delta={}, finish_reason="out_of_memory"),
        choice(delta={}, finish_reason="preempted"),
        choice(delta={}, finish_reason="incomplete:error"),
        choice(delta={"error": "overloaded"}),
        data({"choices": [], "finish_reason": "error"}),
        data({"Error": "overloaded"}),
        data({"error_code": 7, "error_msg": "overloaded"}),
        data({"status_code": 500, "message": "overloaded"}),
        data({"success": False}),
        data("error: out of memory"),
        b"event: response.failed\ndata: {}\n\n",
        b"event: Exception\ndata: overloaded\n\n",
    ],
    ids=lambda line: line.decode().strip()[:70],
)
@pytest.mark.parametrize("before", [HELLO, HELLO + STOP], ids=["before a reason", "after a reason"])
async def test_a_reply_that_its_provider_broke_off_is_void(before: bytes, broken: bytes):
    async with served(streams(before, broken, DONE)) as (model, _):
        with pytest.raises(ModelUnavailable):
            await reply(model)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("length", "length"),
        ("max_tokens", "length"),
        ({"type": "length", "length": 10}, "length"),
        ("model_context_window_exceeded", "length"),
        ("content_filter", "content_filter"),
        ("content_filter: PROHIBITED_CONTENT", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("refusal", "content_filter"),
        ("SAFETY", "content_filter"),
    ],
)
async def test_a_reply_that_is_cut_short_is_kept_and_is_visible(reason: object, told: str):
    def count() -> float:
        return REGISTRY.get_sample_value("tertulia_model_replies_cut_short_total", {"reason": told}) or 0

    before = count()
    async with served(streams(HELLO, choice(delta={}, finish_reason=reason), STOP, DONE)) as (model, server):
        with capture_logs() as logs:
            assert await reply(model) == "Hello"
    assert [(log["model"], log["address"], log["reason"]) for log in logs] == [("tiny", server.url, told)]
    assert count() == before + 1


async def test_halves_of_a_surrogate_pair_are_joined_and_one_alone_is_replaced():
    whole = [
        b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % half
        for half in (rb"Hi \ud83d", rb"\ude00!", rb" \ud83d")
    ]
    async with served(streams(*whole, event("?"), DONE)) as (model, _):
        assert await reply(model) == "Hi \N{GRINNING FACE}! \N{REPLACEMENT CHARACTER}?"


@pytest.mark.parametrize("content", [b"\xff", b"\xed\xa0\xbd", b"caf\xe9"])
async def test_bytes_that_are_not_text_are_an_error_and_the_next_model_is_asked(content: bytes):
    line = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % content
    whole = sends(b'{"choices":[{"message":{"content":"%s"}}]}' % content)
    async with served(streams(line, DONE), streams(line, DONE), whole) as (model, _):
        with pytest.raises(ModelMisbehaved):
            await reply(model)
        both = FallbackModel([("broken", model), ("good", ScriptedModel(3))])
        prompt = Prompt("EngageUser", "", [Turn("user", "Hi")])
        assert len([piece async for piece in both.stream(prompt)]) == 3
        assert await both.choose(prompt, {"enum": ["yes"]}) == "yes"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>I should greet.</think>\n\nHello", "Hello"),
        ("I should greet.\n</think>\n\nHello", "Hello"),
        ("[THINK]I should greet.[/THINK]Hello", "Hello"),
        ("Hello. <thinking>More?</thinking>Bye", "Hello. Bye"),
    ],
)
async def test_thoughts_in_the_text_are_no_part_of_the_reply(text: str, said: str, size: int):
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    async with served(replies(*pieces)) as (model, _):
        assert await reply(model) == said


async def test_a_model_whose_thoughts_have_no_opening_tag_is_known_after_its_first_reply():
    signs: list[Sign] = []
    async with served(replies("I should", " greet.</think>", "Hello")) as (model, _):
        assert await reply(model, signs) == "Hello"
        assert signs[:1] == ["taken-back"]
        signs.clear()
        assert await reply(model, signs) == "Hello"
        assert "taken-back" not in signs


LONG = [Turn("assistant" if number % 2 else "user", "x" * 500) for number in range(41)]
CUT = choice(delta={"content": ""}, finish_reason="length")


@pytest.mark.parametrize(
    "thought",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"reasoning": {"text": "Hm."}},
        {"content": [{"type": "thinking", "thinking": "Hm."}]},
        {"content": "<think>Hm."},
    ],
    ids=json.dumps,
)
async def test_a_model_that_spends_its_length_on_thoughts_is_asked_once(thought: dict[str, Any]):
    whole = {"choices": [{"message": {"content": "", **thought}, "finish_reason": "length"}]}
    for answer in (streams(choice(delta=thought), CUT, DONE), sends(json.dumps(whole).encode())):
        async with served(answer) as (model, server):
            with pytest.raises(ModelMisbehaved) as failure:
                await anext(model.stream(Prompt("EngageUser", "", LONG)))
            assert failure.value.reason == "an empty reply, thoughts alone, cut short"
            assert len(server.requests) == 1


@pytest.mark.parametrize("bound", ["max_tokens", "max_completion_tokens"])
async def test_a_reply_that_its_own_bound_leaves_empty_is_asked_for_once(bound: str):
    async with served(streams(CUT, DONE)) as (model, server):
        with pytest.raises(ModelMisbehaved) as failure:
            await anext(model.stream(Prompt("EngageUser", "", LONG, {bound: 50})))
        assert failure.value.reason == "an empty reply, cut short"
        assert len(server.requests) == 1


async def test_a_reply_without_room_is_asked_for_with_less_history_and_no_later_one_forgets():
    async with served(streams(CUT, DONE), streams(HELLO, STOP, DONE)) as (model, server):
        for _ in range(2):
            assert [piece async for piece in model.stream(Prompt("EngageUser", "", LONG))] == ["Hello"]
        assert [len(request["messages"]) for request in server.requests][::2] == [41, 41]
        assert len(server.requests[1]["messages"]) < 41


async def test_thoughts_alone_are_no_reply():
    for text in ("<think>I should greet.", "<think>hm</think>\n", "I should greet.</think>"):
        async with served(replies(text)) as (model, _):
            with pytest.raises(ModelMisbehaved):
                await reply(model)


@pytest.mark.parametrize(
    "thought", [{"content": "<think>hm"}, {"reasoning_content": "hm"}, {"reasoning": "hm"}], ids=str
)
async def test_a_model_that_thinks_has_not_stalled_and_one_that_stops_thinking_has(thought: dict[str, str]):
    signs: list[Sign] = []
    async with served(hangs(sign_of_life=choice(delta=thought)), stall_s=0.5) as (model, _):
        prompt = Prompt("EngageUser", "", [Turn("user", "Hi")], tell=lambda sign: enough(sign, signs))
        with pytest.raises(_EnoughError):
            await anext(model.stream(prompt))
    async with served(hangs("<think>hm"), stall_s=0.3) as (model, _):
        both = FallbackModel([("slow", model), ("good", ScriptedModel(3))])
        assert len([piece async for piece in both.stream(Prompt("EngageUser", "", [Turn("user", "Hi")]))]) == 3


class _EnoughError(ModelError):
    pass


def enough(sign: Sign, signs: list[Sign]) -> None:
    """End the test once the model has been heard thinking for longer than it may be silent."""
    signs.append(sign)
    if len(signs) == 40:
        raise _EnoughError


async def test_pings_are_no_sign_of_a_model_that_works():
    async with served(hangs(sign_of_life=b'event: ping\ndata: {"type": "ping"}\n\n'), stall_s=0.3) as (model, _):
        with pytest.raises(ModelTimeout):
            await reply(model)


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        (b"text/html", b"<html>\r\n<h1>Sign in\x1b[31m</h1>" + b"x" * 9_000, ModelMisbehaved),
        (b"application/json", b'{"detail": "Sign in"}', ModelUnavailable),
        (b"application/json", b'{"error": {"message": "Sign in"}}', ModelUnavailable),
        (b"text/plain", f"Sign in with {KEY}".encode(), ModelMisbehaved),
    ],
    ids=["html", "json", "error", "text"],
)
async def test_an_answer_that_is_no_stream_is_a_line_in_the_log(kind: bytes, body: bytes, error: type[ModelError]):
    async with served(sends(body, headers=b"Content-Type: %s\r\n" % kind)) as (model, server):
        with capture_logs() as logs, pytest.raises(error):
            await reply(model)
    log = logs[0]
    assert (log["model"], log["address"], log["status"]) == ("tiny", server.url, 200)
    assert log["content_type"] == kind.decode()
    assert "Sign in" in log["words"]
    assert log["words"].isprintable()
    assert len(log["words"]) <= 300
    assert KEY not in json.dumps(log)


async def test_a_whole_completion_in_the_place_of_a_stream_is_understood_and_logged():
    body = json.dumps(
        {"choices": [{"message": {"content": "<think>hm</think>Hello"}, "finish_reason": "stop"}]}, indent=2
    )
    async with served(sends(body.encode())) as (model, _):
        with capture_logs() as logs:
            assert await reply(model) == "Hello"
    assert len(logs) == 1


async def test_a_choice_is_found_in_a_content_of_parts():
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": '"yes"'}]
    async with served(sends(json.dumps({"choices": [{"message": {"content": content}}]}).encode())) as (model, _):
        assert await model.choose(Prompt("Any", "", [Turn("user", "Hi")]), {"enum": ["yes"]}) == "yes"


async def test_a_model_whose_thoughts_were_spoken_once_is_held_back_from_then_on():
    pieces = ("I should greet. ", "They are new.", "</think>", "Hello.")

    def refuse(sign: Sign) -> None:
        if sign == "taken-back":
            raise ModelMisbehaved("it was heard")

    spoken = Prompt("EngageUser", "Be brief.", [Turn("user", "Hi")], tell=refuse)
    async with served(replies(*pieces, each=80)) as (model, _):
        with pytest.raises(ModelMisbehaved):
            _ = [piece async for piece in model.stream(spoken)]
        assert [piece async for piece in model.stream(spoken)] == ["Hello."]


# --- Odd lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        b"\xef\xbb\xbf" + HELLO + STOP + DONE,
        b'data: {"choices":\ndata: [{"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\n' + DONE,
        b'data: {\r\ndata: "choices": [{"delta": {"content": "Hello"}}]\r\ndata: }\r\n\r\n' + DONE,
        data({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}) + DONE,
        HELLO + data({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}) + DONE,
        HELLO + STOP.rstrip(),
        data({"choices": {"index": "0", "delta": {"content": "Hello"}, "finish_reason": {"type": "stop"}}}),
        b"data: " + HELLO + b"data:" + STOP + DONE,
        (HELLO + STOP + DONE).replace(b"\n", b"\r"),
        HELLO.replace(b"\n", b"\r\n") + STOP.replace(b"\n", b"\r") + DONE,
        b"".join(b"\xef\xbb\xbf" + line for line in (HELLO, STOP, DONE)),
        (HELLO + STOP + DONE).replace(b"data: ", b" Data : "),
        HELLO.strip() + STOP[6:].strip() + b"[DONE]\n\n",
        HELLO.strip() + b", " + STOP[6:],
        HELLO.strip() + rb"\n\n" + STOP.strip() + rb"\n\n" + b"\n\n",
        b"data: [" + HELLO[6:].strip() + b", " + STOP[6:].strip() + b"]\n\n",
        HELLO[6:].strip() + b"\n" + STOP[6:].strip() + b"\n",
        b"data: " + json.dumps(json.loads(HELLO[6:]), indent=1).encode() + b"\n\n" + DONE,
        HELLO + b"data: [ done ].\n\n",
        HELLO + b"data: DONE\n\n",
        HELLO + b"[DONE]\n\n",
        HELLO + b"event: done\ndata: {}\n\n",
    ],
    ids=[
        *("byte order mark", "two lines", "three lines", "one event", "the whole again", "no last end", "one", "twice"),
        *("returns", "all ends", "marks", "odd names", "one line", "a comma", "backslashes", "an array", "no names"),
        *("no names within", "an odd end", "an end in a word", "an end without a name", "an event at the end"),
    ],
)
@pytest.mark.parametrize("each", [0, 1, 7])
async def test_events_are_read_as_their_standard_has_them(lines: bytes, each: int):
    async with served(replies(done=lines, each=each)) as (model, _):
        assert await reply(model) == "Hello"


@pytest.mark.parametrize(
    "pieces",
    [
        data({"choices": [{"text": "Hello"}]}) + data({"choices": [{"text": "", "finish_reason": "stop"}]}),
        choice(delta={"text": "Hello"}) + STOP,
        choice(delta={}, message={"content": "Hello"}) + STOP,
        choice(delta={"content": {"parts": [{"text": "Hel"}, ["lo"]]}}) + STOP,
        choice(delta={"content": [{"type": "text_delta", "text": "Hel"}, {"type": "TEXT", "content": "lo"}]}) + STOP,
        choice(delta={"content": None, "refusal": "Hel"}) + choice(delta={"refusal": "lo"}) + STOP,
        choice(delta={"content": [{"type": "refusal", "refusal": "Hello"}]}) + STOP,
        HELLO + data({"choices": [], "finish_reason": "stop"}),
        HELLO + choice(delta={"finish_reason": "stop"}),
        HELLO + choice(delta={}, finishReason="STOP"),
        HELLO + choice(delta={}, finish_reason=["stop"]),
    ],
    ids=lambda line: line.decode().strip()[:70],
)
async def test_text_and_ends_are_read_under_the_names_of_other_protocols(pieces: bytes):
    async with served(streams(pieces)) as (model, _):
        assert await reply(model) == "Hello"


WHOLE = {"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    "answer",
    [
        sends(json.dumps([WHOLE]).encode()),
        sends(json.dumps({"result": WHOLE, "success": True}).encode()),
        sends(json.dumps({"code": 200, "message": "ok", "data": WHOLE}).encode()),
        sends(json.dumps({"choices": [{"delta": {"content": "Hello"}}]}).encode()),
        sends(HELLO + STOP + DONE, "201 Created"),
    ],
    ids=["an array", "a result", "data", "a delta", "201"],
)
async def test_a_reply_is_found_in_its_wrapping(answer: Answer):
    async with served(answer) as (model, _):
        assert await reply(model) == "Hello"


async def test_data_that_no_line_completes_is_broken():
    async with served(streams(HELLO, b'data: {"choices": [\n\n', STOP, DONE)) as (model, _):
        with pytest.raises(ModelMisbehaved) as raised:
            await reply(model)
    assert "not JSON" in raised.value.reason


async def test_a_piece_of_plain_text_costs_few_calls():
    reading = Reading(60)
    reading.feed(HELLO)
    calls: list[str] = []
    sys.setprofile(lambda _frame, kind, _argument: calls.append(kind) if kind in ("call", "c_call") else None)
    try:
        for _ in range(100):
            reading.feed(event_of_a_word)
    finally:
        sys.setprofile(None)
    assert len(calls) < 100 * 30


event_of_a_word = event(" word")


ANSWER = '{"choice": "b"}'
WORSE = {"index": 1, "message": {"content": '{"choice": "a"}'}}


@pytest.mark.parametrize(
    "answer",
    [
        streams(event("<think>a or b?</think>"), event(ANSWER), STOP, DONE),
        streams(b": hello\n\n", event(ANSWER, "length")),
        sends(json.dumps({"choices": [WORSE, {"index": 0, "message": {"content": ANSWER}}]}).encode()),
    ],
    ids=["a stream", "a stream that was cut short", "another choice first"],
)
async def test_a_choice_is_found_in_what_was_not_asked_for(answer: Answer):
    schema = {"type": "object", "properties": {"choice": {"type": "string"}}, "required": ["choice"]}
    async with served(answer) as (model, _):
        assert await model.choose(Prompt("X", "Be brief.", [Turn("user", "Hi")]), schema) == {"choice": "b"}


def lines(*items: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def named(*items: dict[str, Any]) -> bytes:
    return b"".join(f"event: {item['type']}\n".encode() + data(item) for item in items)


HALF = {"role": "assistant", "content": "Half"}
OLLAMA = [{"model": "m", "message": HALF, "done": False}, {"model": "m", "message": HALF, "done": False}]
OLLAMA_ENDS = {"model": "m", "message": {"role": "assistant", "content": ""}, "done_reason": "stop", "done": True}
MESSAGES = [
    {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Half"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop"},
]
RESPONSE = {"id": "r", "status": "completed", "output": [{"content": [{"type": "output_text", "text": "Half"}]}]}
RESPONSES = [
    {"type": "response.created", "response": {"id": "r", "status": "in_progress", "error": None, "output": []}},
    {"type": "response.output_text.delta", "delta": "Half"},
    {"type": "response.completed", "response": RESPONSE},
]
CANDIDATE = {"candidates": [{"content": {"parts": [{"text": "Half"}]}, "finishReason": "STOP", "index": 0}]}
OTHER_APIS = {
    "Ollama": lines(*OLLAMA, OLLAMA_ENDS),
    "Ollama, cut off": lines(*OLLAMA),
    "Ollama, one line": lines({**OLLAMA_ENDS, "message": HALF}),
    "Ollama in events": b"".join(map(data, [*OLLAMA, OLLAMA_ENDS])),
    "Ollama's generate": lines({"response": "Half", "done": False}, {"response": "", "done": True}),
    "Messages": named(*MESSAGES),
    "Messages without names": b"".join(map(data, MESSAGES)),
    "Messages, done": named(*MESSAGES) + DONE,
    "Messages, whole": json.dumps({"content": [{"type": "text", "text": "Half"}], "stop_reason": "end_turn"}).encode(),
    "Responses": named(*RESPONSES),
    "Responses, done": named(*RESPONSES) + DONE,
    "Responses, whole": json.dumps(RESPONSE).encode(),
    "Gemini": data(CANDIDATE) * 2,
    "Gemini, an array": json.dumps([CANDIDATE] * 2).encode(),
    "llama.cpp's completion": data({"content": "Half", "stop": False}) + data({"content": "", "stop": True}),
}


@pytest.mark.parametrize("body", OTHER_APIS.values(), ids=OTHER_APIS)
async def test_the_answer_of_another_api_is_void_and_logged_and_the_next_model_is_asked(body: bytes):
    async with served(sends(body)) as (model, _):
        with capture_logs() as logs:
            models = FallbackModel([("tiny", model), ("scripted", ScriptedModel())])
            said = [piece async for piece in models.stream(Prompt("EngageUser", "", [Turn("user", "Hi")]))]
    assert "Half" not in "".join(said)
    assert said
    assert "something else than what was asked for" in logs[0]["event"]
    assert logs[0]["words"][:20] in body.decode()


@pytest.mark.parametrize("body", OTHER_APIS.values(), ids=OTHER_APIS)
async def test_a_choice_in_the_answer_of_another_api_is_none_and_is_logged(body: bytes):
    schema = {"type": "object", "properties": {"choice": {"enum": ["Half"]}}, "required": ["choice"]}
    async with served(sends(body)) as (model, _):
        with capture_logs() as logs, pytest.raises(ModelError):
            await model.choose(Prompt("X", "Be brief.", [Turn("user", "Hi")]), schema)
    assert "something else than what was asked for" in logs[0]["event"]
