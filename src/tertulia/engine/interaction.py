"""One interaction: from a message to the end of the reply, as an async iterator of events. It stores nothing."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from tertulia import events
from tertulia.engine import context_graph, prompt
from tertulia.engine.context_graph import ActionState
from tertulia.engine.models import Models, model_for
from tertulia.engine.navigation import navigate
from tertulia.engine.scene import Incoming, Outcome, Scene
from tertulia.errors import ModelMisbehaved


async def interact(scene: Scene, outcome: Outcome, models: Models) -> AsyncGenerator[events.Event, None]:
    """Run an interaction; what it makes is noted in `outcome`.

    Raises:
        TertuliaError: the interaction is void.
    """
    heard = _hear(scene, outcome)
    if heard is not None:
        yield heard
    async with aclosing(navigate(scene, outcome, models)) as actions:
        async for action in actions:
            yield events.CurrentAgentAction(action)
    async with aclosing(_speak(scene, outcome, models)) as pieces:
        async for piece in pieces:
            yield piece
    outcome.finished = context_graph.is_over(outcome.position, scene.graphs)


def _hear(scene: Scene, outcome: Outcome) -> events.UserMessageAvailable | None:
    """Take in what the interaction answers. Only an interaction with history tells it: clients know no other."""
    incoming = scene.incoming
    if incoming is None or incoming.type == "skip":
        return None
    for event in incoming.external_events:
        outcome.add("external-event", "External event", event.content, outcome.next_time(event.happened_at))
    message = outcome.add(incoming.type, _sender(scene, incoming), incoming.text)
    return events.UserMessageAvailable(message.id, incoming.text) if scene.history else None


def _sender(scene: Scene, incoming: Incoming) -> str:
    return scene.person.name if incoming.type == "user-message" else "External event"


def _reply(scene: Scene, outcome: Outcome, models: Models) -> AsyncGenerator[str, None]:
    """The model's pieces. Apart from the loop over them, for a prompt is large and a reply is long."""
    state = context_graph.state_at(outcome.position, scene.graphs)
    assert isinstance(state, ActionState)  # noqa: S101 - where navigation ends
    graph = scene.graphs[outcome.position.top.graph]
    talk = prompt.said([*scene.history, *outcome.messages])
    question = prompt.engage_user(scene, graph, state, outcome.action, talk)
    model, question = model_for(models, scene.llm_model_preferences, question)
    return model.stream(question)


async def _speak(scene: Scene, outcome: Outcome, models: Models) -> AsyncGenerator[events.NewMessage, None]:
    """The reply, piece by piece, each the moment it is there; the last piece is empty and says stop."""
    began = outcome.next_time()
    pieces: list[str] = []
    async with aclosing(_reply(scene, outcome, models)) as stream:
        async for piece in stream:
            pieces.append(piece)
            yield events.NewMessage(piece, False, len(pieces), outcome.message_id)
    outcome.full_message = "".join(pieces)
    if not outcome.full_message.strip():
        raise ModelMisbehaved("the reply is empty")
    outcome.add("agent-message", scene.agent.identity.name, outcome.full_message, began)
    yield events.NewMessage("", True, len(pieces) + 1, outcome.message_id)
