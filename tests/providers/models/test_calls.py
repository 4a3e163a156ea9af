"""A model makes calls in its own form if it has shown in a trial that it does so well, and is asked for JSON else."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from providers.chat_server import Answer, ChatServer, chat_server, completes, sends
from tertulia.providers.base import Function, FunctionChoice, Prompt, Turn
from tertulia.providers.models.openai_compatible import OpenAICompatibleModel, open_client
from tertulia.providers.models.vendor import VendorModel

TOWN = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
CHOICE = FunctionChoice([Function("sky", "Tells the sky above a town.", TOWN)], "Call it if you need it.")
PROMPT = Prompt("EngageUser", "Be brief.", [Turn("user", "Is it clear in Bergen?")], question="JSON.", functions=CHOICE)
CALL = {"type": "object", "properties": {"tool": {"type": "string"}, "parameters": TOWN}}
SCHEMA = {"type": "object", "properties": {"calls": {"type": "array", "items": CALL}}, "required": ["calls"]}
BY_JSON = {"calls": [{"tool": "sky", "parameters": {"town": "by JSON"}}]}
BY_CALL = {"calls": [{"tool": "sky", "parameters": {"town": "Bergen"}}]}

Made = list[tuple[str, Any]]


def made_well(said: str) -> Made:
    """Make the calls that a good model makes."""
    made: Made = [("town_weather", {"town": town}) for town in ("Oslo, Norway", "Rome") if f"in {town[:4]}" in said]
    made += [("book_table", {"day": "Friday", "guests": 4})] * ("table" in said)
    return made + [("sky", {"town": "Bergen"})] * ("Bergen" in said)


def made_badly(said: str) -> Made:
    """Call something whatever is said, as small models do."""
    return made_well(said) or [("town_weather", {"town": "Oslo"})]


def made_of_words(said: str) -> Made:
    return [
        (name, {**given, "guests": "four"}) if name == "book_table" else (name, given)
        for name, given in made_well(said)
    ]


def completed(made: Made, arguments: Callable[[Any], Any] = json.dumps) -> Answer:
    calls = [{"type": "function", "function": {"name": name, "arguments": arguments(given)}} for name, given in made]
    return sends(json.dumps({"choices": [{"message": {"content": None, "tool_calls": calls}}]}).encode())


def by(make: Callable[[str], Made], arguments: Callable[[Any], Any] = json.dumps) -> Callable[[Any], Answer]:
    """Answer as a server whose model makes calls."""
    return lambda request: completed(make(request["messages"][-1]["content"]), arguments)


def given_in_words(_request: Any) -> Answer:
    return completes("I would call town_weather.")


def refused(_request: Any) -> Answer:
    return sends(b"no tools here", "400 Bad Request")


def broken(_request: Any) -> Answer:
    return sends(b'{"choices": [{"message": {"tool_calls": [{"function": 3}]}}]}')


def missing(_request: Any) -> Answer:
    return sends(b"later", "503 Unavailable")


async def asked(natively: Callable[[Any], Answer], times: int = 3) -> tuple[list[Any], ChatServer]:
    """Ask a model of a server for calls, some times. Return its answers, and the server."""

    def decide(request: dict[str, Any]) -> Answer:
        return natively(request) if "tools" in request else completes(json.dumps(BY_JSON))

    async with chat_server(decide=decide) as server, open_client(server.url, "", 5) as client:
        model = OpenAICompatibleModel(client, "tiny", 5)
        return [await model.choose(PROMPT, SCHEMA) for _ in range(times)], server


@pytest.mark.parametrize("arguments", [json.dumps, dict])
async def test_a_model_that_passes_the_trial_is_asked_for_calls_from_then_on(arguments: Callable[[Any], Any]) -> None:
    answers, server = await asked(by(made_well, arguments))

    assert answers == [BY_CALL] * 3
    assert len(server.requests) == 4 + 3, "it is tried once"
    last = server.requests[-1]
    assert last["tools"] == [
        {"type": "function", "function": {"name": "sky", "description": CHOICE.functions[0].use, "parameters": TOWN}}
    ]
    assert last["messages"][-1]["content"].endswith("Call it if you need it.")
    assert "response_format" not in last


@pytest.mark.parametrize("natively", [by(made_badly), by(made_of_words), given_in_words, refused, broken])
async def test_a_model_that_fails_the_trial_is_asked_for_json(natively: Callable[[Any], Answer]) -> None:
    answers, server = await asked(natively)

    assert answers == [BY_JSON] * 3
    assert ["tools" in request for request in server.requests] == [True] * 4 + [False] * 3


async def test_a_trial_that_cannot_be_held_is_tried_once_more() -> None:
    answers, server = await asked(missing, 4)

    assert answers == [BY_JSON] * 4
    assert sum("tools" in request for request in server.requests) == 8


@pytest.mark.parametrize("later", [given_in_words, refused, broken])
async def test_calls_that_cannot_be_read_are_asked_for_as_json(later: Callable[[Any], Answer]) -> None:
    def natively(request: Any) -> Answer:
        is_trial = request["tools"][0]["function"]["name"] != "sky"
        return by(made_well)(request) if is_trial else later(request)

    answers, _ = await asked(natively)

    assert answers == [{"calls": []} if later is given_in_words else BY_JSON] * 3


async def test_parameters_that_are_no_json_are_left_to_be_repaired() -> None:
    def natively(request: Any) -> Answer:
        is_trial = request["tools"][0]["function"]["name"] != "sky"
        return by(made_well)(request) if is_trial else completed([("sky", "{town")], str)

    answers, _ = await asked(natively, 1)

    assert answers == [{"calls": [{"tool": "sky", "parameters": "{town"}]}]


@pytest.mark.parametrize(("make", "answer"), [(made_well, BY_CALL), (made_badly, BY_JSON)])
async def test_a_model_of_pydantic_ai_is_tried_likewise(make: Callable[[str], Made], answer: Any) -> None:
    seen: list[AgentInfo] = []

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(info)
        if info.output_tools:
            return ModelResponse(parts=[ToolCallPart("answer", BY_JSON)])
        made = make(str(getattr(messages[-1].parts[-1], "content", "")))
        return ModelResponse(parts=[ToolCallPart(name, given) for name, given in made] or [TextPart("None.")])

    model = VendorModel(FunctionModel(respond), 5)

    assert [await model.choose(PROMPT, SCHEMA) for _ in range(2)] == [answer] * 2
    assert len(seen) == 4 + 2
