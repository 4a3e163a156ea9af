"""HTTP: parse, authorise, call, render. One module per resource; this is their table of contents."""

from collections.abc import Mapping

from fastapi import APIRouter
from pydantic import BaseModel

from tertulia.api import docs, health
from tertulia.api.conversation import (
    feedback,
    insights,
    lists,
    realtime,
    recording,
    result,
    running,
    search,
    share,
    shared,
    stream,
    trace,
    turns,
)
from tertulia.api.conversation.form import InteractForm

ROUTERS: tuple[APIRouter, ...] = (
    turns.router,
    lists.router,
    running.router,
    search.router,
    feedback.router,
    share.router,
    shared.router,
    insights.router,
    trace.router,
    result.router,
    stream.router,
    realtime.router,
    recording.router,
    health.router,
    docs.router,
)
"""The routers that a process begins with, the busiest first; of two routes that match a path, the first one answers."""

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "organization": (
        "organization.organization",
        "organization.api_key",
        "organization.retention",
        "organization.agent",
        "organization.context_graph",
    ),
    "user": ("single_sign_on", "user", "memory", "person"),
    "role": ("role",),
    "service": ("service",),
    "dynamic_behavior_set": ("behavior",),
    "tool": ("tool.call", "tool.invocation", "tool.offer", "tool.tool", "tool.version"),
    "audit": ("audit",),
    "admin": ("admin", "provider_trial"),
}
"""The other modules that have a `router`, each in the family of its paths, `/v1/{organization}/FAMILY/...`.

A family is imported when one of its paths is first asked for, or soon after the start: see `api.http.families`.
"""

FORMS: dict[str, type[BaseModel]] = {"interact-with-conversation": InteractForm}
"""The multipart bodies, by operation."""
