"""Tools in a turn: rounds of calls in every state that may have some, and what is told, kept and refused."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from support.random_graphs import ROOT, parsed
from support.samples import AGENT, action, decision, reflection, tool_call, tool_spec
from support.toolbox import BOOK, BROKEN, WEATHER, ScriptedToolbox
from support.waiting import until
from tertulia import events
from tertulia.engine.agent.interaction import interact
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import (
    Agent,
    Behavior,
    Incoming,
    IncomingType,
    Outcome,
    PendingCall,
    Person,
    Scene,
    ToolResult,
)
from tertulia.engine.agent.tool_rounds import MOST_OF_TURN, MOST_RESULT_CHARS, MOST_ROUNDS, Calling
from tertulia.engine.agent.tool_state import call_tool
from tertulia.engine.agent.toolbox import CallPlace, TurnTools
from tertulia.engine.graph.context_graph import Frame, Position, ToolCallSpec, ToolCallState
from tertulia.errors import ModelMisbehaved, ToolMissing, ToolResultTooLong
from tertulia.providers.base import LanguageModel, Prompt
from tertulia.providers.models.scripted import ScriptedModel

NOBODY: Any = None
Json = dict[str, Any]


class Asked:
    """A model that notes what it is asked, and answers as another does, or as it is told for a step, one by one."""

    def __init__(self, **answers: Sequence[Any]) -> None:
        self.default: LanguageModel = self
        self.fast: LanguageModel = self
        self.prompts: list[Prompt] = []
        self.schemas: list[Mapping[str, Any]] = []
        self._answers = {name: list(items) for name, items in answers.items()}
        self._scripted = ScriptedModel(8)

    def named(self, llm_name: str) -> LanguageModel | None:
        return None

    def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        self.prompts.append(prompt)
        return self._scripted.stream(prompt)

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        self.prompts.append(prompt)
        self.schemas.append(schema)
        answers = self._answers.get(prompt.interaction)
        if answers and "choice" not in schema["properties"]:
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer
        return await self._scripted.choose(prompt, schema)

    @property
    def about_tools(self) -> list[Prompt]:
        """The questions which tools to call."""
        return [prompt for prompt in self.prompts if "you may call tools" in prompt.question]

    @property
    def last(self) -> Prompt:
        return self.prompts[-1]


def spec(tool_id: str, **fields: Any) -> Json:
    return {**tool_spec(tool_id), **fields}


@dataclass
class Play:
    """One interaction in a graph, and what came of it."""

    states: Sequence[Json]
    says: str = "Hello."
    kind: IncomingType = "user-message"
    model: Asked = field(default_factory=Asked)
    toolbox: ScriptedToolbox = field(default_factory=ScriptedToolbox)
    scene: Json = field(default_factory=dict)
    patience_s: float = 60
    attempt: str = "attempt"
    begins: str = "start"
    actions: list[Any] = field(default_factory=list)
    reply: str = ""
    outcome: Outcome = NOBODY

    async def run(self) -> "Play":
        graphs = {ROOT: parsed(*self.states)}
        position = Position((Frame(ROOT, self.begins),))
        incoming = Incoming(self.kind, self.says)
        person = Person("User", None, "UTC", ())
        scene = Scene(Agent.model_validate(AGENT), graphs, position, person, (), incoming, {}, 1, **self.scene)
        self.outcome = Outcome(position, None)
        resources = Resources(self.model, NOBODY, tools=TurnTools(self.toolbox, self.attempt, self.patience_s))
        async with aclosing(interact(scene, self.outcome, resources)) as told:
            async for event in told:
                if isinstance(event, events.CurrentAgentAction):
                    self.actions.append(event.action)
                elif isinstance(event, events.NewMessage):
                    self.reply += event.message
        json.dumps(self.outcome.insights)
        return self

    def told(self, kind: type[Any]) -> list[Any]:
        return [action for action in self.actions if isinstance(action, kind)]

    @property
    def types(self) -> list[str]:
        return [events.action_type(action).removeprefix("navigate-state-machine-") for action in self.actions]


def log(name: str, tool_id: str, arguments: Json, output: str | None) -> Json:
    """The log of a call as insights tell it."""
    return {
        "tool_name": name,
        "tool_id": tool_id,
        "tool_version": "1.2.0",
        "input": arguments,
        "output": output,
        "duration": 0.25,
    }


RAIN = log("weather", WEATHER, {"city": "Oslo"}, None)
ASKS = "How is the weather? city: Oslo"


# --- Rounds ----------------------------------------------------------------------------------------------------------


async def test_an_action_state_calls_tools_to_choose_and_insights_tell_them() -> None:
    start = action("start", "end", exit_condition_tool_call_specs=[spec(WEATHER)])
    play = await Play([start, action("end")], ASKS).run()
    assert play.types == ["tool-call-started", "tool-call-ended", "action-state-action-selected"]
    started, ended = play.actions[:2]
    assert msgspec.to_builtins(started) == {
        "type": "tool-call-started",
        "tool_round_index": 1,
        "tool_id": WEATHER,
        "tool_version": "1.2.0",
        "input_params": {"city": "Oslo"},
    }
    assert msgspec.to_builtins(ended) == {
        "type": "tool-call-ended",
        "tool_round_index": 1,
        "tool_id": WEATHER,
        "tool_version": "1.2.0",
        "input_parameters": {"city": "Oslo"},
        "result": "Rain in Oslo.",
        "duration": 0.25,
    }
    assert play.outcome.insights["select_next_action_tool_call_logs"] == [[RAIN]]
    assert play.outcome.insights["engage_user_tool_call_logs"] == []
    [made] = play.toolbox.calls
    assert (made.place.type, made.place.graph, made.place.state) == ("state-transition", ROOT, "start")
    assert (made.place.transition_index, made.place.round_index) == (1, 1)
    [again] = [prompt for prompt in play.model.prompts if prompt.choice is not None]
    assert 'weather with {"city": "Oslo"} gave: Rain in Oslo.' in again.question
    assert "Rain" not in play.model.last.question, "an ephemeral result is for its question alone"


async def test_the_reply_is_told_what_its_own_tools_gave() -> None:
    start = action("start", "end", action_tool_call_specs=[spec(WEATHER)])
    play = await Play([start, action("end")], ASKS).run()
    assert play.types == ["action-state-action-selected", "tool-call-started", "tool-call-ended"]
    assert play.outcome.insights["engage_user_tool_call_logs"] == [[RAIN]]
    assert play.toolbox.calls[0].place.type == "engage-user"
    assert "gave: Rain in Oslo." in play.model.last.question
    assert play.outcome.tool_results == []


async def test_decisions_and_reflections_have_rounds_of_their_own() -> None:
    states = [
        action("start", "look"),
        {**decision("look", "think", "end"), "tool_call_specs": [spec(WEATHER)]},
        {**reflection("think", "rest"), "tool_call_specs": [spec(WEATHER)]},
        action("rest", "end"),
        action("end"),
    ]
    states[1]["exit_conditions"][0]["description"] = "It will rain"
    play = await Play(states, f"Look, {ASKS}").run()
    first, second, third = play.outcome.transitions
    assert (first["type"], first["tool_call_logs"]) == ("action", [])
    assert (second["type"], second["tool_call_logs"], second["next_state"]) == ("decision", [[RAIN]], "think")
    assert (third["type"], third["tool_call_logs"]) == ("reflection", [[RAIN]])
    assert [made.place.transition_index for made in play.toolbox.calls] == [2, 3]
    assert len({made.key for made in play.toolbox.calls}) == 2


async def test_calls_of_a_round_go_side_by_side() -> None:
    calls = [{"tool": "weather", "parameters": {"city": city}} for city in ("Oslo", "Bergen", "Oslo")]
    model = Asked(SelectNextAction=[{"calls": calls}, {"calls": []}])
    both = asyncio.Event()
    toolbox = ScriptedToolbox()

    async def wait(arguments: Mapping[str, Any]) -> str:
        if toolbox.running == 2:
            both.set()
        await both.wait()
        return f"Rain in {arguments['city']}."

    toolbox.answers[WEATHER] = wait
    start = action("start", "end", exit_condition_tool_call_specs=[spec(WEATHER)])
    play = await asyncio.wait_for(Play([start, action("end")], model=model, toolbox=toolbox).run(), 10)
    assert toolbox.most_running == 2
    assert play.types[:4] == ["tool-call-started"] * 2 + ["tool-call-ended"] * 2
    [round_] = play.outcome.insights["select_next_action_tool_call_logs"]
    assert [entry["input"]["city"] for entry in round_] == ["Oslo", "Bergen"]
    assert len({made.key for made in toolbox.calls}) == 2


async def test_a_state_without_a_choice_asks_for_no_tools_to_choose_by() -> None:
    play = await Play([action("start", exit_condition_tool_call_specs=[spec(WEATHER)]), action("end")], ASKS).run()
    assert (play.toolbox.calls, play.model.about_tools) == ([], [])


# --- What a model does wrong -----------------------------------------------------------------------------------------


def calls(*parameters: Any, tool: str = "book_slot") -> Json:
    return {"calls": [{"tool": tool, "parameters": item} for item in parameters]}


GOOD = {"day": "Monday", "hour": 9}


@pytest.mark.parametrize(
    ("answers", "made"),
    [
        ([calls({**GOOD, "note": None}), calls()], [GOOD]),
        ([calls({"day": "Monday"}), GOOD, calls()], [GOOD]),
        ([calls({"day": "Sunday", "hour": 9}), {"hour": 99}, GOOD, calls()], [GOOD]),
        ([calls({"day": "Sunday"}), {"day": "Sunday"}, {"day": "Sunday"}, calls()], []),
        ([calls("Monday"), None, [], calls()], []),
        ([calls({**GOOD, "evil": 1}), ModelMisbehaved("no JSON"), GOOD, calls()], [GOOD]),
        ([calls({}, tool="rm_rf"), calls(GOOD), calls()], [GOOD]),
        ([{"calls": "all"}], []),
        ([{"calls": [None, 3, {"tool": 3}, {}]}], []),
        ([["book_slot"]], []),
        ([ModelMisbehaved("no JSON")], []),
        ([calls(GOOD), calls(GOOD)], [GOOD]),
        ([calls(GOOD), calls({**GOOD, "hour": 10}), calls(GOOD, {**GOOD, "hour": 10})], [GOOD, {**GOOD, "hour": 10}]),
    ],
)
async def test_whatever_a_model_asks_for_only_what_fits_is_called(answers: list[Any], made: list[Json]) -> None:
    model = Asked(SelectNextAction=answers)
    start = action("start", "end", exit_condition_tool_call_specs=[spec(BOOK)])
    play = await Play([start, action("end")], model=model).run()
    assert play.toolbox.made == [("book_slot", arguments) for arguments in made]
    assert isinstance(play.actions[-1], events.ActionSelected)
    assert play.reply


async def test_parameters_are_asked_for_again_twice_with_their_problem() -> None:
    model = Asked(SelectNextAction=[calls({"day": "Sunday", "hour": 9}), {"day": "Monday", "hour": "x"}, GOOD, calls()])
    start = action("start", "end", exit_condition_tool_call_specs=[spec(BOOK)])
    await Play([start, action("end")], model=model).run()
    repairs = [prompt.question for prompt in model.prompts if "do not fit" in prompt.question]
    assert len(repairs) == 2
    assert '"Sunday" is not one of' in repairs[0]
    assert 'hour: "x" is not of type "integer"' in repairs[1]


async def test_rounds_without_end_are_bounded_in_a_question_and_in_a_turn() -> None:
    class Endless(Asked):
        async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
            if "calls" in schema["properties"]:
                self.prompts.append(prompt)
                cities = [f"{len(self.prompts)}-{number}" for number in range(20)]
                return calls(*({"city": city} for city in cities), tool="weather")
            return await super().choose(prompt, schema)

    tools: Json = {"exit_condition_tool_call_specs": [spec(WEATHER)], "action_tool_call_specs": [spec(WEATHER)]}
    model = Endless()
    play = await Play([action("start", "end", **tools), action("end")], model=model).run()
    assert len(play.toolbox.calls) == MOST_OF_TURN
    assert len(model.about_tools) == MOST_ROUNDS
    assert max(ended.tool_round_index for ended in play.told(events.ToolCallEnded)) == MOST_ROUNDS


# --- What a tool does wrong ------------------------------------------------------------------------------------------


async def test_a_failure_is_told_to_the_model_and_recorded() -> None:
    model = Asked(SelectNextAction=[calls({}, tool="broken"), calls()])
    kept = spec(BROKEN, result_persistence="persisted")
    start = action("start", "end", exit_condition_tool_call_specs=[kept])
    play = await Play([start, action("end")], model=model).run()
    told = "The tool failed: ValueError: no such town"
    assert [ended.result for ended in play.told(events.ToolCallEnded)] == [told]
    [[entry]] = play.outcome.insights["select_next_action_tool_call_logs"]
    assert (entry["output"], entry["duration"]) == (told, 0.012)
    assert told in model.last.question


async def hang(_arguments: Mapping[str, Any]) -> str:
    await asyncio.Event().wait()
    return "late"


async def test_a_tool_that_hangs_is_stopped_and_has_failed() -> None:
    toolbox = ScriptedToolbox()
    toolbox.answers[WEATHER] = hang
    start = action("start", "end", exit_condition_tool_call_specs=[spec(WEATHER)])
    play = await Play([start, action("end")], ASKS, toolbox=toolbox, patience_s=0.05).run()
    [ended] = play.told(events.ToolCallEnded)
    assert ended.result == "The tool failed: Timeout: The tool gave no answer within 0.05 seconds."
    assert toolbox.stopped == ["weather"]


async def test_an_interaction_that_is_cancelled_stops_its_tools() -> None:
    toolbox = ScriptedToolbox()
    toolbox.answers[WEATHER] = hang
    start = action("start", "end", exit_condition_tool_call_specs=[spec(WEATHER)])
    turn = asyncio.create_task(Play([start, action("end")], ASKS, toolbox=toolbox).run())
    await until(lambda: toolbox.running, 0)
    turn.cancel()
    await asyncio.wait([turn])
    assert (turn.cancelled(), toolbox.stopped, toolbox.running) == (True, ["weather"], 0)


async def test_of_ten_megabytes_a_model_and_an_event_get_the_ends() -> None:
    toolbox = ScriptedToolbox()
    toolbox.answers[WEATHER] = lambda _arguments: "a" * 5_000_000 + "\0\ud800" + "z" * 5_000_000
    preferred = spec(WEATHER, result_persistence="persisted-preferred")
    start = action("start", "end", exit_condition_tool_call_specs=[preferred])
    play = await Play([start, action("end")], ASKS, toolbox=toolbox).run()
    [ended] = play.told(events.ToolCallEnded)
    assert len(ended.result) <= MOST_RESULT_CHARS
    assert (ended.result[0], ended.result[-1]) == ("a", "z")
    assert play.outcome.insights["select_next_action_tool_call_logs"][0][0]["output"] is None
    assert play.outcome.tool_results == []
    assert max(len(prompt.question) for prompt in play.model.prompts) < 2 * MOST_RESULT_CHARS


@pytest.mark.parametrize("schema", [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "nonsense"}}}])
async def test_a_tool_with_a_broken_schema_is_never_called(schema: Json) -> None:
    toolbox = ScriptedToolbox()
    toolbox.add(WEATHER, "weather", "Tells the weather.", schema, lambda _arguments: "Rain.")
    start = action("start", "end", exit_condition_tool_call_specs=[spec(WEATHER)])
    play = await Play([start, action("end")], ASKS, toolbox=toolbox).run()
    assert (toolbox.calls, bool(play.reply)) == ([], True)


async def test_a_tool_that_is_not_there_is_an_error_that_says_so() -> None:
    start = action("start", "end", exit_condition_tool_call_specs=[spec("f" * 24)])
    with pytest.raises(ToolMissing, match=f"There is no tool {'f' * 24}"):
        await Play([start, action("end")]).run()


# --- Persistence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("persistence", "length", "kept"),
    [
        ("ephemeral", 10, False),
        ("persisted-preferred", 5000, True),
        ("persisted-preferred", 5001, False),
        ("persisted", 5000, True),
    ],
)
async def test_a_result_lasts_as_its_use_says(persistence: str, length: int, kept: bool) -> None:
    toolbox = ScriptedToolbox()
    toolbox.answers[WEATHER] = lambda _arguments: "r" * length
    start = action("start", "end", exit_condition_tool_call_specs=[spec(WEATHER, result_persistence=persistence)])
    play = await Play([start, action("end")], ASKS, toolbox=toolbox).run()
    [[entry]] = play.outcome.insights["select_next_action_tool_call_logs"]
    assert entry["output"] == ("r" * length if kept else None)
    assert [result.output for result in play.outcome.tool_results] == (["r" * length] if kept else [])
    assert ("rrr" in play.model.last.question) is kept


async def test_a_result_that_must_be_persisted_and_is_too_long_voids_the_turn() -> None:
    toolbox = ScriptedToolbox()
    toolbox.answers[WEATHER] = lambda _arguments: "r" * 5001
    start = action("start", "end", exit_condition_tool_call_specs=[spec(WEATHER, result_persistence="persisted")])
    with pytest.raises(ToolResultTooLong, match="The result of the tool weather has 5001 characters"):
        await Play([start, action("end")], ASKS, toolbox=toolbox).run()


async def test_a_later_turn_is_told_a_kept_result_at_its_place() -> None:
    moment = Outcome(NOBODY, None).began
    kept = ToolResult(tool_name="weather", arguments={"city": "Oslo"}, output="Rain.", at=moment)
    play = await Play([action("start", "end"), action("end")], scene={"tool_results": [kept]}).run()
    assert '(Tool weather with {"city": "Oslo"} gave: Rain.)' in play.model.last.turns[0].content


# --- Tool-call states ------------------------------------------------------------------------------------------------


def booking(**fields: Any) -> list[Json]:
    designated = fields.pop("designated_tool", spec(BOOK, result_persistence="persisted-preferred"))
    state = {**tool_call("book", "told", BOOK), "designated_tool": designated, **fields}
    return [action("start", "book"), state, action("told", "end"), action("end")]


async def test_a_tool_call_state_tells_each_step_and_goes_on() -> None:
    play = await Play(
        booking(tool_call_specs=[spec(WEATHER)]), "To book: day=Monday, hour=9, weather in city=Oslo"
    ).run()
    assert play.types == [
        "exit-condition-selected",
        "state-transitioned",
        "designated-tool-retrieved",
        "tool-call-started",
        "tool-call-ended",
        "designated-tool-call-params-generated",
        "tool-call-started",
        "tool-call-ended",
        "tool-call-state-tool-output-available",
        "state-transitioned",
        "action-state-action-selected",
    ]
    told = dict(zip(play.types, map(msgspec.to_builtins, play.actions), strict=True))
    named = {"tool_id": BOOK, "tool_version": "1.2.0"}
    assert told["designated-tool-retrieved"] == {"type": "designated-tool-retrieved", **named}
    assert told["designated-tool-call-params-generated"]["tool_call_params"] == GOOD
    assert told["tool-call-ended"]["tool_round_index"] == 2
    assert told["tool-call-state-tool-output-available"] == {
        "type": "navigate-state-machine-tool-call-state-tool-output-available",
        **named,
        "tool_output": "Booked Monday at 9.",
        "duration": 0.25,
        "input_arguments": GOOD,
    }
    transition = play.outcome.transitions[1]
    assert (transition["type"], transition["next_state"]) == ("tool-call", "told")
    assert transition["tool_call_logs"] == [[RAIN]]
    assert transition["designated_tool_call_log"] == log("book_slot", BOOK, GOOD, "Booked Monday at 9.")
    assert "gave: Booked Monday at 9." in play.model.last.question
    assert [made.place.type for made in play.toolbox.calls] == ["tool-call-state"] * 2
    assert [result.lasts for result in play.outcome.tool_results] == [True]


async def test_the_output_of_an_ephemeral_designated_tool_is_told_in_this_turn_alone() -> None:
    play = await Play(booking(designated_tool=spec(BOOK)), "To book: day=Monday hour=9").run()
    assert play.outcome.transitions[1]["designated_tool_call_log"]["output"] is None
    assert "gave: Booked Monday at 9." in play.model.last.question
    assert [result.lasts for result in play.outcome.tool_results] == [False]


@pytest.mark.parametrize(
    ("answers", "called"),
    [
        ([{"day": "Sunday"}, GOOD, {"broken": []}], True),
        ([GOOD, {"broken": ["rule-1"]}, {"day": "Tuesday", "hour": 9}, {"broken": []}], True),
        ([GOOD, {"broken": ["rule-1"]}, GOOD, {"broken": ["rule-2"]}, GOOD, {"broken": ["rule-1"]}], False),
        ([GOOD, {"broken": "none"}], False),
        ([None], False),
    ],
)
async def test_a_designated_tool_is_called_only_if_every_validation_is_passed(answers: list[Any], called: bool) -> None:
    rules = ["The user has agreed.", "The day is free."]
    model = Asked(GenerateToolParams=answers)
    play = await Play(booking(designated_tool_call_validations=rules), "I want to book.", model=model).run()
    assert len(play.toolbox.calls) == int(called)
    output = play.told(events.ToolOutputAvailable)[0].tool_output
    assert output.startswith("Booked" if called else "The tool was not called:")
    assert play.outcome.transitions[1]["designated_tool_call_log"]["duration"] == (0.25 if called else 0)
    assert output in model.last.question
    assert play.reply


async def test_a_designated_tool_that_fails_leads_on() -> None:
    play = await Play(booking(designated_tool=spec(BROKEN)), "I want to book.").run()
    assert play.outcome.position.top.state == "told"
    assert "The tool failed: ValueError: no such town" in play.model.last.question
    assert not [prompt for prompt in play.model.prompts if prompt.interaction == "GenerateToolParams"]


# --- Behaviours ------------------------------------------------------------------------------------------------------


def behavior(*tool_ids: str, overrides: bool = False) -> Behavior:
    specs = tuple(ToolCallSpec.model_validate(spec(tool_id)) for tool_id in tool_ids)
    return Behavior(("b" * 24, 1), "Rain", ("weather",), (), False, specs, overrides)


@pytest.mark.parametrize(
    ("changes", "offered"),
    [
        (behavior(WEATHER), ["weather", "book_slot"]),
        (behavior(WEATHER, overrides=True), ["weather"]),
        (behavior(overrides=True), []),
    ],
)
async def test_a_behaviour_changes_the_tools_that_are_offered(changes: Behavior, offered: list[str]) -> None:
    start = action("start", "end", exit_condition_tool_call_specs=[spec(BOOK)])
    scene = {"behaviors": [changes], "previous_behavior": changes.version}
    play = await Play([start, action("end")], "What weather?", scene=scene).run()
    [override] = play.told(events.NavigationOverridden)
    assert override == events.NavigationOverridden(False, changes.overrides_tools)
    assert play.told(events.SpeechOverridden) == [events.SpeechOverridden(False, changes.overrides_tools)]
    forms = [
        schema["properties"]["calls"]["items"]["anyOf"]
        for schema in play.model.schemas
        if "calls" in schema["properties"]
    ]
    first = [form["properties"]["tool"]["enum"][0] for form in forms[0]] if forms else []
    assert first == offered


async def test_no_tool_is_called_before_the_behaviour_is_certain() -> None:
    class Slow(Asked):
        go = asyncio.Event()

        async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
            if prompt.interaction == "SelectDynamicBehavior":
                await self.go.wait()
            return await super().choose(prompt, schema)

    model = Slow()
    other = Behavior(("b" * 24, 1), "Weather", ("weather",), ("Be brief.",), False)
    start = action("start", "end", exit_condition_tool_call_specs=[spec(WEATHER)])
    play = Play([start, action("end")], ASKS, model=model, scene={"behaviors": [other]})
    turn = asyncio.create_task(play.run())
    await until(lambda: model.about_tools, 0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert play.toolbox.calls == []
    model.go.set()
    await turn
    assert play.toolbox.made == [("weather", {"city": "Oslo"})], "the walk that was given up has called nothing"


# --- Effects and yes -------------------------------------------------------------------------------------------------


async def test_a_turn_that_is_tried_again_gives_its_calls_the_same_keys() -> None:
    def keys(play: Play) -> list[str]:
        return [made.key for made in play.toolbox.calls]

    says = "To book: day=Monday hour=9, weather city=Oslo"
    states = booking(tool_call_specs=[spec(WEATHER)])
    first, again = await Play(states, says).run(), await Play(states, says).run()
    assert keys(first) == keys(again)
    assert len(set(keys(first))) == 2
    other = await Play(states, says, attempt="another").run()
    assert not set(keys(first)) & set(keys(other))


CONFIRMED = spec(BOOK, needs_confirmation=True)


@pytest.mark.parametrize(
    "states",
    [
        [action("start", "end", exit_condition_tool_call_specs=[CONFIRMED]), action("end")],
        [action("start", "end", action_tool_call_specs=[CONFIRMED]), action("end")],
        booking(designated_tool=CONFIRMED),
    ],
)
async def test_a_call_that_needs_a_yes_is_asked_for_and_not_made(states: list[Json]) -> None:
    play = await Play(states, "Book an appointment: day=Monday hour=9").run()
    assert play.toolbox.calls == []
    [call] = play.outcome.pending_calls
    assert (call.tool_name, call.tool_version, call.arguments) == ("book_slot", "1.2.0", GOOD)
    assert 'exactly this, with every detail: book_slot with {"day": "Monday", "hour": 9}' in play.model.last.question
    assert 'book_slot with {"day": "Monday", "hour": 9}' in play.reply
    assert [waiting["arguments"] for waiting in play.outcome.insights["pending_tool_calls"]] == [GOOD]


async def test_a_conversation_is_not_over_while_the_user_has_yet_to_agree() -> None:
    state = {**tool_call("book", "end", BOOK), "designated_tool": CONFIRMED}
    states = [action("start", "book"), state, action("end")]
    asked = await Play(states, "Book an appointment: day=Monday hour=9").run()
    assert (asked.outcome.position.top.state, asked.outcome.finished) == ("end", False)
    pending = {"pending_calls": asked.outcome.pending_calls}
    done = await Play(states, "Yes.", scene=pending, begins="end").run()
    assert (done.toolbox.made, done.outcome.finished) == ([("book_slot", GOOD)], True)


def waiting(**fields: Any) -> PendingCall:
    made = {"spec": CONFIRMED, "tool_name": "book_slot", "tool_version": "1.2.0", "arguments": GOOD, "key": "k" * 32}
    return PendingCall.model_validate({**made, **fields})


@pytest.mark.parametrize(
    ("says", "kind", "made"),
    [
        ("Yes.", "user-message", True),
        ("Yes please, go ahead!", "user-message", True),
        ("Yes, but on Tuesday.", "user-message", False),
        ("Yes, at 10", "user-message", False),
        ("Yes?", "user-message", False),
        ("No.", "user-message", False),
        ("What does it cost?", "user-message", False),
        ("Yes.", "external-event", False),
        ("", "skip", False),
    ],
)
async def test_only_a_clear_yes_of_the_user_releases_exactly_what_was_shown(
    says: str, kind: IncomingType, made: bool
) -> None:
    pending = {"pending_calls": [waiting()]}
    play = await Play([action("start", "end"), action("end")], says, kind, scene=pending).run()
    assert [(call.arguments, call.key) for call in play.toolbox.calls] == ([(GOOD, "k" * 32)] if made else [])
    assert play.outcome.pending_calls == []
    told = "gave: Booked Monday at 9." if made else "gave: Nothing was done, for the user did not clearly agree."
    assert told in play.model.last.question
    assert len(play.outcome.insights["select_next_action_tool_call_logs"]) == int(made)


@pytest.mark.parametrize("kind", ["external-event", "skip"])
async def test_nobody_but_the_user_can_agree(kind: IncomingType) -> None:
    class Agreeable(Asked):
        async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
            return (
                {"choice": "yes"} if prompt.interaction == "ConfirmToolCalls" else await super().choose(prompt, schema)
            )

    scene = {"pending_calls": [waiting()]}
    play = Play([action("start", "end"), action("end")], "Yes.", kind, model=Agreeable(), scene=scene)
    assert (await play.run()).toolbox.calls == []


async def test_what_the_user_agreed_to_is_not_asked_for_again_in_the_same_turn() -> None:
    model = Asked(SelectNextAction=[calls(GOOD)])
    start = action("start", "end", exit_condition_tool_call_specs=[CONFIRMED])
    play = await Play([start, action("end")], "Yes.", model=model, scene={"pending_calls": [waiting()]}).run()
    assert play.toolbox.made == [("book_slot", GOOD)]
    assert play.outcome.pending_calls == []


async def test_a_version_that_is_gone_meanwhile_is_not_called() -> None:
    scene = {"pending_calls": [waiting(tool_version="9.9.9")]}
    play = await Play([action("start", "end"), action("end")], "Yes.", scene=scene).run()
    assert play.toolbox.calls == []
    assert "gave: Nothing was done: There is no tool" in play.model.last.question


# --- Fillers ---------------------------------------------------------------------------------------------------------


class AlwaysLate:
    """Fillers of a turn in which every step takes long."""

    async def meanwhile(
        self, step: asyncio.Task[Any], started: Any, fillers: Sequence[str], after_s: float
    ) -> events.ActionTooLong | None:
        return events.ActionTooLong(f"{fillers[0]} after {after_s:g}", started) if fillers else None


async def test_parameters_and_calls_that_take_long_are_filled_once_each() -> None:
    slow = {"audio_fillers": ["I am writing it in."], "audio_filler_triggered_after": 3}
    fields = {
        "designated_tool_call_params_generation_audio_fillers": ["I am looking for a pen."],
        "designated_tool_call_params_generation_audio_filler_triggered_after": 2,
        "tool_call_specs": [spec(WEATHER)],
        "designated_tool_call_validations": ["The day is free."],
    }
    graphs = {ROOT: parsed(*booking(designated_tool=spec(BOOK, **slow), **fields))}
    state = graphs[ROOT].by_name["book"]
    assert isinstance(state, ToolCallState)
    position = Position((Frame(ROOT, "book"),))
    person = Person("User", None, "UTC", ())
    incoming = Incoming("user-message", "To book: day=Monday hour=9")
    scene = Scene(Agent.model_validate(AGENT), graphs, position, person, (), incoming, {}, 1)
    outcome = Outcome(position, None)
    outcome.add("user-message", "User", incoming.text)
    late: Any = AlwaysLate()
    calling = Calling(scene, outcome, Resources(Asked(), NOBODY, tools=TurnTools(ScriptedToolbox())), late)
    place = CallPlace("tool-call-state", ROOT, "book")
    steps = [step async for step in call_tool(calling, state, place, {})]
    filled = [step for step in steps if isinstance(step, events.ActionTooLong)]
    assert [(filler.filler, events.action_type(filler.previously_started_event)) for filler in filled] == [
        ("I am looking for a pen. after 2", "designated-tool-retrieved"),
        ("I am writing it in. after 3", "tool-call-started"),
    ]
