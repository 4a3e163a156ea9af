"""A tool-call state: its one tool is retrieved, its parameters are generated and judged, and it is called.

A tool that fails, parameters that never fit, and a call that waits for the user's yes lead on all the same: the next
state is told what came of it.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from tertulia import clock, events
from tertulia.engine.agent import prompt
from tertulia.engine.agent.scene import ToolResult
from tertulia.engine.agent.tool_rounds import (
    REPAIRS,
    Call,
    Calling,
    Offer,
    Rounds,
    as_json,
    ask,
    find,
    fit,
    hold,
    logged,
)
from tertulia.engine.agent.toolbox import CallPlace
from tertulia.engine.graph.context_graph import ToolCallState
from tertulia.engine.speech.fillers import Wait, begun


async def call_tool(
    calling: Calling, state: ToolCallState, place: CallPlace, log: dict[str, Any]
) -> AsyncGenerator[events.AnyAction, None]:
    """Call the tool of a state. Yield each step when it is taken; `log` takes what the log of the transition tells.

    Raises:
        ToolMissing, ToolResultTooLong, ModelError: see tool_rounds.Rounds.run.
    """
    offer = await find(calling.resources.tools.toolbox, state.designated_tool)
    tool = offer.tool
    yield (started := events.DesignatedToolRetrieved(tool.tool_id, tool.version))
    wait = Wait(
        calling.fillers,
        started,
        state.designated_tool_call_params_generation_audio_fillers,
        state.designated_tool_call_params_generation_audio_filler_triggered_after,
    )
    helping = Rounds(calling, place)
    need = prompt.Need(prompt.GENERATE_TOOL_PARAMS, state.designated_tool_call_objective)
    async with aclosing(helping.run(state.tool_call_specs, need, wait)) as steps:
        async for step in steps:
            yield step
    async with begun(_generate(calling, state, offer, helping)) as generating:
        filler = await wait.beside(generating)
        if filler is not None:
            yield filler
        arguments, problem = await generating
    yield events.DesignatedToolCallParamsGenerated(tool.tool_id, tool.version, arguments)
    log["tool_call_logs"] = list(helping.logs)
    call = Call(offer, arguments, helping.key(tool))
    log["designated_tool_call_log"] = logged(call, None, 0)
    made = _Made(calling, place, helping, call, problem)
    async with aclosing(made.steps()) as steps:
        async for step in steps:
            yield step
    log["designated_tool_call_log"] = made.log
    yield events.ToolOutputAvailable(tool.tool_id, tool.version, made.output, made.log["duration"], arguments)


class _Made:
    """The call of a designated tool, if it comes to that."""

    def __init__(self, calling: Calling, place: CallPlace, helping: Rounds, call: Call, problem: str | None) -> None:
        self.output = ""
        self.log: dict[str, Any] = {}
        self._calling = calling
        self._place = place
        self._helping = helping
        self._call = call
        self._problem = problem

    async def steps(self) -> AsyncGenerator[events.AnyAction, None]:
        """Make the call, unless something is in its way. Yield each step; the output is told to all later questions."""
        if self._problem is not None:
            self._tell(f"The tool was not called: {self._problem}")
        elif self._call.offer.needs_confirmation:
            hold(self._calling.outcome, self._call)
            self.output = "The tool was not called: the user has to agree first."
            self.log = logged(self._call, self.output, 0)
        else:
            designated = Rounds(self._calling, self._place, lasts_turn=True, done=len(self._helping.logs))
            async with aclosing(designated.call([self._call])) as steps:
                async for step in steps:
                    if isinstance(step, events.ToolCallEnded):
                        self.output = step.result
                    yield step
            [[self.log]] = designated.logs

    def _tell(self, output: str) -> None:
        self.output = output
        self.log = logged(self._call, output, 0)
        told = ToolResult(
            tool_name=self._call.offer.tool.name,
            arguments=self._call.arguments,
            output=output,
            at=clock.now(),
            lasts=False,
        )
        self._calling.outcome.tool_results.append(told)


async def _generate(
    calling: Calling, state: ToolCallState, offer: Offer, helping: Rounds
) -> tuple[dict[str, Any], str | None]:
    """Ask for parameters until they fit. Return the last ones, and what is wrong with them, None if nothing is.

    A tool without parameters, of which nothing has to be true, is called without a question.
    """
    shown = offer.shown
    if not shown.schema["properties"] and not state.designated_tool_call_validations:
        return fit(offer, {})
    wrong: tuple[str, str] | None = None
    for repairs in range(REPAIRS + 1):
        talk = prompt.said_so_far(calling.scene, calling.outcome, helping.told)
        question = prompt.generate_tool_params(calling.scene, state, talk, (offer.tool.name, shown), wrong)
        parameters = await ask(calling, question, shown.schema)
        fitting, problem = fit(offer, parameters)
        problem = problem or await _broken(calling, state, offer, fitting, talk)
        if problem is None or repairs == REPAIRS:
            return fitting, problem
        wrong = (as_json(parameters), problem)
    raise AssertionError("the last repair returns")


async def _broken(
    calling: Calling, state: ToolCallState, offer: Offer, arguments: dict[str, Any], talk: prompt.Said
) -> str | None:
    """Ask which validations of a state a call breaks. Return them in words, or None. No usable answer passes none."""
    if not state.designated_tool_call_validations:
        return None
    call = prompt.called(offer.tool.name, arguments)
    question, schema, rules = prompt.validate_tool_params(calling.scene, state, talk, call)
    answer = await ask(calling, question, schema)
    broken = cast("dict[str, Any]", answer).get("broken") if isinstance(answer, dict) else None
    if not isinstance(broken, list):
        return "it could not be judged if this is true: " + " ".join(rules.values())
    keys = cast("list[Any]", broken)
    told = [text for key, text in rules.items() if key in keys]
    return "this is not true: " + " ".join(told) if told else None
