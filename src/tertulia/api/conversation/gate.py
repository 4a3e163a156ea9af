"""The gate before a turn: the permissions of a caller, asked with what the unit that claims has read."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from tertulia.api.http.audit import Recorder
from tertulia.api.http.masking import change_of
from tertulia.auth.actor import Actor, confirm_actor
from tertulia.auth.permissions import Permission
from tertulia.engine.turns.turn import ActionFilter, no_actions
from tertulia.storage.conversation import Conversation
from tertulia.storage.turn.values import Standing
from tertulia.storage.user import get_user


@dataclass(frozen=True, slots=True)
class ActorGate:
    """A `Gate` by the role of a caller, who wants to hear of actions that match."""

    actor: Actor
    matches: ActionFilter
    recorder: Recorder

    @property
    def standing(self) -> Standing:
        """The standing that the caller was remembered with."""
        return self.actor.standing

    def confirm(self, connection: Connection) -> None:
        """Raise StaleActor unless the caller still has the role that they were remembered with."""
        confirm_actor(connection, self.actor)

    def admit(self, conversation: Conversation) -> None:
        """Raise Forbidden unless the caller may go on with a conversation."""
        require_interact(self.actor, conversation)

    def record(self, connection: Connection, conversation: Conversation) -> str:
        """Tell the audit log that the caller speaks, if the conversation is somebody else's.

        Return the caller's name, or "" if it is their own.
        """
        if conversation.owner.user_id == self.actor.user_id:
            return ""
        caller = get_user(connection, self.actor.org_id, self.actor.user_id)
        record_intervention(connection, self.recorder, "interact-with-conversation", conversation)
        return f"{caller.first_name} {caller.last_name}".strip()

    def shows(self, attributes: Mapping[str, object]) -> ActionFilter:
        """Return the caller's filter of actions, or one that nothing passes if they may not see any."""
        may_see = self.actor.may(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, attributes)
        return self.matches if may_see else no_actions


def record_intervention(connection: Connection, recorder: Recorder, action: str, conversation: Conversation) -> None:
    """Tell the audit log that the caller does something in another person's conversation."""
    change = change_of({"user_id": conversation.owner.user_id}, {}, {})
    recorder.write(connection, action, "conversation", conversation.id, change)


def require_interact(actor: Actor, conversation: Conversation) -> None:
    """Raise Forbidden unless a caller may go on with a conversation."""
    actor.require(Permission.USER_UPDATE_USER_INFO, conversation.owner.attributes)
    actor.require(Permission.CONVERSATION_INTERACT_WITH_CONVERSATION, conversation.attributes)


def require_finish(actor: Actor, conversation: Conversation) -> None:
    """Raise Forbidden unless a caller may finish a conversation."""
    actor.require(Permission.USER_UPDATE_USER_INFO, conversation.owner.attributes)
    actor.require(Permission.CONVERSATION_FINISH_CONVERSATION, conversation.attributes)
