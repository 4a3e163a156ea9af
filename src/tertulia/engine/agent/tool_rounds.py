"""Rounds of tool calls within one question to a model: which tools to call, the calls side by side, and their results.

The model is asked for calls, or none, in a form of its own before the question itself; every model can do that, and
small ones ignore what vendors have for it. Parameters are judged by the tool's schema, and asked for again if they are
wrong. Whatever a tool does is told to the model as text, a failure too.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec
import structlog

from tertulia import clock, events
from tertulia.engine.agent import prompt, tool_parameters
from tertulia.engine.agent.models import model_for
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Outcome, PendingCall, Scene, ToolResult, ToolRound
from tertulia.engine.agent.toolbox import CallPlace, Tool, Toolbox
from tertulia.engine.graph.context_graph import ToolCallSpec
from tertulia.engine.speech.fillers import Fillers, Wait, begun
from tertulia.errors import ModelMisbehaved, ToolResultTooLong
from tertulia.texts import storable
from tertulia.tools.arguments import problem_of_arguments, problem_of_schema
from tertulia.tools.values import ToolFailed, ToolOutcome, ToolSucceeded

MOST_ROUNDS = 5
"""Times that a model is asked for calls within one question."""

MOST_CALLS = 8
"""Calls of a round."""

MOST_OF_TURN = 40
"""Calls of a turn; no more are asked for after that."""

REPAIRS = 2
"""Times that wrong parameters are asked for again."""

PERSISTED_CHARS = 5000
"""Characters of a result that later turns are told; the contract's."""

MOST_RESULT_CHARS = 20_000
"""Characters of a result that a model is shown and an event tells; of a longer one, the beginning and the end."""

HEARTBEAT_S = 1.0
"""Seconds between two signs of life of a tool that runs."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool that a model may choose, and the use that a state makes of it."""

    tool: Tool
    spec: ToolCallSpec

    @property
    def shown(self) -> prompt.ChoosableTool:
        """The tool as a question describes it."""
        schema = self.tool.input_schema
        use = " ".join(f"{self.tool.description} {self.spec.additional_instruction}".split())
        return prompt.ChoosableTool(use, tool_parameters.described(schema), tool_parameters.asked(schema))

    @property
    def needs_confirmation(self) -> bool:
        """True if the user has to agree to each call."""
        return self.tool.needs_confirmation or self.spec.needs_confirmation

    def problem(self, arguments: Mapping[str, Any]) -> str | None:
        """Judge arguments. Return what is wrong with them, or with the schema, in words; None if nothing is."""
        broken = problem_of_schema(self.tool.input_schema)
        return f"the tool's own schema is broken: {broken}" if broken else self._misfit(arguments)

    def _misfit(self, arguments: Mapping[str, Any]) -> str | None:
        try:
            return problem_of_arguments(arguments, self.tool.input_schema)
        except (ValueError, OverflowError, RecursionError):
            return "a value is too large or too deep"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is about to be made."""

    offer: Offer
    arguments: dict[str, Any]
    key: str


@dataclass(frozen=True, slots=True)
class Calling:
    """An interaction as its tools see it."""

    scene: Scene
    outcome: Outcome
    resources: Resources
    fillers: Fillers | None = None


async def find(toolbox: Toolbox, spec: ToolCallSpec) -> Offer:
    """Look for the tool of a use. Return the offer. Raises ToolMissing."""
    return Offer(await toolbox.find(spec), spec)


class Rounds:
    """The calls within one question to a model, after `done` rounds of the question that were others.

    `lasts_turn`: all later questions of the turn are told the results.
    """

    def __init__(self, calling: Calling, place: CallPlace, *, lasts_turn: bool = False, done: int = 0) -> None:
        self.logs: list[ToolRound] = []
        """The calls, round by round, as insights tell them."""
        self.told: list[str] = []
        """The results that this question alone is told."""
        self.calling = calling
        self._place = place
        self._lasts_turn = lasts_turn
        self._done = done
        self._seen: set[tuple[str, str]] = set()

    @property
    def round_index(self) -> int:
        """The number of the next round."""
        return self._done + len(self.logs) + 1

    async def run(
        self, specs: Sequence[ToolCallSpec], need: prompt.Need, wait: Wait | None = None
    ) -> AsyncGenerator[events.AnyAction, None]:
        """Let the model call tools until it wants no more. Yield each step when it is taken.

        Raises:
            ToolMissing: a tool that is offered is not there.
            ToolResultTooLong: a result that is to be persisted is too long.
            ModelError: the model cannot be had.
        """
        toolbox = self.calling.resources.tools.toolbox
        offers = _named(await asyncio.gather(*(find(toolbox, spec) for spec in specs)))
        for _ in range(MOST_ROUNDS):
            if not offers or self.calling.outcome.tool_calls >= MOST_OF_TURN:
                return
            async with begun(self._wanted(offers, need)) as question:
                filler = None if wait is None else await wait.beside(question)
                if filler is not None:
                    yield filler
                calls, is_over = await question
            async with aclosing(self.call(calls)) as steps:
                async for step in steps:
                    yield step
            if is_over:
                return

    async def call(self, calls: Sequence[Call]) -> AsyncGenerator[events.AnyAction, None]:
        """Make calls side by side, as one round. Yield each step when it is taken. Raises ToolResultTooLong."""
        if not calls:
            return
        steps: asyncio.Queue[events.AnyAction | None] = asyncio.Queue()
        self.calling.outcome.tool_calls += len(calls)
        async with begun(self._all(calls, steps)) as running:
            while (step := await steps.get()) is not None:
                yield step
            outcomes = await running
        round_ = [self._note(call, outcome) for call, outcome in zip(calls, outcomes, strict=True)]
        self.logs.append(round_)

    def key(self, tool: Tool, number: int = 1) -> str:
        """Name the `number`th call of a tool in the next round. Return its idempotency key."""
        place = replace(self._place, round_index=self.round_index)
        return self.calling.resources.tools.key(place, tool.tool_id, number)

    # --- The question ------------------------------------------------------------------------------------------------

    async def _wanted(self, offers: Mapping[str, Offer], need: prompt.Need) -> tuple[list[Call], bool]:
        """Ask which tools to call. Return the calls, and True if there is no reason to ask again."""
        calling = self.calling
        talk = prompt.said_so_far(calling.scene, calling.outcome, self.told)
        shown = {name: offer.shown for name, offer in offers.items()}
        question, schema = prompt.select_tools(calling.scene, need, talk, shown, MOST_CALLS)
        wanted = _wanted(await ask(calling, question, schema))[:MOST_CALLS]
        calls: list[Call] = []
        refused = len(self.told)
        for name, parameters in wanted[: MOST_OF_TURN - calling.outcome.tool_calls]:
            offer = offers.get(name)
            if offer is None:
                self.told.append(f"There is no tool {name[:100]!r} to call now.")
            elif self._is_new(offer, parameters):
                await self._prepare(offer, parameters, need, calls)
        return calls, not calls and len(self.told) == refused

    async def _prepare(self, offer: Offer, parameters: Any, need: prompt.Need, calls: list[Call]) -> None:
        """Make a call of parameters that fit, and add it to `calls` or to those that wait for the user's yes."""
        fitting, problem = await self._repaired(offer, parameters, need)
        if problem is not None:
            self.told.append(f"{offer.tool.name} was not called, for its parameters do not fit: {problem}")
            return
        number = sum(call.offer.tool.tool_id == offer.tool.tool_id for call in calls) + 1
        call = Call(offer, fitting, self.key(offer.tool, number))
        if offer.needs_confirmation:
            hold(self.calling.outcome, call)
        else:
            calls.append(call)

    async def _repaired(self, offer: Offer, parameters: Any, need: prompt.Need) -> tuple[dict[str, Any], str | None]:
        """Judge parameters, and ask for them again while they are wrong. Return the last ones, and their problem."""
        calling, shown = self.calling, offer.shown
        for repairs in range(REPAIRS + 1):
            fitting, problem = fit(offer, parameters)
            if problem is None or repairs == REPAIRS:
                return fitting, problem
            talk = prompt.said_so_far(calling.scene, calling.outcome, self.told)
            wrong = (as_json(parameters), problem)
            question = prompt.repair_parameters(calling.scene, need, talk, (offer.tool.name, shown), wrong)
            parameters = await ask(calling, question, shown.schema)
        raise AssertionError("the last repair returns")

    def _is_new(self, offer: Offer, parameters: Any) -> bool:
        """Note a call. Return False if this question has had the very same, or it waits or was agreed to."""
        said = fit(offer, parameters)[0] if isinstance(parameters, dict) else parameters
        outcome, this = self.calling.outcome, (offer.tool.tool_id, as_json(said))
        waiting = [(call.spec.tool_id, as_json(call.arguments)) for call in outcome.pending_calls]
        if this in self._seen or this in waiting or this in outcome.released:
            return False
        self._seen.add(this)
        return True

    # --- The calls ---------------------------------------------------------------------------------------------------

    async def _all(self, calls: Sequence[Call], steps: "asyncio.Queue[events.AnyAction | None]") -> list[ToolOutcome]:
        """Make calls side by side. Put each step into the queue, and None after the last. Return the outcomes."""
        try:
            async with AsyncExitStack() as stack:
                started = [self._started(call) for call in calls]
                for step in started:
                    steps.put_nowait(step)
                made = [self._one(call, step, steps) for call, step in zip(calls, started, strict=True)]
                running = [await stack.enter_async_context(begun(one)) for one in made]
                return list(await asyncio.gather(*running))
        finally:
            steps.put_nowait(None)

    def _started(self, call: Call) -> events.ToolCallStarted:
        tool = call.offer.tool
        return events.ToolCallStarted(self.round_index, tool.tool_id, tool.version, call.arguments)

    async def _one(
        self, call: Call, started: events.ToolCallStarted, steps: "asyncio.Queue[events.AnyAction | None]"
    ) -> ToolOutcome:
        spec = call.offer.spec
        wait = Wait(self.calling.fillers, started, spec.audio_fillers, spec.audio_filler_triggered_after)
        async with begun(self._patiently(call)) as running:
            filler = await wait.beside(running)
            if filler is not None:
                steps.put_nowait(filler)
            outcome = await running
        steps.put_nowait(
            events.ToolCallEnded(
                started.tool_round_index,
                started.tool_id,
                started.tool_version,
                call.arguments,
                output_of(outcome),
                outcome.duration_ms / 1000,
            )
        )
        return outcome

    async def _patiently(self, call: Call) -> ToolOutcome:
        """Make a call. Return its outcome, a failure if the tool takes too long."""
        resources, began = self.calling.resources, time.monotonic()
        tools, place = resources.tools, replace(self._place, round_index=self.round_index)
        async with begun(tools.toolbox.call(call.offer.tool, call.arguments, place, call.key)) as running:
            while (left := began + tools.patience_s - time.monotonic()) > 0 and not running.done():
                resources.alive(0)
                await asyncio.wait([running], timeout=min(left, HEARTBEAT_S))
            if running.done():
                return await running
        told = f"The tool gave no answer within {tools.patience_s:g} seconds."
        return ToolFailed("Timeout", told, (), round((time.monotonic() - began) * 1000))

    def _note(self, call: Call, outcome: ToolOutcome) -> dict[str, Any]:
        """Keep the outcome of a call as its use wants it. Return the call's log. Raises ToolResultTooLong."""
        output = output_of(outcome)
        lasts = _lasts(call.offer, outcome)
        result = ToolResult(
            tool_name=call.offer.tool.name, arguments=call.arguments, output=output, at=clock.now(), lasts=lasts
        )
        if lasts or self._lasts_turn:
            self.calling.outcome.tool_results.append(result)
        else:
            self.told.append(prompt.told_result(result))
        return logged(call, output if lasts else None, outcome.duration_ms)


async def ask(calling: Calling, question: prompt.Prompt, schema: Mapping[str, Any]) -> Any:
    """Ask a model for an answer of a schema. Return the answer, or None if that is unusable. Raises ModelError."""
    model, question = model_for(calling.resources.models, calling.scene.llm_model_preferences, question)
    try:
        return await model.choose(question, schema)
    except ModelMisbehaved as error:
        log.warning("no usable answer about tools", interaction=question.interaction, reason=error.reason)
        return None


def fit(offer: Offer, parameters: Any) -> tuple[dict[str, Any], str | None]:
    """Judge a model's parameters by a tool's schema. Return them without stray nulls, and their problem, if any."""
    if not isinstance(parameters, dict):
        return {}, "the parameters are no JSON object"
    fitting = tool_parameters.given(cast("dict[str, Any]", parameters), offer.tool.input_schema)
    return fitting, offer.problem(fitting)


def hold(outcome: Outcome, call: Call) -> None:
    """Have a call wait for the user's yes."""
    tool = call.offer.tool
    outcome.pending_calls.append(
        PendingCall(
            spec=call.offer.spec,
            tool_name=tool.name,
            tool_version=tool.version,
            arguments=call.arguments,
            key=call.key,
        )
    )


def logged(call: Call, output: str | None, duration_ms: int) -> dict[str, Any]:
    """Describe a call as insights tell it. Return the log; `output` is None if it is not to be kept."""
    tool = call.offer.tool
    return {
        "tool_name": tool.name,
        "tool_id": tool.tool_id,
        "tool_version": tool.version,
        "input": call.arguments,
        "output": output,
        "duration": duration_ms / 1000,
    }


def output_of(outcome: ToolOutcome) -> str:
    """Write the outcome of a call as text. Return it, cut if it is very long."""
    if isinstance(outcome, ToolSucceeded):
        return storable(_cut(outcome.output, MOST_RESULT_CHARS))
    told = f"The tool failed: {outcome.exception_type}: {outcome.exception_message}"
    return storable(_cut(told, PERSISTED_CHARS))


def as_json(value: Any) -> str:
    """Encode a value. Return JSON that is the same for equal values."""
    return msgspec.json.encode(value, order="deterministic").decode()


def _lasts(offer: Offer, outcome: ToolOutcome) -> bool:
    """Decide if later turns are told an outcome. Return True if so.

    Raises:
        ToolResultTooLong: they have to be, and it is too long.
    """
    persistence = offer.spec.result_persistence
    is_short = isinstance(outcome, ToolFailed) or len(outcome.output) <= PERSISTED_CHARS
    if persistence == "persisted" and not is_short and isinstance(outcome, ToolSucceeded):
        raise ToolResultTooLong(
            f"The result of the tool {offer.tool.name} has {len(outcome.output)} characters; one that is persisted has "
            f"at most {PERSISTED_CHARS}."
        )
    return persistence != "ephemeral" and is_short


def _named(offers: Iterable[Offer]) -> dict[str, Offer]:
    """Name offers by their tools. Return them; of two with one name, the second has a number."""
    named: dict[str, Offer] = {}
    for offer in offers:
        name = offer.tool.name
        named[name if name not in named else f"{name}_{len(named) + 1}"] = offer
    return named


def _wanted(answer: Any) -> list[tuple[str, Any]]:
    """Read the calls that a model wants. Return names and parameters; whatever else it wrote is left out."""
    calls = cast("dict[str, Any]", answer).get("calls") if isinstance(answer, dict) else None
    items = cast("list[Any]", calls) if isinstance(calls, list) else []
    found = [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
    return [(item["tool"], item.get("parameters")) for item in found if isinstance(item.get("tool"), str)]


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    note = f"\n[... {len(text) - most} characters are left out ...]\n"
    half = (most - len(note)) // 2
    return f"{text[:half]}{note}{text[-half:]}"
