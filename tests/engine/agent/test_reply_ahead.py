"""A reply that is begun beside the question if the agent stays: used if it does, thrown away if it moves."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import pytest

from support.random_graphs import ROOT, parsed
from support.samples import AGENT, action
from support.waiting import until
from tertulia import events
from tertulia.engine.agent.interaction import interact
from tertulia.engine.agent.reply_ahead import GUESSES
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Agent, Behavior, Incoming, Outcome, Person, Recollection, Scene
from tertulia.engine.graph.context_graph import Frame, Position
from tertulia.errors import ModelMisbehaved, ModelTimeout, ModelUnavailable, NoRoom
from tertulia.providers.base import LanguageModel, Prompt

NOBODY: Any = None
PIECES = ["One", " two."]
KINDNESS = Behavior(("b" * 24, 1), "Kindness", ("sad",), ("Be kind.",), overrides=False)


class Held:
    """A model whose choices wait until the test lets them go. It notes its calls, and which replies were given up."""

    def __init__(self, *pieces: str, fails: Exception | None = None, has_room: bool = True) -> None:
        self.default: LanguageModel = self
        self.fast: LanguageModel = self
        self.answer: Mapping[str, str] = {"SelectNextAction": "action-1", "SelectDynamicBehavior": "none"}
        self.go = asyncio.Event()
        self.read = asyncio.Event()
        self.calls: list[str] = []
        self.asked: list[Prompt] = []
        self.given_up = 0
        self._pieces = pieces or PIECES
        self._fails = fails
        self._has_room = has_room

    def named(self, llm_name: str) -> LanguageModel | None:
        return None

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        if prompt.tentative and not self._has_room:
            raise NoRoom("one at a time")
        self.calls.append(prompt.interaction)
        self.asked.append(prompt)
        try:
            for piece in self._pieces:
                if piece == "(taken back)":
                    prompt.tell("taken-back")
                elif piece == "(cut)":
                    prompt.tell("length")
                else:
                    yield piece
            self.read.set()
            if self._fails is not None:
                raise self._fails
        except (GeneratorExit, asyncio.CancelledError):
            self.given_up += 1
            raise

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        self.calls.append(prompt.interaction)
        await self.go.wait()
        keys = schema["properties"]["choice"]["enum"]
        wanted = self.answer[prompt.interaction]
        return {"choice": wanted if wanted in keys else keys[0]}


class Turn:
    """An interaction of a graph of `start`, which leads to `end`, and what has come of it."""

    def __init__(self, model: Held, guess: str = "one-action", actions: int = 1, **fields: Any) -> None:
        graphs = {ROOT: parsed(action("start", "end", actions=actions), action("end"))}
        position = Position((Frame(ROOT, "start"),))
        person = Person("User", None, "UTC", ())
        said = Incoming("user-message", "Hello.")
        scene = Scene(Agent.model_validate(AGENT), graphs, position, person, (), said, {}, **fields)
        self.outcome = Outcome(position, None)
        self._interaction = interact(scene, self.outcome, Resources(model, NOBODY, guess=GUESSES[guess]))

    async def run(self) -> list[str]:
        """Go to the end. Return the pieces of the reply."""
        async with aclosing(self._interaction) as told:
            return [event.message async for event in told if isinstance(event, events.NewMessage)]


async def held(model: Held, turn: Turn, calls: int) -> asyncio.Task[list[str]]:
    """Begin a turn. Return its task, when the model has been asked so much."""
    task = asyncio.create_task(turn.run())
    await until(lambda: len(model.calls) >= calls, 0)
    return task


async def test_a_reply_is_begun_beside_the_question_and_used_if_the_agent_stays() -> None:
    model = Held()
    turn = Turn(model)
    task = await held(model, turn, 2)
    assert sorted(model.calls) == ["EngageUser", "SelectNextAction"]
    await model.read.wait()
    assert not task.done()
    model.go.set()
    assert await task == [*PIECES, ""]
    assert turn.outcome.full_message == "".join(PIECES)
    assert len(model.calls) == 2


async def test_a_reply_is_thrown_away_if_the_agent_moves() -> None:
    model = Held()
    model.answer = {"SelectNextAction": "exit-1"}
    turn = Turn(model)
    task = await held(model, turn, 2)
    model.go.set()
    assert await task == [*PIECES, ""]
    assert model.calls == ["SelectNextAction", "EngageUser", "EngageUser"]
    assert [("Action 1 of start" in prompt.question, prompt.tentative) for prompt in model.asked] == [
        (True, True),
        (False, False),
    ]


@pytest.mark.parametrize(
    ("guess", "actions", "begins"),
    [
        ("off", 1, False),
        ("one-action", 1, True),
        ("one-action", 2, False),
        ("first-action", 1, True),
        ("first-action", 2, True),
    ],
)
async def test_the_settings_say_for_which_states_a_reply_is_begun(guess: str, actions: int, begins: bool) -> None:
    model = Held()
    turn = Turn(model, guess, actions)
    task = await held(model, turn, 1 + begins)
    model.go.set()
    await task
    assert model.asked[0].tentative is begins
    assert model.calls.count("EngageUser") == 1


async def test_a_first_action_that_is_not_chosen_is_thrown_away() -> None:
    model = Held()
    model.answer = {"SelectNextAction": "action-2"}
    turn = Turn(model, "first-action", 2)
    task = await held(model, turn, 2)
    model.go.set()
    await task
    assert "Action 2 of start" in model.asked[-1].question
    assert turn.outcome.action == "Action 2 of start"


async def test_a_model_that_has_no_room_is_asked_when_the_agent_is_known_to_stay() -> None:
    model = Held(has_room=False)
    turn = Turn(model)
    task = await held(model, turn, 1)
    model.go.set()
    assert await task == [*PIECES, ""]
    assert model.calls == ["SelectNextAction", "EngageUser"]


@pytest.mark.parametrize("fails", [ModelTimeout("slow"), ModelUnavailable("away")])
async def test_a_reply_that_fails_is_an_error_only_if_it_is_used(fails: Exception) -> None:
    model = Held("One", fails=fails)
    task = await held(model, Turn(model), 2)
    model.go.set()
    with pytest.raises(type(fails)):
        await task

    model = Held("One", fails=fails)
    model.answer = {"SelectNextAction": "exit-1"}
    turn = Turn(model)
    task = await held(model, turn, 2)
    await model.read.wait()
    model._fails = None
    model.go.set()
    assert await task == ["One", ""]


async def test_signs_of_a_reply_keep_their_place_between_its_pieces() -> None:
    model = Held("A thought", "(taken back)", "An", " answer", "(cut)")
    turn = Turn(model)
    task = await held(model, turn, 2)
    await model.read.wait()
    model.go.set()
    await task
    assert turn.outcome.full_message == "An answer"
    assert turn.outcome.reply_cut_short == "length"


async def test_an_interaction_that_is_closed_leaves_no_task_and_no_open_reply() -> None:
    model = Held(*["more "] * 2000)
    task = await held(model, Turn(model), 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.given_up == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_model_that_writes_without_end_is_not_read_on_while_it_is_held_back() -> None:
    model = Held(*["more "] * 5000)
    task = await held(model, Turn(model), 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not model.read.is_set()
    model.go.set()
    assert len(await task) == 5001


async def test_a_question_that_fails_ends_the_reply_too() -> None:
    class Broken(Held):
        async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
            await super().choose(prompt, schema)
            return {"choice": "nonsense"}

    model = Broken(*["more "] * 2000)
    task = await held(model, Turn(model), 2)
    model.go.set()
    with pytest.raises(ModelMisbehaved):
        await task
    assert model.given_up == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_choice_of_a_behaviour_runs_beside_both() -> None:
    model = Held()
    turn = Turn(model, behaviors=[KINDNESS])
    task = await held(model, turn, 3)
    assert sorted(model.calls) == ["EngageUser", "SelectDynamicBehavior", "SelectNextAction"]
    model.go.set()
    assert await task == [*PIECES, ""]
    assert len(model.calls) == 3


async def test_another_behaviour_than_before_begins_another_reply() -> None:
    model = Held()
    model.answer = {"SelectNextAction": "action-1", "SelectDynamicBehavior": "behavior-1"}
    turn = Turn(model, behaviors=[KINDNESS])
    task = await held(model, turn, 3)
    model.go.set()
    await task
    replies = [prompt for prompt in model.asked if prompt.interaction == "EngageUser"]
    assert ["Be kind." in prompt.question for prompt in replies] == [False, True]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_reply_that_did_not_know_what_is_remembered_is_written_anew() -> None:
    model = Held()
    turn = Turn(model)
    task = await held(model, turn, 2)
    turn.outcome.remember([Recollection("m", "They have a cat.", "")])
    model.go.set()
    await task
    assert ["They have a cat." in prompt.question for prompt in model.asked] == [False, True]
