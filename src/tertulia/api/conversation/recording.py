"""Recordings of spoken messages: links to them, signed and of short life, and the recordings themselves."""

import hashlib
import hmac
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.api.conversation.paths import ConversationPath, MessagePath
from tertulia.api.conversation.portions import RecordingResponse, part_of
from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization, OrganizationScope
from tertulia.api.http.rate_limit import count, rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.auth.actor import Actor
from tertulia.auth.limits import Limiter
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest, Forbidden, Gone, NotFound
from tertulia.storage import message as messages
from tertulia.storage import recording as recordings
from tertulia.storage.conversation import get_conversation
from tertulia.storage.recording import StoredRecording
from tertulia.storage.turn.values import ContentType

router = contract_router("/conversation", "Conversation")

SHORT = timedelta(minutes=15)
LONG = timedelta(hours=12)

READS_A_MINUTE = 120
"""Requests for one recording in a minute, whoever has its link: a player asks for many ranges."""

READERS = 8
"""Readers of one recording at once."""

_OPERATION = "get-message-recording"


class MessageSource(BaseModel):
    url: str
    expires_at: datetime
    content_type: Literal["audio/mpeg", "audio/wav"]


@router.get(
    "/{conversation_id}/messages/{message_id}/source",
    operation_id="retrieve-message-source",
    dependencies=[Depends(rate_limit(30))],
)
async def retrieve_message_source(
    request: Request,
    runtime: CurrentRuntime,
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    message_id: MessagePath,
    long_lived: bool = False,
) -> MessageSource:
    """Make a link to the recording of a message that was spoken. Return it; it can be listened to until it expires."""

    content_type = await organization.database.read(_get_content_type, actor, conversation_id, message_id)
    expires_at = (clock.now() + (LONG if long_lived else SHORT)).replace(microsecond=0)
    expires = str(int(expires_at.timestamp()))
    signature = _sign(
        runtime.secret_box.derive("recordings"), organization.org_id, conversation_id, message_id, expires
    )
    place = f"v1/{quote(organization.org_id, safe='')}/conversation/{conversation_id}/messages/{message_id}/recording"
    url = f"{request.base_url}{place}?expires={expires}&signature={signature}"
    return MessageSource(url=url, expires_at=expires_at, content_type=content_type)


def _get_content_type(connection: Connection, actor: Actor, conversation_id: str, message_id: str) -> ContentType:
    conversation = get_conversation(connection, actor.org_id, conversation_id)
    message = messages.get_message(connection, conversation_id, message_id)
    actor.require(Permission.CONVERSATION_GET_MESSAGE, messages.attributes(conversation, message.message_type))
    if message.format == "text":
        raise BadRequest("The message is a text message.")
    content_type = recordings.find_content_type(connection, message_id)
    if content_type is None:  # a reply that was interrupted before anything of it was heard
        raise NotFound("There is no recording of this message.")
    return content_type


@router.get(
    "/{conversation_id}/messages/{message_id}/recording",
    operation_id=_OPERATION,
    response_class=Response,
    responses={
        200: {"content": {"audio/wav": {}, "audio/mpeg": {}}},
        206: {"description": "The part that the request's `Range` names."},
    },
)
async def get_message_recording(
    request: Request,
    runtime: CurrentRuntime,
    organization: Organization,
    conversation_id: ConversationPath,
    message_id: MessagePath,
    expires: Annotated[str, Query(description="As the link has it: seconds since 1970.")],
    signature: Annotated[str, Query(description="As the link has it.")],
) -> Response:
    """Return the recording that a link leads to, or the range of it that is asked for.

    403 when the link was changed, 410 when it has expired.
    """
    key = runtime.secret_box.derive("recordings")
    right = _sign(key, organization.org_id, conversation_id, message_id, expires)
    if not hmac.compare_digest(right.encode(), signature.encode()):
        raise Forbidden("This link is not one of ours.")
    if int(expires) < clock.now().timestamp():  # a number, for it was signed
        raise Gone("This link has expired.")
    await count(request, _OPERATION, READS_A_MINUTE, message_id)
    place = _place(runtime.limiter, message_id)
    recording = await _find_recording(organization, conversation_id, message_id)

    async def read(first: int, last: int) -> bytes:
        async with runtime.places.place((organization.org_id, _OPERATION)):  # as one user: the others are not starved
            return await organization.database.read(recordings.read_range, message_id, first, last)

    return RecordingResponse(recording, part_of(recording, request.headers), read, place)


def _place(limiter: Limiter | None, message_id: str) -> AbstractContextManager[None]:
    """Make the place of a reader of a recording. Return it, to be taken."""
    if limiter is None:
        return nullcontext()
    return limiter.place(READERS, f"There are {READERS} readers of this recording already.", _OPERATION, message_id)


async def _find_recording(organization: OrganizationScope, conversation_id: str, message_id: str) -> StoredRecording:
    where = (organization.org_id, conversation_id, message_id)
    recording = await organization.database.read(recordings.find_recording, *where)
    if recording is None:
        await organization.database.write(recordings.split_whole, message_id)
        recording = await organization.database.read(recordings.find_recording, *where)
    if recording is None:  # it cannot be whole again
        raise NotFound("There is no recording of this message.")
    return recording


def _sign(key: bytes, org_id: str, conversation_id: str, message_id: str, expires: str) -> str:
    """Sign the target of a link, and its end as it is written. Return the signature, HMAC-SHA-256 in hexadecimal."""
    signed = "\n".join([org_id, conversation_id, message_id, expires])
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()
