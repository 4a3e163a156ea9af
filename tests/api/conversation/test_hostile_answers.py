"""Answers that mean harm, to every question: the turn is whole, or void with a clear error, and the next is well."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from support.every_step import SAYS, Player, inner, outer, publish, remember
from support.hostile import ALL
from support.puppet import Puppet
from support.samples import instruction, make_agent, make_behavior, make_graph
from support.stage import Stage
from support.talk import begin, go_on, id_of, messages, types
from tertulia.providers.base import Prompt

DEEP = json.loads("[" * 500 + "]" * 500)
USELESS = "The language model gave no usable answer."
CALL = {"tool": "x", "parameters": {}}
ANSWERS: dict[str, Any] = {
    "nothing": None,
    "a number": 7,
    "a text": "action-1",
    "a list": [{"choice": "action-1"}],
    "no keys": {},
    "nulls": {"choice": None, "queries": None, "calls": None, "name": None},
    "lists for texts": {"choice": ["action-1"], "calls": [{"tool": ["x"], "parameters": []}], "name": ["Ada"]},
    "objects for texts": {"choice": {"action-1": {}}, "queries": {"0": "?"}, "calls": {"tool": "x"}, "name": {"a": 1}},
    "odd items": {"queries": [None, 7, {}, [[]], " ", "\ud800"], "calls": [None, 7, "x", [], {}, {"tool": None}]},
    "depth": {"choice": DEEP, "queries": DEEP, "calls": DEEP, "name": DEEP},
    "no numbers": {"choice": float("nan"), "queries": [float("inf")], "name": 10**400},
    "too many": {"queries": ["?"] * 1000, "calls": [CALL] * 1000, "name": "x" * 1_000_000},
    "other keys": {"action-1": "choice", "\ud800": "\0"},
}
QUESTIONS = [
    "SelectDynamicBehavior",
    "SelectNextAction",
    "SelectNextActionForDecisionState",
    "GenerateRecallQueries",
    "GenerateToolParams",
    "SelectTools",
]


class Spoiler(Player):
    """A model that goes through everything, but answers one question with something else."""

    def __init__(self, about: str, answer: Any) -> None:
        super().__init__("So", " it", " is.")
        self.about = about
        self.answer = answer
        self.spoiled = 0
        self.seen: set[str] = set()

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        self.seen.add(prompt.interaction)
        asked = "SelectTools" if "calls" in schema["properties"] else prompt.interaction
        if asked == self.about:
            self.spoiled += 1
            return self.answer
        return await super().choose(prompt, schema)


@pytest.fixture(scope="module")
def service_id(_stage: Stage) -> str:
    """A service whose turns go through every kind of state, with a behaviour and tools."""
    inner_id = make_graph(_stage.admin, inner())
    made = _stage.service(outer(inner_id, publish(_stage.admin)))
    make_behavior(_stage.admin, made, actions=[instruction("Be kind.", overrides=True)])
    return made


@pytest.mark.parametrize("about", QUESTIONS)
def test_whatever_is_answered_the_turn_is_whole_or_void(stage: Stage, service_id: str, about: str) -> None:
    user = stage.user("DefaultAdministratorRole")
    for name, answer in ANSWERS.items():
        conversation_id = id_of(begin(user, service_id))
        remember(stage, user.user_id, conversation_id)
        before = messages(user, conversation_id, **ALL)
        spoiler = Spoiler(about, answer)
        stage.play(spoiler)

        last = go_on(user, conversation_id, SAYS)[-1]

        assert spoiler.spoiled, spoiler.seen
        if last["type"] == "error":
            assert last["error_description"] == USELESS, name
            assert messages(user, conversation_id, **ALL) == before
        stage.play(Player("So", " it", " is."))
        assert go_on(user, conversation_id, SAYS)[-1]["type"] == "interaction-complete"
        stage.admin.post(f"/conversation/{conversation_id}/finish/")


class Speechless(Player):
    """A model that goes through everything, calls its tools, and then has nothing to say."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        yield " " if prompt.interaction == "EngageUser" else "So it is."


def test_a_reply_that_is_empty_after_its_tools_leaves_nothing(stage: Stage, service_id: str) -> None:
    user = stage.user("DefaultAdministratorRole")
    conversation_id = id_of(begin(user, service_id))
    before = messages(user, conversation_id, **ALL)
    stage.play(Speechless())

    events = go_on(user, conversation_id, SAYS)

    assert "tool-call-ended" in types(events)
    assert (events[-1]["type"], events[-1]["error_description"]) == ("error", USELESS)
    assert messages(user, conversation_id, **ALL) == before
    stage.play(Player("So", " it", " is."))
    assert go_on(user, conversation_id, SAYS)[-1]["type"] == "interaction-complete"


MB = 1 << 20
REPLIES: dict[str, tuple[str, int]] = {
    "spaces": (" \n", 3),
    "a byte order mark": ("\ufeff", 1),
    "spaces of no width": ("\u200b\u2060", 2),
    "directions of writing": ("\u202e\u200f", 1),
    "NUL": ("\0", 4),
    "50 MB in one piece": ("word " * (10 * MB), 1),
    "50 MB in pieces": ("word " * 3200, 50 * 64),
    "spaces without end": (" ", 1_000_000),
    "letters without end": ("a", 1_000_000),
}


class Sayer(Puppet):
    """A model that says one thing so many times."""

    def __init__(self, piece: str, times: int) -> None:
        super().__init__()
        self.piece, self.times = piece, times

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        for _ in range(self.times):
            yield self.piece


@pytest.mark.parametrize("said", REPLIES.values(), ids=REPLIES.keys())
@pytest.mark.parametrize("response_format", ["text", "voice"])
def test_a_reply_that_says_nothing_or_never_ends_leaves_nothing(
    stage: Stage, response_format: str, said: tuple[str, int]
) -> None:
    user = stage.user("DefaultAdministratorRole")
    agent_id = make_agent(stage.admin, voice_config={"voice_id": "default"})
    conversation_id = id_of(begin(user, stage.service(agent_id=agent_id)))
    before = messages(user, conversation_id, **ALL)
    stage.play(Sayer(*said))

    last = go_on(user, conversation_id, query={"response_format": response_format})[-1]

    assert (last["type"], last.get("http_error_code")) == ("error", 500)
    assert last["error_description"] == USELESS
    assert messages(user, conversation_id, **ALL) == before
    stage.play(Puppet())
    assert go_on(user, conversation_id)[-1]["type"] == "interaction-complete"
