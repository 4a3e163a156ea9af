"""A turn's walk through a graph: it never leaves the graph, and it comes to an end, whatever the model chooses."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.random_graphs import NAMES, ROOT, accepted_graphs, accepted_pairs, old_pairs, parsed
from support.samples import AGENT, action, annotation, decision, tool_call
from support.toolbox import ScriptedToolbox
from tertulia.engine.agent.navigation import MOST_STEPS, navigate
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Agent, Incoming, IncomingType, Outcome, Person, Scene
from tertulia.engine.agent.tool_rounds import MOST_OF_TURN
from tertulia.engine.agent.toolbox import TurnTools
from tertulia.engine.graph import context_graph
from tertulia.engine.graph.context_graph import ActionState, Graphs, Position
from tertulia.engine.graph.rules import LONGEST_SILENCE
from tertulia.errors import LostInGraph, ToolMissing
from tertulia.events import ActionSelected, StateTransitioned
from tertulia.providers.base import Choice, LanguageModel, Prompt

NO_VOICES: Any = None
SAID = Incoming("user-message", "Hello.")


OSLO = {"city": "Oslo"}
WISHES: list[Any] = [
    None,
    OSLO,
    {"calls": []},
    {"calls": [{"tool": "weather", "parameters": OSLO}, {"tool": "broken", "parameters": {}}]},
    {"calls": [{"tool": "weather", "parameters": {"town": 3}}, {"tool": "nothing"}, 7]},
]
"""Answers to questions about tools, right and wrong."""


class Chooser:
    """A model that takes the key that a function picks, wants what another says of tools, and has one thought."""

    def __init__(self, pick: Callable[[Sequence[str]], str], wish: Callable[[], Any] = lambda: None) -> None:
        self._pick = pick
        self._wish = wish

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        assert prompt.interaction == "GenerateReflection"
        yield "So be it."

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        if "choice" not in schema["properties"]:
            return self._wish()
        return {"choice": self._pick(schema["properties"]["choice"]["enum"])}


class Only:
    """A server with one model."""

    def __init__(self, model: LanguageModel) -> None:
        self.default = self.fast = model

    def named(self, llm_name: str) -> LanguageModel | None:
        return None


async def walk(graphs: Graphs, position: Position, model: LanguageModel, incoming: Incoming | None) -> Outcome:
    """One turn, each step of which begins at the state where the one before it ended."""
    person = Person("User", None, "UTC", ())
    scene = Scene(Agent.model_validate(AGENT), graphs, position, person, (), incoming, {})
    outcome = Outcome(position, None)
    here = (position.top.graph, position.top.state)
    toolbox = ScriptedToolbox()
    resources = Resources(Only(model), NO_VOICES, tools=TurnTools(toolbox))
    told = [told async for told in navigate(scene, outcome, resources)]
    assert all(made.arguments in ({}, OSLO) for made in toolbox.calls), "what does not fit is never called"
    assert len(toolbox.calls) <= MOST_OF_TURN + len(outcome.transitions)
    for step in told:
        if isinstance(step, StateTransitioned):
            assert (step.prev_state_state_machine_version_info, step.prev_state) == here
            here = (step.next_state_state_machine_version_info, step.next_state)
            assert here[1] in graphs[here[0]].by_name
    assert (outcome.position.top.graph, outcome.position.top.state) == here
    assert isinstance(told[-1], ActionSelected)
    return outcome


class Conversation(RuleBasedStateMachine):
    """A conversation in random graphs of every kind of state, with a model that answers at random."""

    def __init__(self) -> None:
        super().__init__()
        self.graphs: Graphs = {}
        self.position = Position(())
        self.asked = 0

    @initialize(graphs=accepted_pairs(), returning=st.booleans(), data=st.data())
    def open(self, graphs: Graphs, returning: bool, data: st.DataObject) -> None:
        self.graphs = graphs
        self._begin(returning, data)

    @precondition(lambda self: not context_graph.is_over(self.position, self.graphs))
    @rule(kind=st.sampled_from(["user-message", "external-event"]), data=st.data())
    def say(self, kind: IncomingType, data: st.DataObject) -> None:
        self._turn(Incoming(kind, "Hello."), data)

    @precondition(lambda self: not context_graph.is_over(self.position, self.graphs))
    @rule(data=st.data())
    def skip(self, data: st.DataObject) -> None:
        self._turn(Incoming("skip"), data)

    @precondition(lambda self: context_graph.is_over(self.position, self.graphs))
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        self._begin(True, data)

    @invariant()
    def the_agent_waits_in_an_action_state_of_its_graphs(self) -> None:
        if self.graphs:
            assert isinstance(context_graph.state_at(self.position, self.graphs), ActionState)

    def _begin(self, returning: bool, data: st.DataObject) -> None:
        opened = self.position = context_graph.start(ROOT, self.graphs, returning=returning)
        self._turn(None, data)
        assert self.position == opened, "nobody has said anything that could have led away"

    def _turn(self, incoming: Incoming | None, data: st.DataObject) -> None:
        def pick(keys: Sequence[str]) -> str:
            self.asked += 1
            return data.draw(st.sampled_from(keys))

        before = self.asked
        model = Chooser(pick, lambda: data.draw(st.sampled_from(WISHES)))
        outcome = asyncio.run(walk(self.graphs, self.position, model, incoming))
        state = context_graph.state_at(outcome.position, self.graphs)
        assert isinstance(state, ActionState)
        assert outcome.action in state.actions
        assert len(outcome.transitions) <= MOST_STEPS + 2 * LONGEST_SILENCE
        assert self.asked - before <= len(outcome.transitions) + 1
        self.position = outcome.position


Conversation.TestCase.settings = settings(
    max_examples=150, stateful_step_count=8, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestConversation = Conversation.TestCase


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(old_pairs(), st.integers(0, 9))
def test_a_turn_in_a_graph_without_rules_ends_with_an_action_or_with_an_error(graphs: Graphs, choice: int) -> None:
    position = context_graph.start(ROOT, graphs, returning=False)
    asked: list[int] = []

    def pick(keys: Sequence[str]) -> str:
        asked.append(choice)
        return keys[choice % len(keys)]

    with suppress(LostInGraph):
        asyncio.run(walk(graphs, position, Chooser(pick), SAID))
    assert len(asked) <= MOST_STEPS + 2 * len(NAMES) + 4


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(accepted_graphs())
def test_a_turn_ends_though_its_model_always_takes_the_last_exit(made: context_graph.ContextGraph) -> None:
    graphs = {ROOT: made}
    position = context_graph.start(ROOT, graphs, returning=False)
    asyncio.run(walk(graphs, position, Chooser(lambda keys: keys[-1]), SAID))


async def test_after_many_steps_the_next_action_state_speaks() -> None:
    names = [*(f"s{n}" for n in range(2 * MOST_STEPS)), "end"]
    states = [action("start", "s0"), *map(action, names, names[1:]), action("end")]
    graphs = {ROOT: parsed(*states)}
    position = context_graph.start(ROOT, graphs, returning=False)
    outcome = await walk(graphs, position, Chooser(lambda keys: keys[-1]), SAID)
    assert len(outcome.transitions) == MOST_STEPS


async def test_a_graph_with_a_circle_from_earlier_days_is_an_error_and_not_a_turn_without_end() -> None:
    circle = parsed(action("start", "a"), decision("a", "end", "b"), annotation("b", "a"), action("end"))
    position = context_graph.start(ROOT, {ROOT: circle}, returning=False)
    with pytest.raises(LostInGraph):
        await walk({ROOT: circle}, position, Chooser(lambda keys: keys[-1]), SAID)


async def test_a_state_that_calls_a_tool_which_is_not_there_is_an_error_that_names_it() -> None:
    graphs = {ROOT: parsed(action("start", "look_up"), tool_call("look_up", "end", "f" * 24), action("end"))}
    position = context_graph.start(ROOT, graphs, returning=False)
    with pytest.raises(ToolMissing, match="f" * 24):
        await walk(graphs, position, Chooser(lambda keys: keys[-1]), SAID)


class Asked(Chooser):
    """A chooser that takes exits, and keeps the choices that it was asked for."""

    def __init__(self) -> None:
        super().__init__(lambda keys: keys[-1])
        self.choices: list[Choice] = []

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        assert prompt.choice is not None
        self.choices.append(prompt.choice)
        return await super().choose(prompt, schema)


def test_a_choice_tells_if_the_message_has_moved_the_conversation_already() -> None:
    graphs = {ROOT: parsed(action("start", "a"), action("a", "end"), action("end"))}
    model = Asked()
    asyncio.run(walk(graphs, context_graph.start(ROOT, graphs, returning=False), model, SAID))
    assert [choice.has_moved for choice in model.choices] == [False, True]


@pytest.mark.parametrize(("said", "is_rule"), [('It ends. People say: "Bye".', False), ("It ends.", True)])
def test_the_aim_of_a_decision_is_a_rule_unless_its_exits_have_sayings(said: str, is_rule: bool) -> None:
    which = decision("which", "end", "start")
    which["exit_conditions"][0]["description"] = said
    which["exit_conditions"][1]["description"] = 'It begins. People say: "Hello".'
    graphs = {ROOT: parsed(action("start", "which"), which, action("end"))}
    model = Asked()
    asyncio.run(walk(graphs, context_graph.start(ROOT, graphs, returning=False), model, SAID))
    assert ("Objective of which" in model.choices[1].rules) is is_rule
