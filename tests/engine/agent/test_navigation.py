"""A turn's walk through a graph: it never leaves the graph, and it comes to an end, whatever the model chooses."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.random_graphs import ROOT, accepted_graphs, accepted_pairs, parsed
from support.samples import AGENT, action, annotation, decision, tool_call
from tertulia.engine.agent.navigation import MOST_STEPS, navigate
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Agent, Incoming, Outcome, Person, Scene
from tertulia.engine.graph import context_graph
from tertulia.engine.graph.context_graph import ActionState, Graphs, Position
from tertulia.errors import LostInGraph
from tertulia.events import ActionSelected, StateTransitioned
from tertulia.providers.base import LanguageModel, Prompt

TURNS = 5
NO_VOICES: Any = None
SAID = Incoming("user-message", "Hello.")


class Chooser:
    """A model that takes the key that a function picks, and has one thought."""

    def __init__(self, pick: Callable[[Sequence[str]], str]) -> None:
        self._pick = pick

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        assert prompt.interaction == "GenerateReflection"
        yield "So be it."

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        return {"choice": self._pick(schema["properties"]["choice"]["enum"])}


class Only:
    """A server with one model."""

    def __init__(self, model: LanguageModel) -> None:
        self.default = model

    def named(self, llm_name: str) -> LanguageModel | None:
        return None


async def walk(graphs: Graphs, position: Position, model: LanguageModel, incoming: Incoming | None) -> Outcome:
    """One turn, each step of which begins at the state where the one before it ended."""
    person = Person("User", None, "UTC", ())
    scene = Scene(Agent.model_validate(AGENT), graphs, position, person, (), incoming, {})
    outcome = Outcome(position, None)
    here = (position.top.graph, position.top.state)
    told = [told async for told in navigate(scene, outcome, Resources(Only(model), NO_VOICES))]
    for step in told:
        if isinstance(step, StateTransitioned):
            assert (step.prev_state_state_machine_version_info, step.prev_state) == here
            here = (step.next_state_state_machine_version_info, step.next_state)
            assert here[1] in graphs[here[0]].by_name
    assert (outcome.position.top.graph, outcome.position.top.state) == here
    assert isinstance(told[-1], ActionSelected)
    return outcome


@given(accepted_pairs(), st.data())
def test_a_conversation_never_leaves_its_graphs_and_each_of_its_turns_ends(graphs: Graphs, data: st.DataObject) -> None:
    whim = Chooser(lambda keys: data.draw(st.sampled_from(keys)))
    position = context_graph.start(ROOT, graphs, returning=data.draw(st.booleans()))
    for number in range(TURNS):
        outcome = asyncio.run(walk(graphs, position, whim, SAID if number else None))
        position = outcome.position
        state = context_graph.state_at(position, graphs)
        assert isinstance(state, ActionState)
        assert outcome.action in state.actions
        if context_graph.is_over(position, graphs):
            return


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


async def test_a_state_that_calls_a_tool_is_an_error_that_names_both() -> None:
    graphs = {ROOT: parsed(action("start", "look_up"), tool_call("look_up", "end", "f" * 24), action("end"))}
    position = context_graph.start(ROOT, graphs, returning=False)
    with pytest.raises(LostInGraph, match=f"look_up .*{'f' * 24}"):
        await walk(graphs, position, Chooser(lambda keys: keys[-1]), SAID)
