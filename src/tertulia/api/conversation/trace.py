"""Traces of a conversation: of an interaction, or of work beside those; steps, model calls, prompts and answers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Path
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from tertulia.api.conversation.paths import ConversationPath, InteractionPath
from tertulia.api.http.deps import CurrentActor, Organization
from tertulia.api.http.pagination import PageModel, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId
from tertulia.api.trace_rules import may_read_prompts, require_trace, visible_traces
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.engine import trace as traces
from tertulia.engine.trace import Span
from tertulia.errors import NotFound
from tertulia.storage.conversation import get_conversation
from tertulia.storage.database.paging import Page, Window
from tertulia.storage.trace import StoredTrace, TraceEntry, get_trace, list_traces

router = contract_router("/conversation", "Conversation")

TURN = "turn"


class TraceSpan(BaseModel):
    """A step or a call. `attributes` have the names of OpenTelemetry's conventions for generative AI."""

    id: int
    parent_id: int | None
    name: str
    start: datetime
    ms: float
    attributes: dict[str, Any]


Outcome = Literal["settled", "void"]
PromptsShown = Literal["shown", "hidden", "not kept"]


class InteractionTrace(BaseModel):
    """The trace of an interaction; nothing else remains of a void one."""

    conversation_id: str
    interaction_id: str
    outcome: Outcome
    prompts: PromptsShown
    """`hidden`: the caller may not read all of the conversation's messages."""
    created_at: datetime
    spans: list[TraceSpan]


@router.get(
    "/{conversation_id}/interaction/{interaction_id}/trace",
    operation_id="get-interaction-trace",
    dependencies=[Depends(rate_limit(20))],
)
async def get_interaction_trace(
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    interaction_id: InteractionPath,
) -> InteractionTrace:
    """Tell how an interaction came to its end. Return its spans, of a void one too, for 30 days."""
    trace = await organization.database.read(_get_trace, actor, conversation_id, interaction_id)
    if trace.work is not None:
        raise NotFound(f"There is no interaction {interaction_id}.")
    return InteractionTrace(interaction_id=interaction_id, **_told(actor, trace))


def _get_trace(connection: Connection, actor: Actor, conversation_id: str, trace_id: str) -> StoredTrace:
    trace = get_trace(connection, actor.org_id, conversation_id, trace_id)
    require_trace(actor, trace)
    return trace


def _told(actor: Actor, trace: StoredTrace) -> dict[str, Any]:
    """Tell a trace as its caller may see it. Return the fields that all traces have."""
    detail, spans = traces.read(trace.body)
    shown = detail == "prompts" and may_read_prompts(actor, trace)
    return {
        "conversation_id": trace.conversation_id,
        "outcome": _outcome(trace),
        "prompts": "not kept" if detail == "spans" else "shown" if shown else "hidden",
        "created_at": trace.created_at,
        "spans": [_span(span, shown=shown) for span in spans],
    }


def _outcome(trace: StoredTrace | TraceEntry) -> Outcome:
    return "void" if trace.is_void else "settled"


# --- All traces of a conversation ------------------------------------------------------------------------------------

TracePath = Annotated[ObjectId, Path()]


class TraceItem(BaseModel):
    """A trace in a list. `work` is `turn`, or what was done beside turns; a turn's id is that of its interaction."""

    id: str
    work: str
    outcome: Outcome
    created_at: datetime


class Traces(PageModel):
    traces: list[TraceItem]


class ConversationTrace(BaseModel):
    """The trace of a turn, or of work beside turns; of work that is void, another attempt may have settled."""

    id: str
    conversation_id: str
    work: str
    outcome: Outcome
    prompts: PromptsShown
    created_at: datetime
    spans: list[TraceSpan]


@router.get("/{conversation_id}/trace/", operation_id="get-conversation-traces", dependencies=[Depends(rate_limit(20))])
async def get_conversation_traces(
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    part: Annotated[Window, Depends(window(default=50, most=50))],
) -> Traces:
    """List the traces of a conversation's turns, void ones too, and of the work beside them. Return a page."""
    page = await organization.database.read(_list_traces, actor, conversation_id, part)
    items = [
        TraceItem(
            id=entry.interaction_id, work=entry.work or TURN, outcome=_outcome(entry), created_at=entry.created_at
        )
        for entry in page.items
    ]
    return Traces.of(page, traces=items)


@router.get(
    "/{conversation_id}/trace/{trace_id}", operation_id="get-conversation-trace", dependencies=[Depends(rate_limit(20))]
)
async def get_conversation_trace(
    actor: CurrentActor, organization: Organization, conversation_id: ConversationPath, trace_id: TracePath
) -> ConversationTrace:
    """Tell how a turn, or work beside turns, came to its end. Return its spans, for 30 days."""
    trace = await organization.database.read(_get_trace, actor, conversation_id, trace_id)
    return ConversationTrace(id=trace_id, work=trace.work or TURN, **_told(actor, trace))


def _list_traces(connection: Connection, actor: Actor, conversation_id: str, part: Window) -> Page[TraceEntry]:
    """List the traces that the caller may see. Return a page; if it is empty, see that there is a conversation."""
    page = list_traces(connection, actor.org_id, conversation_id, visible_traces(actor), part)
    if not page.items and part.offset == 0:
        conversation = get_conversation(connection, actor.org_id, conversation_id)
        actor.require(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, conversation.attributes)
        graph = {"org_id": actor.org_id, "service_hierarchical_state_machine_id": conversation.graph[0]}
        actor.require(Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE, graph)
    return page


# --- Spans -----------------------------------------------------------------------------------------------------------


def _span(span: Span, *, shown: bool) -> TraceSpan:
    attributes = {} if span.name in traces.QUOTING and not shown else {**span.attributes}
    if shown:
        attributes |= _texts(span)
    return TraceSpan(
        id=span.id, parent_id=span.parent, name=span.name, start=span.start, ms=span.ms, attributes=attributes
    )


def _texts(span: Span) -> dict[str, Any]:
    """Write what a model was asked and answered in the form of the conventions. Return the attributes."""
    found: dict[str, Any] = {}
    if span.prompt is not None:
        found["gen_ai.system_instructions"] = [_part(span.prompt.system)]
        found["gen_ai.input.messages"] = [_message(turn.role, turn.content) for turn in span.prompt.history]
    if span.answer is not None:
        found["gen_ai.output.messages"] = [_message("assistant", span.answer)]
    return found


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [_part(text)]}


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}
