"""HTTP: parse, authorise, call, render. One module per resource; this is their table of contents."""

from fastapi import APIRouter

from tertulia.api import docs, health, service, user
from tertulia.api.conversation import conversation, interaction, realtime, recording, stream
from tertulia.api.organization import agent, context_graph, organization

ROUTERS: tuple[APIRouter, ...] = (
    conversation.router,
    interaction.router,
    stream.router,
    realtime.router,
    recording.router,
    health.router,
    organization.router,
    user.router,
    agent.router,
    context_graph.router,
    service.router,
    docs.router,
)
"""Every router, the busiest first; of two routes that match a path, the first one answers."""
