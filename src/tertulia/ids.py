"""Identifiers of the wire: 24 lower-case hexadecimal digits, as MongoDB's ObjectId prints them.

Four bytes of seconds since the epoch, five random bytes of the process, three bytes of a counter
(https://www.mongodb.com/docs/manual/reference/bson-types/#objectid): unique over hosts and roughly ordered by time.
"""

import itertools
import os
import secrets
import time
from datetime import UTC, datetime
from typing import NewType

AgentId = NewType("AgentId", str)
ConversationId = NewType("ConversationId", str)
GraphId = NewType("GraphId", str)
InteractionId = NewType("InteractionId", str)
MessageId = NewType("MessageId", str)
OrganizationId = NewType("OrganizationId", str)
ServiceId = NewType("ServiceId", str)
UserId = NewType("UserId", str)

ORGANIZATION_ID_PATTERN = "[A-Za-z0-9][A-Za-z0-9-]{0,62}"
RESERVED_ORGANIZATIONS = frozenset({"admin", "api", "default", "internal", "system", "tertulia", "www"})
"""Identifiers that no organization gets over HTTP: they would be taken for the installation's own."""
OBJECT_ID_PATTERN = "^[a-f0-9]{24}$"


class _Generator:
    """A process's share of the identifiers; made anew after a fork, so that two workers never share one."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.machine = secrets.token_hex(5)
        self.counter = itertools.count(secrets.randbelow(1 << 24))

    def next(self) -> str:
        return f"{int(time.time()):08x}{self.machine}{next(self.counter) & 0xFFFFFF:06x}"


_generator = _Generator()
os.register_at_fork(after_in_child=_generator.reset)


def first_id_at(moment: datetime) -> str:
    """Return the beginning of identifiers that were made at a moment: those made before are smaller."""
    return f"{int(moment.timestamp()):08x}"


def moment_of(made: str) -> datetime:
    """Return the time at which an identifier was made, to the second."""
    return datetime.fromtimestamp(int(made[:8], 16), UTC)


def new_id() -> str:
    """A new identifier."""
    return _generator.next()
