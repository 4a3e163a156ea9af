"""The door to conversations: what a caller does with one, over HTTP, a WebSocket, or any face to come.

Each function acts as the caller, who is confirmed in the unit that reads or writes: their role may have changed.
"""

from dataclasses import replace

from sqlalchemy.engine import Connection

from tertulia.api.conversation.gate import ActorGate, record_intervention, require_finish, require_interact
from tertulia.api.http.deps import Caller
from tertulia.auth.actor import Actor, confirm_actor
from tertulia.auth.permissions import Permission
from tertulia.engine.agent.scene import Incoming
from tertulia.engine.turns.conversations import PLAIN, TurnOptions
from tertulia.engine.turns.log import LogWithoutActions, Stream
from tertulia.engine.turns.turn import ActionFilter
from tertulia.errors import Conflict
from tertulia.storage.conversation import get_conversation
from tertulia.storage.turn.finish import finish as finish_unit
from tertulia.storage.turn.values import Opening


async def start(
    caller: Caller, opening: Opening, incoming: Incoming | None, matches: ActionFilter, options: TurnOptions = PLAIN
) -> Stream:
    """Create a conversation and begin its first turn. Return the turn's stream.

    Raises:
        Unauthorized, Forbidden: the caller is gone, or may not.
        TertuliaError: see engine.turns.conversations.Conversations.start.
    """

    async def work(actor: Actor) -> Stream:
        actor.require(Permission.CONVERSATION_CREATE_CONVERSATION, opening.attributes)
        gate = ActorGate(actor, matches, caller.recorder)
        stream = await caller.runtime.conversations.start(caller.database, gate, opening, incoming, options)
        return await _as_seen_now(caller, actor, stream)

    return await caller.act(work)


async def interact(
    caller: Caller, conversation_id: str, incoming: Incoming, matches: ActionFilter, options: TurnOptions = PLAIN
) -> Stream:
    """Begin another turn of a conversation. Return its stream.

    Raises:
        Unauthorized, Forbidden: the caller is gone, or may not.
        TertuliaError: see engine.turns.conversations.Conversations.interact.
    """

    async def work(actor: Actor) -> Stream:
        gate = ActorGate(actor, matches, caller.recorder)
        stream = await caller.runtime.conversations.interact(
            caller.database, gate, actor.org_id, conversation_id, incoming, options
        )
        return await _as_seen_now(caller, actor, stream)

    return await caller.act(work)


async def _as_seen_now(caller: Caller, actor: Actor, stream: Stream) -> Stream:
    """Leave out of a replay the actions that the caller may not see any more. Return the stream."""
    if not stream.replayed:
        return stream
    conversation = await caller.database.read(get_conversation, actor.org_id, stream.conversation_id)
    may_see = actor.may(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, conversation.attributes)
    return stream if may_see else replace(stream, log=LogWithoutActions(stream.log))


async def resume(caller: Caller, conversation_id: str) -> None:
    """See that the caller can go on with a conversation.

    Raises:
        Unauthorized, Forbidden: the caller is gone, or may not.
        NotFound: there is no such conversation.
        Conflict: it is finished.
    """

    def unit(connection: Connection, actor: Actor) -> None:
        confirm_actor(connection, actor)
        conversation = get_conversation(connection, actor.org_id, conversation_id)
        require_interact(actor, conversation)
        if conversation.is_finished:
            raise Conflict("The conversation is finished.")

    await caller.act(lambda actor: caller.database.read(unit, actor))


async def finish(caller: Caller, conversation_id: str) -> None:
    """Finish a conversation; one without messages is removed.

    Raises:
        Unauthorized, Forbidden: the caller is gone, or may not.
        NotFound: there is no such conversation.
        Conflict: it is finished, or a turn of it is running.
    """

    def unit(connection: Connection, actor: Actor) -> None:
        confirm_actor(connection, actor)
        conversation = get_conversation(connection, actor.org_id, conversation_id)
        require_finish(actor, conversation)
        finish_unit(connection, conversation)
        if conversation.owner.user_id != actor.user_id:
            record_intervention(connection, caller.recorder, "finish-conversation", conversation)

    await caller.act(lambda actor: caller.database.write(unit, actor))
