"""The turns of conversations: create one, go on with one, finish one."""

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import Depends, Query

from tertulia.api.conversation import door
from tertulia.api.conversation.action_filter import EVERYTHING, action_filter
from tertulia.api.conversation.form import InteractForm, read_interact_form, spoken_message
from tertulia.api.conversation.idempotency import IdempotencyKey, make_ticket
from tertulia.api.conversation.opening import CreateConversation
from tertulia.api.conversation.paths import ConversationPath
from tertulia.api.http.deps import CurrentCaller
from tertulia.api.http.ndjson import NDJSONResponse
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.audio import require_codecs
from tertulia.engine.speech.wishes import AudioFormat, VoiceWish
from tertulia.engine.turns.conversations import TurnOptions
from tertulia.errors import in_field

router = contract_router("/conversation", "Conversation")

TextOrVoice = Literal["text", "voice"]
ActionPattern = Annotated[str, Query(alias="current_agent_action_type")]


@router.post("/", operation_id="create-conversation", status_code=201, dependencies=[Depends(rate_limit(5))])
async def create_conversation(
    caller: CurrentCaller,
    body: CreateConversation,
    response_format: TextOrVoice,
    action_pattern: ActionPattern = EVERYTHING,
    audio_format: AudioFormat | None = None,
    idempotency_key: IdempotencyKey = None,
) -> NDJSONResponse:
    """Create a conversation and start it. The user must not have an unfinished one of the same service."""
    incoming = body.to_incoming()
    matches = action_filter(action_pattern)
    voice = _voice(response_format, audio_format)
    asked = [response_format, action_pattern, *([] if voice is None else [voice.audio_format])]
    options = TurnOptions(make_ticket(caller, idempotency_key, "create", body, *asked), voice)
    stream = await door.start(caller, body.to_opening(caller), incoming, matches, options)
    return NDJSONResponse(stream, 201, spoken=voice is not None)


@router.post(
    "/{conversation_id}/interact",
    operation_id="interact-with-conversation",
    dependencies=[Depends(rate_limit(15))],
)
async def interact_with_conversation(
    caller: CurrentCaller,
    conversation_id: ConversationPath,
    form: Annotated[InteractForm, Depends(read_interact_form)],
    request_format: TextOrVoice,
    response_format: TextOrVoice,
    action_pattern: ActionPattern = EVERYTHING,
    request_audio_config: Annotated[str | None, Query()] = None,
    audio_format: AudioFormat | None = None,
    idempotency_key: IdempotencyKey = None,
) -> NDJSONResponse:
    """Send a message to a conversation, or let the agent go on, and stream its answer."""
    incoming = form.to_incoming()
    matches = action_filter(action_pattern)
    voice = _voice(response_format, audio_format)
    asked = [response_format, action_pattern, *([] if voice is None else [voice.audio_format])]
    if request_format == "voice":
        decode = spoken_message(form.audio, request_audio_config, caller.runtime.settings.limit.audio_s)
        incoming = replace(incoming, decode=decode)
        asked += [request_format, request_audio_config or ""]
    options = TurnOptions(make_ticket(caller, idempotency_key, conversation_id, form, *asked), voice)
    with in_field("recorded_message"):
        stream = await door.interact(caller, conversation_id, incoming, matches, options)
    return NDJSONResponse(stream, 200, spoken=voice is not None)


@router.post(
    "/{conversation_id}/finish/",
    operation_id="finish-conversation",
    status_code=204,
    dependencies=[Depends(rate_limit(5))],
)
async def finish_conversation(caller: CurrentCaller, conversation_id: ConversationPath) -> None:
    """Finish a conversation. One without messages is removed."""
    await door.finish(caller, conversation_id)


def _voice(response_format: TextOrVoice, audio_format: AudioFormat | None) -> VoiceWish | None:
    if response_format == "text":
        return None
    if audio_format == "mp3":
        with in_field("audio_format"):
            require_codecs()
    return VoiceWish(audio_format or "pcm")
