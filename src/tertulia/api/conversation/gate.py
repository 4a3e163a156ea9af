"""The gate before a turn: the permissions of a caller, asked with what the unit that claims has read."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from tertulia.auth.actor import Actor, confirm_actor
from tertulia.auth.permissions import Permission
from tertulia.engine.turns.turn import ActionFilter, no_actions
from tertulia.storage.conversation import Conversation
from tertulia.storage.turn.values import Standing


@dataclass(frozen=True, slots=True)
class ActorGate:
    """A `Gate` by the role of a caller, who wants to hear of actions that match."""

    actor: Actor
    matches: ActionFilter

    @property
    def standing(self) -> Standing:
        """The standing that the caller was remembered with."""
        actor = self.actor
        return Standing(actor.role_id, actor.granted_until, actor.key_id, actor.key_role_id)

    def confirm(self, connection: Connection) -> None:
        """Raise StaleActor unless the caller still has the role that they were remembered with."""
        confirm_actor(connection, self.actor)

    def admit(self, conversation: Conversation) -> None:
        """Raise Forbidden unless the caller may go on with a conversation."""
        require_interact(self.actor, conversation)

    def shows(self, attributes: Mapping[str, object]) -> ActionFilter:
        """Return the caller's filter of actions, or one that nothing passes if they may not see any."""
        may_see = self.actor.may(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, attributes)
        return self.matches if may_see else no_actions


def require_interact(actor: Actor, conversation: Conversation) -> None:
    """Raise Forbidden unless a caller may go on with a conversation."""
    actor.require(Permission.USER_UPDATE_USER_INFO, conversation.owner.attributes)
    actor.require(Permission.CONVERSATION_INTERACT_WITH_CONVERSATION, conversation.attributes)


def require_finish(actor: Actor, conversation: Conversation) -> None:
    """Raise Forbidden unless a caller may finish a conversation."""
    actor.require(Permission.USER_UPDATE_USER_INFO, conversation.owner.attributes)
    actor.require(Permission.CONVERSATION_FINISH_CONVERSATION, conversation.attributes)
