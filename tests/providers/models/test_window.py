"""The window: a conversation stays usable however long it gets, and its oldest messages are left out first."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.chat_server import Answer, ChatServer, chat_server, in_room, replies, sends, streams
from tertulia.errors import ModelRefused, PromptTooLong
from tertulia.providers.base import Prompt, Turn
from tertulia.providers.models.openai_compatible import OpenAICompatibleModel, open_client
from tertulia.providers.models.window import MORE_AGAIN_AFTER, ContextWindow, is_too_long

ROOM, REPLY = 12_000, "word " * 300
SCHEMA = {"type": "object", "properties": {"choice": {"enum": ["exit-1"]}}, "required": ["choice"]}


@asynccontextmanager
async def served(
    decide: Callable[[dict[str, Any]], Answer],
) -> AsyncGenerator[tuple[OpenAICompatibleModel, ChatServer]]:
    async with chat_server(decide=decide) as server, open_client(server.url, "", 5) as client:
        yield OpenAICompatibleModel(client, "tiny", 5), server


def error(text: str, status: str = "400 Bad Request") -> Answer:
    return sends(json.dumps({"error": {"message": text}}).encode(), status)


WORDINGS = [
    "This model's maximum context length is 4097 tokens. However, your messages resulted in 4275 tokens. Please reduce "
    "the length of the messages.",
    "This model's maximum context length is 4096 tokens. However, you requested 4200 tokens (4100 in the messages, 100 "
    "in the completion).",
    "request (5023 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "the request exceeds the available context size. try increasing the context size or enable context shift",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Please reduce the length of the messages or completion.",
    "Input is too long for requested model.",
    "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000",
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 512 `max_new_tokens`",
    "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length "
    "of only 4096 tokens",
    "Request body too large for this model. Max size: 8000 tokens.",
    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    "context_length_exceeded",
    "Range of input length should be [1, 6000]",
    "Requested token count exceeds the model's maximum context length of 8192 tokens.",
    "The prompt is longer than the model's context window.",
    "max_tokens must be at least 1, got -100.",
    "slot context full",
    "context full",
    "failed to find free space in the KV cache, retrying with smaller batch size",
    "request_too_large",
    "Request exceeds the maximum size",
    "InputTooLong",
    "Eingabe zu lang",
    "输入过长",
]


@pytest.mark.parametrize("text", WORDINGS)
def test_a_refusal_for_length_is_known_in_many_words(text: str):
    assert is_too_long(text)


@pytest.mark.parametrize(
    "text",
    [
        "Invalid API key",
        "Unknown parameter: response_format",
        "The model does not exist",
        "temperature must be at most 2",
        "max_tokens must be at least 1, got 0",
        "Full context logging is off",
        "no",
    ],
)
def test_other_refusals_are_not_taken_for_one(text: str):
    assert not is_too_long(text)


REFUSALS = {text[:40]: error(text) for text in WORDINGS} | {
    "no words": sends(b"", "400 Bad Request"),
    "413": sends(b"<html>", "413 Payload Too Large"),
    "422": error("prompt too long", "422 Unprocessable Entity"),
    "500": error("the request exceeds the available context size", "500 Internal Server Error"),
    "in the stream": streams(b'data: {"error": {"message": "maximum context length is 4096 tokens"}}\n\n'),
    "an empty reply": streams(
        b'data: {"choices": [{"delta": {}, "finish_reason": "length"}]}\n\n', b"data: [DONE]\n\n"
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_a_conversation_never_becomes_unusable_by_its_length(refusal: Answer):
    turns = [Turn("user", "Message 0")]
    async with served(in_room(ROOM, REPLY, refusal)) as (model, server):
        for number in range(1, 25):
            prompt = Prompt("EngageUser", "Be brief.", turns)
            if refusal is not REFUSALS["an empty reply"] and refusal is not REFUSALS["in the stream"]:
                assert await model.choose(prompt, SCHEMA) == {"choice": "exit-1"}
            assert "".join([piece async for piece in model.stream(prompt)]) == REPLY
            shown = server.requests[-1]["messages"]
            assert shown[0] == {"role": "system", "content": "Be brief."}
            assert shown[1:] == [{"role": turn.role, "content": turn.content} for turn in turns[-len(shown) + 1 :]]
            assert shown[1]["role"] == "user"
            turns = [*turns, Turn("assistant", REPLY), Turn("user", f"Message {number}")]
    assert len(server.requests) < (80 if refusal is not REFUSALS["no words"] else 120)


async def test_a_window_that_was_learnt_is_kept_and_one_that_was_guessed_wrongly_is_not():
    long = [Turn("user" if number % 2 == 0 else "assistant", "x" * 1500) for number in range(21)]
    async with served(in_room(ROOM, "Yes.", error("context_length_exceeded"))) as (model, server):
        for _ in range(2):
            assert [piece async for piece in model.stream(Prompt("EngageUser", "", long))] == ["Yes."]
        refused = len(server.requests) - 2
        assert [piece async for piece in model.stream(Prompt("EngageUser", "", long))] == ["Yes."]
        assert len(server.requests) - 3 == refused
        server.decide = lambda _request: sends(b"no", "400 Bad Request")
        with pytest.raises(ModelRefused):
            await anext(model.stream(Prompt("EngageUser", "", [*long, *long])))


def conversation(chars: int) -> Prompt:
    turns = [Turn("assistant" if number % 2 else "user", "x" * 500) for number in range(chars // 500 // 2 * 2 + 1)]
    return Prompt("EngageUser", "", turns)


def sizes(server: ChatServer) -> list[int]:
    return [sum(len(message["content"]) for message in request["messages"]) for request in server.requests]


async def say(model: OpenAICompatibleModel, prompt: Prompt) -> None:
    assert "".join([piece async for piece in model.stream(prompt)]) == "Yes."


@pytest.mark.parametrize("status", ["400 Bad Request", "422 Unprocessable Entity", "500 Internal Server Error"])
@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_refusals_without_a_reason_make_no_later_conversation_forget(status: str, failures: int):
    answers = [*[sends(b"no", status)] * failures, replies("Yes.")]
    async with chat_server(*answers) as server, open_client(server.url, "", 5) as client:
        model = OpenAICompatibleModel(client, "tiny", 5)
        await say(model, conversation(40_000))
        await say(model, conversation(80_000))
        assert sizes(server)[-1] == sizes(server)[0] + 40_000


async def test_an_inner_error_that_has_passed_costs_no_message():
    answers = sends(b"no", "500 Internal Server Error"), replies("Yes.")
    async with chat_server(*answers) as server, open_client(server.url, "", 5) as client:
        await say(OpenAICompatibleModel(client, "tiny", 5), conversation(40_000))
        assert sizes(server) == [40_500] * 2


async def test_a_guess_begins_with_what_was_accepted_before():
    async with served(in_room(ROOM, "Yes.", sends(b"", "400 Bad Request"))) as (model, server):
        await say(model, conversation(11_000))
        await say(model, conversation(80_000))
        assert sizes(server)[:2] == [11_500, 80_500]
        assert len(server.requests) == 3
        assert sizes(server)[-1] > 8_000


async def test_a_conversation_of_any_length_is_answered_by_a_server_that_gives_no_reason():
    async with served(in_room(ROOM, "Yes.", sends(b"", "400 Bad Request"))) as (model, _):
        await say(model, conversation(360_000))


async def test_denser_text_than_was_accepted_before_is_shortened_too():
    """As servers count tokens, and one prompt has more of them than another one of the same size."""

    def decide(request: dict[str, Any]) -> Answer:
        tokens = sum(
            len(message["content"]) // (1 if "1" in message["content"] else 3) for message in request["messages"]
        )
        return sends(b"", "400 Bad Request") if tokens > 4_000 else replies("Yes.")

    async with served(decide) as (model, _):
        await say(model, conversation(11_500))
        numbers = [replace(turn, content="1" * 500) for turn in conversation(11_000).turns]
        await say(model, Prompt("EngageUser", "", numbers))


async def test_a_server_that_takes_more_by_now_is_sent_more_in_time():
    prompt = conversation(40_000)
    async with served(in_room(ROOM, "Yes.", error("context_length_exceeded"))) as (model, server):
        await say(model, prompt)
        server.decide = lambda _request: replies("Yes.")
        for _ in range(MORE_AGAIN_AFTER):
            await say(model, prompt)
            assert sizes(server)[-1] <= ROOM
        for _ in range(2):
            await say(model, prompt)
            assert sizes(server)[-1] == 40_500


async def test_a_server_that_takes_no_more_by_now_costs_one_refusal_in_time():
    prompt = conversation(40_000)
    async with served(in_room(ROOM, "Yes.", error("context_length_exceeded"))) as (model, server):
        await say(model, prompt)
        learnt = len(server.requests)
        for _ in range(2 * MORE_AGAIN_AFTER + 2):
            await say(model, prompt)
        assert len(server.requests) - learnt == 2 * MORE_AGAIN_AFTER + 4
        assert sum(size > ROOM for size in sizes(server)[learnt:]) == 2


async def test_one_message_that_is_too_long_alone_is_refused():
    async with served(in_room(ROOM, "Yes.", error("context_length_exceeded"))) as (model, _):
        with pytest.raises(PromptTooLong):
            await anext(model.stream(Prompt("EngageUser", "", [Turn("user", "x" * 20_000)])))
        assert [piece async for piece in model.stream(Prompt("EngageUser", "", [Turn("user", "Hi")]))] == ["Yes."]


@given(
    sizes=st.lists(st.integers(1, 4_000), min_size=1, max_size=40),
    tokens=st.integers(200, 4_000),
)
def test_a_setting_bounds_what_is_sent(sizes: list[int], tokens: int):
    turns = [Turn("assistant" if number % 2 else "user", "é" * size) for number, size in enumerate(sizes)]
    turns = turns if turns[-1].role == "user" else [*turns, Turn("user", "Hi")]
    sent = ContextWindow(tokens).fit(Prompt("Any", "", turns)).prompt.turns
    assert list(sent) == turns[len(turns) - len(sent) :]
    assert sent[0].role == "user"
    assert len(sent) == 1 or sum(len(turn.content.encode()) for turn in sent) <= tokens * 3


def test_the_beginning_of_a_prompt_stays_the_same_for_several_turns():
    window, turns, firsts = ContextWindow(4_000), [Turn("user", "Message 0")], list[str]()
    for number in range(1, 40):
        firsts.append(window.fit(Prompt("Any", "", turns)).prompt.turns[0].content)
        turns = [*turns, Turn("assistant", "x" * 500), Turn("user", f"Message {number}")]
    assert len(set(firsts)) <= 12
