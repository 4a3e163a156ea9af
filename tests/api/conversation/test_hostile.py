"""Models and graphs that mean harm: a turn with them ends with a clear error, and leaves nothing half written."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx2
import pytest

from support.hostile import Mover, put_version, refused
from support.puppet import Puppet
from support.samples import action, annotation, decision, graph, make_graph, reflection, short_graph, tool_call
from support.server import Serve
from support.stage import Stage, Switch
from support.talk import begin, go_on, id_of
from tertulia.providers.base import Prompt
from tertulia.providers.models.registry import Models

TWO_WAYS = graph(
    action("start", "think"), reflection("think", "choice"), decision("choice", "end", "start"), action("end")
)


class Garbage(Puppet):
    """A model that answers every choice with the same value, whatever was asked."""

    def __init__(self, answer: Any, *pieces: str) -> None:
        super().__init__(*pieces)
        self._answer = answer

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        return self._answer


@pytest.fixture
def conversation_id(stage: Stage) -> tuple[httpx2.Client, str]:
    user = stage.user("DefaultAdministratorRole")
    return user, id_of(begin(user, stage.service(TWO_WAYS)))


@pytest.mark.parametrize(
    "answer",
    [None, "action-1", ["action-1"], {}, {"choice": None}, {"choice": "exit-99"}, {"choice": {"choice": "exit-1"}}, 7],
)
def test_an_answer_outside_the_schema_is_an_error(
    stage: Stage, conversation_id: tuple[httpx2.Client, str], answer: Any
) -> None:
    stage.play(Garbage(answer))
    error = refused(*conversation_id)
    assert (error["http_error_code"], error["error_description"]) == (500, "The language model gave no usable answer.")
    stage.play(Puppet())
    assert go_on(*conversation_id)[-1]["type"] == "interaction-complete"


@pytest.mark.parametrize("pieces", [("",), (" ", "\n"), ("\u0000",)])
def test_an_empty_thought_is_an_error(
    stage: Stage, conversation_id: tuple[httpx2.Client, str], pieces: tuple[str, ...]
) -> None:
    stage.play(Mover(*pieces))
    assert refused(*conversation_id)["error_description"] == "The language model gave no usable answer."


def test_an_empty_reply_is_an_error_though_it_was_begun_ahead(
    stage: Stage, conversation_id: tuple[httpx2.Client, str]
) -> None:
    stage.play(Puppet(" ", "\n"))
    assert refused(*conversation_id)["error_description"] == "The language model gave no usable answer."


def test_a_thought_without_end_is_cut_and_the_turn_goes_on(
    stage: Stage, conversation_id: tuple[httpx2.Client, str]
) -> None:
    user, conversation = conversation_id
    stage.play(Mover(*["again "] * 100_000))
    events = go_on(user, conversation)
    [thought] = [e["action"]["reflection"] for e in events if "reflection" in e.get("action", {})]
    assert len(thought.split()) == 10


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([annotation("a", "b"), annotation("b", "a")], "The context graph leads in a circle without an action."),
        ([reflection("a", "b"), decision("b", "a", "a")], "The context graph leads in a circle without an action."),
        ([tool_call("a", "end", "f" * 24)], f"There is no tool {'f' * 24}."),
        ([annotation("a", "nowhere")], "The context graph has no state nowhere."),
    ],
)
def test_a_graph_of_earlier_days_is_a_clear_error_and_not_a_turn_without_end(
    stage: Stage, states: list[dict[str, Any]], told: str
) -> None:
    graph_id = make_graph(stage.admin, short_graph())
    service_id = stage.service(graph_id=graph_id)
    put_version(stage, graph_id, graph(action("start", "a"), *states, action("end")))
    user = stage.user("DefaultAdministratorRole")
    stage.play(Puppet())
    conversation_id = id_of(begin(user, service_id))
    stage.play(Mover("Hm."))
    assert refused(user, conversation_id)["error_description"] == told


class Thinker(Puppet):
    """A model that answers at once, but for one kind of question, over which it thinks for ever."""

    def __init__(self, about: str) -> None:
        super().__init__("Well.")
        self._about = about

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        await self._think(prompt)
        exits = [key for key in schema["properties"]["choice"]["enum"] if key.startswith("exit-")]
        return {"choice": exits[0] if self._about == "GenerateReflection" else "action-1"}

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        await self._think(prompt)
        yield "Well."

    async def _think(self, prompt: Prompt) -> None:
        if prompt.interaction == self._about:
            await asyncio.Event().wait()


@pytest.mark.parametrize("about", ["SelectNextAction", "GenerateReflection", "EngageUser"])
def test_a_model_that_thinks_without_end_is_given_up(serve: Serve, about: str) -> None:
    switch = Switch()
    stage = Stage(serve(models=Models(switch), turn={"stall_s": 0.5}), switch)
    user = stage.user("DefaultAdministratorRole")
    conversation_id = id_of(begin(user, stage.service(TWO_WAYS)))
    stage.play(Thinker(about))
    error = refused(user, conversation_id)
    assert error["http_error_code"] == 503
    stage.play(Puppet())
    assert go_on(user, conversation_id)[-1]["type"] == "interaction-complete"
