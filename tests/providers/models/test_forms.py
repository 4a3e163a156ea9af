"""The forms of a choice: each refusal leads to the next one, and none is given up for ever."""

from collections.abc import Callable
from typing import Any

import pytest

from providers.chat_server import Answer, ChatServer, chat_server, completes, sends
from tertulia.errors import ModelError
from tertulia.providers.base import Prompt, Turn
from tertulia.providers.models.forms import FORMS, STRICT_AGAIN_AFTER
from tertulia.providers.models.openai_compatible import OpenAICompatibleModel, open_client

PROMPT = Prompt("SelectNextAction", "Be brief.", [Turn("user", "Hello")])
SCHEMA = {"type": "object", "properties": {"choice": {"enum": ["exit-1"]}}, "required": ["choice"]}
GOOD = completes('{"choice": "exit-1"}')


def form_of(request: dict[str, Any]) -> str:
    return request.get("response_format", {}).get("type", "text")


def taking(forms: set[str], refusal: str) -> Callable[[dict[str, Any]], Answer]:
    return lambda request: GOOD if form_of(request) in forms else sends(b"no", refusal)


async def asked(decide: Callable[[dict[str, Any]], Answer], times: int) -> ChatServer:
    async with chat_server(decide=decide) as server, open_client(server.url, "", 5) as client:
        model = OpenAICompatibleModel(client, "tiny", 5)
        for _ in range(times):
            assert await model.choose(PROMPT, SCHEMA) == {"choice": "exit-1"}
    return server


REFUSALS = [
    "400 Bad Request",
    "404 Not Found",
    "415 Unsupported Media Type",
    "422 Unprocessable",
    "500 Error",
    "501 No",
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_every_refusal_leads_to_the_next_form(refusal: str):
    server = await asked(taking({"text"}, refusal), 1)
    assert [form_of(request) for request in server.requests] == list(FORMS)


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_no_system_message_comes_after_the_first(refusal: str):
    server = await asked(taking({"text"}, refusal), 1)
    for request in server.requests:
        assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert "exit-1" in server.requests[-1]["messages"][-1]["content"]


async def test_the_form_that_was_taken_is_remembered_and_the_strictest_is_tried_again_in_time():
    server = await asked(taking({"json_object"}, "400 Bad Request"), STRICT_AGAIN_AFTER + 2)
    forms = [form_of(request) for request in server.requests]
    assert forms[: STRICT_AGAIN_AFTER + 1] == ["json_schema", *["json_object"] * STRICT_AGAIN_AFTER]
    assert forms[STRICT_AGAIN_AFTER + 1 :] == ["json_object", "json_schema", "json_object"]


async def test_one_failed_answer_does_not_lower_the_form():
    failed: list[bool] = []

    def decide(_request: dict[str, Any]) -> Answer:
        failed.append(True)
        return sends(b"oops", "500 Error") if len(failed) == 1 else GOOD

    server = await asked(decide, 3)
    assert [form_of(request) for request in server.requests] == [
        "json_schema",
        "json_object",
        "json_schema",
        "json_schema",
    ]


@pytest.mark.parametrize("refusal", [*REFUSALS, "401 Unauthorized", "403 Forbidden", "429 Too Many", "503 Unavailable"])
async def test_what_is_refused_in_every_form_is_an_error(refusal: str):
    with pytest.raises(ModelError):
        await asked(taking(set(), refusal), 1)
