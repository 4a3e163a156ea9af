"""The beginning of a conversation, as a body over HTTP and as the first message of a WebSocket."""

from typing import Literal

from pydantic import BaseModel

from tertulia.api.http.deps import Caller
from tertulia.api.http.types import ObjectId, Text, TextTags
from tertulia.engine.agent.scene import Incoming
from tertulia.errors import Unprocessable
from tertulia.storage.turn.values import Opening


class CreateConversation(BaseModel):
    service_id: ObjectId
    service_version_set_name: str = "release"
    initial_message: Text | None = None
    initial_message_type: Literal["user-message", "external-event"] | None = None
    tags: TextTags = {}
    is_test: bool = False

    def to_incoming(self) -> Incoming | None:
        """Return the message that the first turn answers, or None if the agent speaks first.

        Raises:
            Unprocessable: there is a type without a message.
        """
        if self.initial_message is None:
            if self.initial_message_type is not None:
                raise Unprocessable("Give initial_message too, or neither.", ("body", "initial_message_type"))
            return None
        return Incoming(self.initial_message_type or "user-message", self.initial_message)

    def to_opening(self, caller: Caller) -> Opening:
        """Return the conversation of a caller that is about to begin."""
        claims = caller.claims
        return Opening(
            claims.org_id, claims.user_id, self.service_id, self.service_version_set_name, self.tags, self.is_test
        )
