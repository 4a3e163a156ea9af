"""A human in the loop: calls wait for the user's yes, and are made then exactly as they were shown, or never."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from tertulia import clock, events
from tertulia.engine.agent import prompt
from tertulia.engine.agent.choosing import choose
from tertulia.engine.agent.scene import PendingCall, ToolResult
from tertulia.engine.agent.tool_rounds import Call, Calling, Rounds, as_json, find
from tertulia.engine.agent.toolbox import CallPlace
from tertulia.errors import ModelMisbehaved, ToolMissing

_DROPPED = "Nothing was done, for the user did not clearly agree."


async def settle_pending(calling: Calling, pending: Sequence[PendingCall]) -> AsyncGenerator[events.AnyAction, None]:
    """Make the calls that wait if the user's message is a clear yes; drop them if it is anything else.

    Yield each step when it is taken. All questions of this turn are told what came of the calls.

    Raises:
        ToolResultTooLong: a result that is to be persisted is too long.
        ModelError: the model cannot be had.
    """
    if not await _agrees(calling, pending):
        for call in pending:
            _tell(calling, call, _DROPPED)
        return
    top = calling.outcome.position.top
    released = Rounds(calling, CallPlace("state-transition", top.graph, top.state), lasts_turn=True)
    calls = [call for waiting in pending if (call := await _release(calling, waiting)) is not None]
    async with aclosing(released.call(calls)) as steps:
        async for step in steps:
            yield step
    calling.outcome.released_calls += released.logs


async def _agrees(calling: Calling, pending: Sequence[PendingCall]) -> bool:
    """Ask if the user's message agrees to calls. Return False for a message that is not the user's own."""
    incoming = calling.scene.incoming
    if incoming is None or incoming.type != "user-message":
        return False
    talk = prompt.said_so_far(calling.scene, calling.outcome)
    shown = [prompt.called(call.tool_name, call.arguments) for call in pending]
    question, choices = prompt.confirm_calls(calling.scene, talk, shown)
    try:
        return await choose(calling.scene, calling.resources.models, question, choices) == "yes"
    except ModelMisbehaved:
        return False


async def _release(calling: Calling, waiting: PendingCall) -> Call | None:
    """Find the tool of a call in the very version that was shown. Return the call, or None if that is gone."""
    exactly = waiting.spec.model_copy(update={"version_constraint": f"=={waiting.tool_version}"})
    try:
        offer = await find(calling.resources.tools.toolbox, exactly)
    except ToolMissing as error:
        _tell(calling, waiting, f"Nothing was done: {error.detail}")
        return None
    calling.outcome.released.append((waiting.spec.tool_id, as_json(waiting.arguments)))
    return Call(offer, waiting.arguments, waiting.key)


def _tell(calling: Calling, call: PendingCall, output: str) -> None:
    told = ToolResult(tool_name=call.tool_name, arguments=call.arguments, output=output, at=clock.now(), lasts=False)
    calling.outcome.tool_results.append(told)
