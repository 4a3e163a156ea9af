"""Parameters of a version set: those that a model's API knows are sent on the operator's key, and no others."""

from structlog.testing import capture_logs

from providers.chat_server import chat_server, replies
from tertulia.providers.base import Prompt, Turn
from tertulia.providers.models.openai_compatible import OpenAICompatibleModel, open_client

KNOWN = {"temperature": 0.5, "top_p": 1, "max_tokens": 9, "stop": ["a", "b"], "reasoning_effort": "low", "seed": 7}
UNKNOWN = {
    "model": "expensive",
    "messages": [],
    "stream": False,
    "n": 100,
    "tools": [{}],
    "service_tier": "priority",
    "store": True,
    "extra_headers": {"a": "b"},
    "top_k": "many",
    "presence_penalty": True,
    "min_p": {"a": 1},
}


async def test_only_known_parameters_are_sent_and_the_log_names_the_others_once():
    prompt = Prompt("EngageUser", "", [Turn("user", "Hi")], {**KNOWN, **UNKNOWN})
    async with chat_server(replies("Hello")) as server, open_client(server.url, "", 5) as client:
        model = OpenAICompatibleModel(client, "tiny", 5)
        with capture_logs() as logs:
            for _ in range(2):
                assert [piece async for piece in model.stream(prompt)] == ["Hello"]
    expected = {**KNOWN, "model": "tiny", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    assert server.requests == [expected, expected]
    assert len(logs) == 1
    assert {*logs[0]["params"]} < UNKNOWN.keys()
    assert len(logs[0]["params"]) + logs[0]["more"] == len(UNKNOWN)


async def test_a_hundred_thousand_parameters_are_one_short_line():
    prompt = Prompt("EngageUser", "", [Turn("user", "Hi")], {f"{number}" * 100: number for number in range(100_000)})
    async with chat_server(replies("Hello")) as server, open_client(server.url, "", 5) as client:
        with capture_logs() as logs:
            assert [piece async for piece in OpenAICompatibleModel(client, "tiny", 5).stream(prompt)] == ["Hello"]
    assert len(repr(logs)) < 5_000
