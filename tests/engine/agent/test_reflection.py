"""A thought of the agent: it is kept within a number of words."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import pytest

from support.random_graphs import ROOT, parsed
from support.samples import AGENT, action, reflection
from tertulia import events
from tertulia.engine.agent.reflection import reflect, within
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Agent, Incoming, Outcome, Person, Scene
from tertulia.engine.agent.tool_rounds import Calling, Rounds
from tertulia.engine.agent.toolbox import CallPlace
from tertulia.engine.graph.context_graph import Frame, Position, ReflectionState
from tertulia.errors import ModelMisbehaved
from tertulia.providers.base import LanguageModel, Prompt

NOBODY: Any = None
HERE = CallPlace("state-transition", ROOT, "ponder")
TEN_WORDS = "I shall be brief. One two three four five six."


class Thinker:
    """A model that thinks these pieces; `read` counts those that were taken."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = pieces
        self.default: LanguageModel = self
        self.fast: LanguageModel = self
        self.prompts: list[Prompt] = []
        self.read = 0

    def named(self, llm_name: str) -> LanguageModel | None:
        return None

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        self.prompts.append(prompt)
        for piece in self._pieces:
            self.read += 1
            yield piece

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        raise NotImplementedError


async def think(model: Thinker, signs: list[float] | None = None) -> tuple[list[events.AnyAction], Outcome]:
    """Let a model think about the state `ponder`, in at most ten words. Return the steps, and what came of them."""
    graphs = {ROOT: parsed(action("start", "ponder"), reflection("ponder", "end"), action("end"))}
    position = Position((Frame(ROOT, "ponder"),))
    state = graphs[ROOT].by_name["ponder"]
    assert isinstance(state, ReflectionState)
    person = Person("User", None, "UTC", ())
    said = Incoming("user-message", "Hello.")
    scene = Scene(Agent.model_validate(AGENT), graphs, position, person, (), said, {})
    outcome = Outcome(position, None)
    alive = ([] if signs is None else signs).append
    rounds = Rounds(Calling(scene, outcome, Resources(model, NOBODY, alive)), HERE)
    steps = [step async for step in reflect(rounds, state)]
    return steps, outcome


async def test_a_thought_is_told_and_becomes_a_message_that_only_the_agent_has_in_mind() -> None:
    model = Thinker(["They need ", "rest."])
    steps, outcome = await think(model)
    assert steps == [events.ReflectionStarted("Problem of ponder"), events.ReflectionGenerated("They need rest.")]
    [thought] = outcome.messages
    assert (thought.message_type, thought.content) == ("agent-inner-thought", "They need rest.")
    [prompt] = model.prompts
    assert prompt.interaction == "GenerateReflection"
    assert "Problem of ponder" in prompt.question
    assert "at most 10 words" in prompt.question


async def test_a_model_that_thinks_without_end_is_not_read_on() -> None:
    model = Thinker(["over ", "and "] * 1000)
    _steps, outcome = await think(model)
    assert outcome.messages[0].content == "over and over and over and over and over and…"
    assert model.read == 11


async def test_a_long_thought_is_a_sign_of_life_with_each_piece() -> None:
    signs: list[float] = []
    await think(Thinker(["They ", "need ", "rest."]), signs)
    assert signs == [0, 0, 0]


@pytest.mark.parametrize("pieces", [[], [" ", "\n"]])
async def test_no_thought_is_an_error(pieces: list[str]) -> None:
    with pytest.raises(ModelMisbehaved):
        await think(Thinker(pieces))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (TEN_WORDS, TEN_WORDS),
        (f"{TEN_WORDS} More.", TEN_WORDS),
        ("I shall be brief. One two three four five six seven eight.", "I shall be brief."),
        (
            "One two three four five six seven eight nine ten eleven.",
            "One two three four five six seven eight nine ten…",
        ),
        ("你好你好你好你好你好你好", "你好你好你好你好你好…"),
        ("a" * 500, "a" * 400 + "…"),
    ],
)
def test_a_thought_ends_with_the_last_sentence_within_the_limit(text: str, kept: str) -> None:
    assert within(text, 10) == kept


async def test_a_thought_that_is_given_up_leaves_no_task() -> None:
    graphs = {ROOT: parsed(action("start", "ponder"), reflection("ponder", "end"), action("end"))}
    state = graphs[ROOT].by_name["ponder"]
    assert isinstance(state, ReflectionState)
    position = Position((Frame(ROOT, "ponder"),))
    person = Person("User", None, "UTC", ())
    scene = Scene(Agent.model_validate(AGENT), graphs, position, person, (), None, {})
    calling = Calling(scene, Outcome(position, None), Resources(Thinker(["x"]), NOBODY))
    steps = reflect(Rounds(calling, HERE), state)
    await anext(steps)
    await steps.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}
