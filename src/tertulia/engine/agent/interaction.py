"""One interaction: from a message to the end of the reply, as an async iterator of events. It stores nothing."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from msgspec import structs

from tertulia import events
from tertulia.engine.agent import behaviors, prompt
from tertulia.engine.agent.confirming import settle_pending
from tertulia.engine.agent.instructions import offered
from tertulia.engine.agent.memory import recall_actively, told_after_choice
from tertulia.engine.agent.models import AttendedModels, Models, model_for
from tertulia.engine.agent.reply_ahead import ReplyAhead, reply_question
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Incoming, Outcome, Scene
from tertulia.engine.agent.tool_rounds import Calling, Rounds
from tertulia.engine.agent.toolbox import CallPlace
from tertulia.engine.graph import context_graph, sayings
from tertulia.engine.speech.fillers import Fillers
from tertulia.engine.speech.reply import SpokenReply, speak
from tertulia.engine.speech.wishes import Speaking
from tertulia.errors import ModelMisbehaved, NothingHeard
from tertulia.events import MessageFormat
from tertulia.providers.base import CUTS, HEARING_PATIENCE, Sign
from tertulia.texts import is_blank

if TYPE_CHECKING:  # it needs an extra
    from tertulia.audio.decode import Recorded


async def interact(scene: Scene, outcome: Outcome, resources: Resources) -> AsyncGenerator[events.Event, None]:
    """Run an interaction. Yield its events; its work is noted in `outcome`.

    Raises:
        TertuliaError: the interaction is void.
    """
    incoming = scene.incoming
    if incoming is not None and incoming.decode is not None:
        heard = await _hear_speech(scene, outcome, incoming, incoming.decode, resources)
    else:
        heard = _hear(scene, outcome, incoming)
    if heard is not None:
        yield heard
    resources = replace(resources, models=AttendedModels(resources.models, partial(resources.alive, 0)))
    fillers = None if scene.speaking is None else Fillers(resources.voices, scene.speaking, scene.number)
    calling = Calling(scene, outcome, resources, fillers)
    if scene.pending_calls:
        async with aclosing(settle_pending(calling, scene.pending_calls)) as actions:
            async for action in actions:
                yield events.CurrentAgentAction(action)
    remembered = await recall_actively(scene, outcome, resources.recall)
    async with aclosing(ReplyAhead(resources.guess)) as ahead:
        walk = behaviors.navigate_beside(scene, outcome, resources, fillers, ahead)
        async with aclosing(told_after_choice(walk, remembered) if remembered else walk) as actions:
            async for action in actions:
                yield events.CurrentAgentAction(action)
        for action in behaviors.speech_override(outcome.behavior):
            yield events.CurrentAgentAction(action)
        told: list[str] = []
        if specs := _offered(scene, outcome):
            async with aclosing(_call_for_reply(calling, specs, told)) as actions:
                async for action in actions:
                    yield events.CurrentAgentAction(action)
        text = partial(_reply, scene, outcome, resources.models, ahead, told)
        reply = (
            _write(scene, outcome, text)
            if scene.speaking is None
            else _speak(scene, scene.speaking, outcome, resources, text)
        )
        async with aclosing(reply) as pieces:
            async for piece in pieces:
                yield piece
    is_over = context_graph.is_over(outcome.position, scene.graphs)
    outcome.finished = is_over and not outcome.pending_calls  # the user has yet to answer


async def _hear_speech(
    scene: Scene,
    outcome: Outcome,
    incoming: Incoming,
    decode: "Callable[[], Recorded]",
    resources: Resources,
) -> events.UserMessageAvailable | None:
    """Take in a message whose text has to be heard first. Return the event that tells the text."""
    recording = await asyncio.to_thread(decode)
    resources.alive(HEARING_PATIENCE * recording.duration_ms / 1000)
    transcript = await resources.voices.transcribe(recording.pcm, scene.language, incoming.keyterms)
    resources.alive(0)
    text = transcript.text.strip()
    if is_blank(text):
        raise NothingHeard("There is no speech in the recording.")
    return _hear(scene, outcome, replace(incoming, text=text), recording)


def _hear(
    scene: Scene, outcome: Outcome, incoming: Incoming | None, recording: "Recorded | None" = None
) -> events.UserMessageAvailable | None:
    """Take in a message. Return the event that tells it, or None without history: clients know no other."""
    if incoming is None or incoming.type == "skip":
        return None
    for event in incoming.external_events:
        outcome.add("external-event", "External event", event.content, outcome.next_time(event.happened_at))
    message_format: MessageFormat = "text" if recording is None else "voice"
    message = outcome.add(incoming.type, _sender(scene, incoming), incoming.text, message_format=message_format)
    if recording is not None:
        outcome.keep(message.id, recording.content_type, recording.body)
    return events.UserMessageAvailable(message.id, incoming.text) if scene.number else None


def _sender(scene: Scene, incoming: Incoming) -> str:
    return incoming.sender or scene.person.name if incoming.type == "user-message" else "External event"


def _offered(scene: Scene, outcome: Outcome) -> Sequence[context_graph.ToolCallSpec]:
    """List the tools that the state that speaks offers for its reply. Return them."""
    state = context_graph.state_at(outcome.position, scene.graphs)
    own = state.action_tool_call_specs if isinstance(state, context_graph.ActionState) else ()
    return offered(own, outcome.behavior)


async def _call_for_reply(
    calling: Calling, specs: Sequence[context_graph.ToolCallSpec], told: list[str]
) -> AsyncGenerator[events.AnyAction, None]:
    """Let the model call the tools of the state that speaks. Yield each step; `told` gets the results for the reply."""
    outcome = calling.outcome
    top = outcome.position.top
    place = CallPlace("engage-user", top.graph, top.state, transition_index=len(outcome.transitions) + 1)
    rounds = Rounds(calling, place)
    need = prompt.Need(
        prompt.ENGAGE_USER,
        f"{outcome.objective}\nWhat you do in your next message: {sayings.described(outcome.action)}",
    )
    async with aclosing(rounds.run(specs, need)) as steps:
        async for step in steps:
            yield step
    outcome.speech_calls = rounds.logs
    told += rounds.told


_Text = Callable[[Callable[[Sign], None]], AsyncGenerator[str, None]]
"""Asks for the reply, and tells its signs."""


def _reply(
    scene: Scene,
    outcome: Outcome,
    models: Models,
    ahead: ReplyAhead,
    results: Sequence[str],
    tell: Callable[[Sign], None],
) -> AsyncGenerator[str, None]:
    """Ask the model for the reply. Return its pieces; the prompt, which is large, is not kept meanwhile."""
    question = reply_question(scene, outcome, outcome.action, results)
    model, question = model_for(models, scene.llm_model_preferences, question)

    def note(sign: Sign) -> None:
        if sign in CUTS:
            outcome.reply_cut_short = sign
        tell(sign)

    return ahead.take(model, structs.replace(question, tell=note))


async def _write(scene: Scene, outcome: Outcome, text: _Text) -> AsyncGenerator[events.NewMessage, None]:
    """Write the reply. Yield its pieces, each the moment it is there; the last one is empty and says stop."""
    began = outcome.next_time()
    pieces: list[str] = []
    number = 0

    def tell(sign: Sign) -> None:
        if sign == "taken-back":
            pieces.clear()

    async with aclosing(text(tell)) as stream:
        async for piece in stream:
            pieces.append(piece)
            number += 1
            yield events.NewMessage(piece, False, number, outcome.message_id)
    outcome.full_message = "".join(pieces)
    if is_blank(outcome.full_message):
        raise ModelMisbehaved("the reply is empty")
    outcome.add("agent-message", scene.agent.identity.name, outcome.full_message, began)
    yield events.NewMessage("", True, number + 1, outcome.message_id)


def _refuse_to_take_back(sign: Sign) -> None:
    """Void a spoken reply that turns out to have begun with a thought: words that were heard cannot be taken back."""
    if sign == "taken-back":
        raise ModelMisbehaved("the reply began with a thought that had no opening tag")


async def _speak(
    scene: Scene, speaking: Speaking, outcome: Outcome, resources: Resources, text: _Text
) -> AsyncGenerator[events.NewMessage, None]:
    """Speak the reply. Yield its pieces."""
    began = outcome.next_time()
    reply = SpokenReply(outcome.message_id)
    pieces_of_text = text(_refuse_to_take_back)
    async with aclosing(speak(pieces_of_text, speaking, reply, resources.voices, resources.alive)) as pieces:
        async for piece in pieces:
            yield piece
    outcome.full_message = reply.text
    if not reply.text:  # interrupted before it was heard: the user cannot agree to what they do not know
        outcome.pending_calls.clear()
    if reply.recording:
        outcome.keep(outcome.message_id, reply.content_type, reply.recording)
    outcome.add("agent-message", scene.agent.identity.name, outcome.full_message, began, "voice")
