"""Recordings of spoken messages: links to them, signed and of short life, and the recordings themselves."""

import hashlib
import hmac
import re
from datetime import datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.api.conversation.paths import ConversationPath, MessagePath
from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest, Forbidden, Gone, NotFound
from tertulia.storage import message as messages
from tertulia.storage import recording as recordings
from tertulia.storage.conversation import get_conversation
from tertulia.storage.turn.values import ContentType

router = contract_router("/conversation", "Conversation")

SHORT = timedelta(minutes=15)
LONG = timedelta(hours=12)


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
    expires = int(expires_at.timestamp())
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
    operation_id="get-message-recording",
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
    expires: Annotated[int, Query(description="As the link has it: seconds since 1970.")],
    signature: Annotated[str, Query(description="As the link has it.")],
) -> Response:
    """Return the recording that a link leads to. 403 when the link was changed, 410 when it has expired."""
    key = runtime.secret_box.derive("recordings")
    right = _sign(key, organization.org_id, conversation_id, message_id, expires)
    if not hmac.compare_digest(right.encode(), signature.encode()):
        raise Forbidden("This link is not one of ours.")
    if expires < clock.now().timestamp():
        raise Gone("This link has expired.")
    found = await organization.database.read(recordings.get_recording, organization.org_id, conversation_id, message_id)
    return _part(found.body, found.content_type, request.headers.get("range"))


def _sign(key: bytes, org_id: str, conversation_id: str, message_id: str, expires: int) -> str:
    """Sign the target of a link, and its end. Return the signature, HMAC-SHA-256 in hexadecimal."""
    signed = "\n".join([org_id, conversation_id, message_id, str(expires)])
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()


_HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "private",
    "Content-Disposition": "inline",
    "X-Content-Type-Options": "nosniff",
}

_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")


def _part(body: bytes, content_type: str, wanted: str | None) -> Response:
    """Answer with a body, or the one range of it that is asked for. Return the response.

    RFC 9110, section 14; other ranges count as none.
    """
    found = _RANGE.fullmatch((wanted or "").strip())
    if found is None or not (found["first"] or found["last"]):
        return Response(body, 200, _HEADERS, content_type)
    size = len(body)
    if found["first"]:
        first, last = int(found["first"]), min(int(found["last"] or size), size - 1)
        if found["last"] and int(found["last"]) < first:
            return Response(body, 200, _HEADERS, content_type)
    else:
        first, last = max(0, size - int(found["last"])), size - 1
    if first > last:
        return Response(b"", 416, {**_HEADERS, "Content-Range": f"bytes */{size}"})
    place = {"Content-Range": f"bytes {first}-{last}/{size}"}
    return Response(body[first : last + 1], 206, {**_HEADERS, **place}, content_type)
