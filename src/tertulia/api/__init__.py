"""HTTP: parse, authorise, call, render. One module per resource; this is their table of contents."""

from fastapi import APIRouter
from pydantic import BaseModel

from tertulia.api import admin, audit, behavior, docs, health, memory, role, service, user
from tertulia.api.conversation import insights, lists, realtime, recording, result, stream, trace, turns
from tertulia.api.conversation.form import InteractForm
from tertulia.api.organization import agent, api_key, context_graph, organization, retention
from tertulia.api.tool import call, invocation, offer, tool, version

ROUTERS: tuple[APIRouter, ...] = (
    turns.router,
    lists.router,
    insights.router,
    trace.router,
    result.router,
    stream.router,
    realtime.router,
    recording.router,
    health.router,
    organization.router,
    api_key.router,
    retention.router,
    user.router,
    memory.router,
    role.router,
    agent.router,
    context_graph.router,
    service.router,
    behavior.router,
    call.router,
    invocation.router,
    offer.router,
    tool.router,
    version.router,
    audit.router,
    admin.router,
    docs.router,
)
"""Every router, the busiest first; of two routes that match a path, the first one answers."""

FORMS: dict[str, type[BaseModel]] = {"interact-with-conversation": InteractForm}
"""The multipart bodies, by operation."""
