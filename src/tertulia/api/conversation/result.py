"""The structured result of a conversation: the fields that its service asks for."""

from datetime import datetime
from typing import Any, Literal

from fastapi import Depends
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from tertulia.api.conversation.paths import ConversationPath
from tertulia.api.http.deps import CurrentActor, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.storage import message as messages
from tertulia.storage.conversation import get_conversation
from tertulia.storage.result import Result, get_result, has_failed

router = contract_router("/conversation", "Conversation")

ResultStatus = Literal["pending", "ready", "failed"]


class ConversationResult(BaseModel):
    """A result; `result` and `references` are null until it is ready, and a field is null if it was not said.

    A result that has `failed` is filled in only if an operator has it tried again.
    """

    conversation_id: str
    status: ResultStatus
    result: dict[str, Any] | None
    references: dict[str, str | None] | None
    """The message that each field comes from."""
    result_schema: dict[str, Any]
    updated_at: datetime


@router.get("/{conversation_id}/result", operation_id="get-conversation-result", dependencies=[Depends(rate_limit(60))])
async def get_conversation_result(
    actor: CurrentActor, organization: Organization, conversation_id: ConversationPath
) -> ConversationResult:
    """Tell what was found out in a conversation that has ended. Return the fields of its service's schema."""
    result, status = await organization.database.read(_get_result, actor, conversation_id)
    return ConversationResult(
        conversation_id=conversation_id,
        status=status,
        result=None if result.fields is None else {**result.fields},
        references=None if result.sources is None else {**result.sources},
        result_schema={**result.schema},
        updated_at=result.updated_at,
    )


def _get_result(connection: Connection, actor: Actor, conversation_id: str) -> tuple[Result, ResultStatus]:
    conversation = get_conversation(connection, actor.org_id, conversation_id)
    actor.require(Permission.CONVERSATION_GET_CONVERSATION, conversation.attributes)
    for message_type in ("user-message", "agent-message", "external-event"):
        actor.require(Permission.CONVERSATION_GET_MESSAGE, messages.attributes(conversation, message_type))
    result = get_result(connection, conversation.id)
    if result.is_ready:
        return result, "ready"
    return result, "failed" if has_failed(connection, conversation.id) else "pending"
