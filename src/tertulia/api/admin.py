"""The operator's look behind conversations: the models that there are, and the prompts that they were sent."""

import asyncio
import re
import zipfile
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import IO, Annotated, Any, cast

from fastapi import Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization, OrganizationScope
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.zips import Sink
from tertulia.api.service_rules import CONTRACT_MODELS
from tertulia.api.trace_rules import may_read_prompts, require_trace, visible_prompts
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.engine import trace as traces
from tertulia.engine.trace import PromptLog
from tertulia.errors import Forbidden, NotFound, TertuliaError, Unprocessable
from tertulia.storage.trace import LoggedTurn, StoredTrace, get_trace, list_logged_turns

router = contract_router("/admin", "Admin")

MOST_LOGS = 1000
"""Prompt logs that one answer has at most."""

_ID = re.compile("[0-9a-f]{24}")
_BEGINNING = re.compile("[0-9a-f]{0,24}")
_NONE = "prompt_log_prefix: no prompt log has a key that begins so."


class Model(BaseModel):
    name: str
    params_model_schema: dict[str, Any]


class ModelList(BaseModel):
    models: list[Model]


@router.get("/get_models/", operation_id="get-models", dependencies=[Depends(rate_limit(20))])
async def get_models(runtime: CurrentRuntime, actor: CurrentActor, organization: Organization) -> ModelList:
    """List the names that a version set can prefer here. Return each with the schema of its parameters."""
    actor.require(Permission.ADMIN_GET_MODELS, organization.attributes)
    catalogue = runtime.models.catalogue
    names = dict.fromkeys([*catalogue.names, *sorted(CONTRACT_MODELS)])
    found = [(name, catalogue.params_of(name)) for name in names]
    return ModelList(models=[Model(name=name, params_model_schema=dict(schema)) for name, schema in found if schema])


# --- Prompt logs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogPrefix:
    """The beginning of the keys of prompt logs: `{conversation_id}/{interaction_id}/{number}-{interaction}`.

    `conversation` and `interaction` are beginnings of ids; `rest` is the beginning of what follows whole ones.
    """

    conversation: str
    interaction: str = ""
    rest: str = ""

    @classmethod
    def of(cls, text: str) -> "LogPrefix | None":
        """Parse a prefix. Return it, or None if no key begins so."""
        conversation, *more = text.split("/", 2)
        interaction = more[0] if more else ""
        whole = [conversation, interaction][: len(more)]
        begun = [conversation, interaction][len(more) :][:1]
        if all(map(_ID.fullmatch, whole)) and all(map(_BEGINNING.fullmatch, begun)):
            return cls(conversation, interaction, more[1] if len(more) > 1 else "")
        return None


class ZipResponse(StreamingResponse):
    media_type = "application/zip"


@router.get(
    "/get_prompt_logs/",
    operation_id="get-prompt-logs",
    response_class=ZipResponse,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string"}}}}},
    dependencies=[Depends(rate_limit(20))],
)
async def get_prompt_logs(
    actor: CurrentActor,
    organization: Organization,
    prompt_log_prefix: Annotated[
        str,
        Query(
            max_length=200,
            description="`{conversation_id}/{interaction_id}/{number}-{interaction}`, or the beginning of that.",
        ),
    ],
) -> ZipResponse:
    """Collect the prompts of the past 30 days whose keys begin so. Return a zip; more than 1,000 are refused.

    Each is a file of the system prompt and one of the history, or of the error if the caller may not see it.
    """
    prefix = LogPrefix.of(prompt_log_prefix)
    if prefix is None:
        raise NotFound(_NONE)
    turns = await organization.database.read(_list_turns, actor, prefix)
    if not turns:
        raise NotFound(_NONE)
    if prefix.rest:
        turns = await _with_rest(organization, turns[0], prefix.rest)
    elif sum(turn.prompts for turn in turns) > MOST_LOGS:
        raise Unprocessable(
            f"More than {MOST_LOGS} prompt logs have keys that begin so.", ("query", "prompt_log_prefix")
        )
    return ZipResponse(_zip(organization, actor, turns, prefix))


def _list_turns(connection: Connection, actor: Actor, prefix: LogPrefix) -> Sequence[LoggedTurn]:
    """List turns that have prompt logs. Logs that the caller may not see are told of no more than is named already."""
    visible = visible_prompts(actor)
    return list_logged_turns(
        connection, actor.org_id, visible, prefix.conversation, prefix.interaction, most=MOST_LOGS + 1
    )


async def _with_rest(organization: OrganizationScope, turn: LoggedTurn, rest: str) -> list[LoggedTurn]:
    """See that a turn has a prompt log whose key ends as asked for. Return the turn, or raise NotFound."""
    trace = await _read(organization, turn)
    if not any(name.startswith(rest) for name, _ in _logs(trace)):
        raise NotFound(_NONE)
    return [turn]


async def _read(organization: OrganizationScope, turn: LoggedTurn) -> StoredTrace:
    return await organization.database.read(get_trace, organization.org_id, turn.conversation_id, turn.interaction_id)


def _logs(trace: StoredTrace) -> list[tuple[str, PromptLog]]:
    """Read the prompts of a trace. Return each after the last part of its key."""
    prompts = [span.prompt for span in traces.read(trace.body)[1] if span.prompt is not None]
    return [(f"{number}-{prompt.interaction}", prompt) for number, prompt in enumerate(prompts, 1)]


async def _zip(
    organization: OrganizationScope, actor: Actor, turns: Sequence[LoggedTurn], prefix: LogPrefix
) -> AsyncGenerator[bytes, None]:
    """Write the prompt logs of turns into a zip, turn by turn. Return its bytes as they come."""
    sink = Sink()
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w", zipfile.ZIP_DEFLATED) as archive:
        for turn in turns:
            for name, text in await _files(organization, actor, turn, prefix):
                await asyncio.to_thread(archive.writestr, name, text)  # the event loop is not to wait for it
            yield sink.take()
    yield sink.take()


async def _files(
    organization: OrganizationScope, actor: Actor, turn: LoggedTurn, prefix: LogPrefix
) -> list[tuple[str, str]]:
    """Write the files of a turn's prompt logs. Return their names and texts.

    Logs that the caller may not see are named only to callers who name their conversation.
    """
    place = f"{turn.conversation_id}/{turn.interaction_id}"
    try:
        trace = await _read(organization, turn)
        logs = [(name, log) for name, log in await asyncio.to_thread(_logs, trace) if name.startswith(prefix.rest)]
    except TertuliaError as error:  # it has gone meanwhile
        return [(f"{place}-error", error.detail)]
    refusal = _refusal(actor, trace)
    if refusal:
        return [(f"{place}/{name}-error", refusal) for name, _ in logs if prefix.conversation == turn.conversation_id]
    return [file for name, log in logs for file in _pair(f"{place}/{name}", log)]


def _pair(key: str, log: PromptLog) -> list[tuple[str, str]]:
    history = "\n---\n".join(f"{turn.role}: {turn.content}" for turn in log.history)
    return [(f"{key}-system", log.system), (f"{key}-history", history)]


def _refusal(actor: Actor, trace: StoredTrace) -> str:
    """Ask if a caller may see a turn's prompts. Return why not; an empty text if they may."""
    try:
        require_trace(actor, trace)
    except Forbidden as error:
        return error.detail
    return "" if may_read_prompts(actor, trace) else f"This takes the permission {Permission.CONVERSATION_GET_MESSAGE}."
