"""The gate before a turn, as the engine knows it: the caller's permissions, asked in the unit that claims."""

from collections.abc import Mapping
from typing import Protocol

from sqlalchemy.engine import Connection

from tertulia.engine.turns.turn import ActionFilter
from tertulia.storage.conversation import Conversation
from tertulia.storage.turn.values import Standing


class Gate(Protocol):
    """The permissions of whoever begins a turn. What a method raises undoes the claim."""

    @property
    def standing(self) -> Standing:
        """The standing with which `confirm` passes the caller, and no other."""
        ...

    def confirm(self, connection: Connection) -> None:
        """Raise an error unless the caller still is who they were taken for."""
        ...

    def admit(self, conversation: Conversation) -> None:
        """Raise Forbidden unless the caller may go on with a conversation."""
        ...

    def record(self, connection: Connection, conversation: Conversation) -> str:
        """Note that the caller speaks, if the conversation is somebody else's. Return the caller's name, or ""."""
        ...

    def shows(self, attributes: Mapping[str, object]) -> ActionFilter:
        """Return the filter of the actions that the caller sees in a conversation with these attributes."""
        ...
