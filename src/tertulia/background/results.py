"""The filling in of results: a job that a conversation leaves when it ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from tertulia.background.jobs import JobKind, Work, no_effect
from tertulia.engine.agent import results
from tertulia.engine.work import RecordedWork, on_finished
from tertulia.providers.models.schema import fits
from tertulia.storage.post_processing import Followed, find_followed
from tertulia.storage.result import FILL_RESULT, find_result, put_result
from tertulia.storage.turn.history import HistoryBounds, list_history
from tertulia.storage.turn.values import Message

LIMIT_S = 600.0
"""The longest time of a filling in, in seconds: a small model reads a long conversation slowly."""

_BOUNDS = HistoryBounds(1000, 2 * results.MOST_CHARS)


@dataclass(frozen=True, slots=True)
class _Source:
    """The conversation that a result is filled in from, and the fields to look for."""

    conversation: Followed
    schema: Mapping[str, Any]
    messages: Sequence[Message]


def fill_result(recorded: RecordedWork) -> JobKind:
    """Make the kind of job that has models fill results in. Return it."""

    async def fill(work: Work) -> None:
        conversation_id = str(work.job.payload["conversation_id"])
        source = await work.database.read(_find_source, conversation_id)
        if source is None:  # its user was deleted meanwhile
            await work.end(no_effect)
            return
        preferences = source.conversation.llm_model_preferences
        async with recorded.begin(work.database, on_finished(source.conversation, FILL_RESULT)) as resources:
            claims = await results.fill(resources.models, preferences, source.schema, source.messages)
        properties: Mapping[str, Any] = source.schema["properties"]
        right = {name: claim for name, claim in claims.items() if _fits(claim, properties[name])}
        fields = {name: right[name].value if name in right else None for name in properties}
        sources = {name: right[name].message_id if name in right else None for name in properties}
        await work.end(put_result, conversation_id, fields, sources)

    return JobKind(FILL_RESULT, fill, limit_s=LIMIT_S)


def _fits(claim: results.StatedValue, schema: Mapping[str, Any]) -> bool:
    """Compare a claim with its schema. Return True if it fits as it was claimed, and what was said of it too."""
    return fits(claim.claimed, schema) and fits(claim.value, schema)


def _find_source(connection: Connection, conversation_id: str) -> _Source | None:
    result = find_result(connection, conversation_id)
    conversation = find_followed(connection, conversation_id)
    if result is None or conversation is None:
        return None
    return _Source(conversation, result.schema, list_history(connection, conversation_id, _BOUNDS))
