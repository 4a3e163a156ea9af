"""The trace of an interaction: its steps, its model calls, and what models were asked and answered."""

from datetime import datetime
from typing import Any, Literal

from fastapi import Depends
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from tertulia.api.conversation.paths import ConversationPath, InteractionPath
from tertulia.api.http.deps import CurrentActor, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.trace_rules import may_read_prompts, require_trace
from tertulia.auth.actor import Actor
from tertulia.engine import trace as traces
from tertulia.engine.trace import Span
from tertulia.storage.trace import StoredTrace, get_trace

router = contract_router("/conversation", "Conversation")


class TraceSpan(BaseModel):
    """A step or a call. `attributes` have the names of OpenTelemetry's conventions for generative AI."""

    id: int
    parent_id: int | None
    name: str
    start: datetime
    ms: float
    attributes: dict[str, Any]


class InteractionTrace(BaseModel):
    """The trace of an interaction; nothing else remains of a void one."""

    conversation_id: str
    interaction_id: str
    outcome: Literal["settled", "void"]
    prompts: Literal["shown", "hidden", "not kept"]
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
    detail, spans = traces.read(trace.body)
    shown = detail == "prompts" and may_read_prompts(actor, trace)
    return InteractionTrace(
        conversation_id=conversation_id,
        interaction_id=interaction_id,
        outcome="void" if trace.is_void else "settled",
        prompts="not kept" if detail == "spans" else "shown" if shown else "hidden",
        created_at=trace.created_at,
        spans=[_span(span, shown=shown) for span in spans],
    )


def _get_trace(connection: Connection, actor: Actor, conversation_id: str, interaction_id: str) -> StoredTrace:
    trace = get_trace(connection, actor.org_id, conversation_id, interaction_id)
    require_trace(actor, trace)
    return trace


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
