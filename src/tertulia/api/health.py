"""Routes for operators: signs of life, readiness, and counts."""

import asyncio
import os

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from tertulia.engine.turns.runner import STOPPING
from tertulia.errors import Unavailable
from tertulia.runtime import Runtime
from tertulia.storage.database import health

router = APIRouter(include_in_schema=False)

PING_S = 2.0
"""The longest time for which a storage cluster is waited for."""

_log = structlog.get_logger(__name__)


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> dict[str, str]:
    """Answer, as a sign that the process lives."""
    return {"status": "ok"}


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(request: Request) -> dict[str, str]:
    """Answer if the process takes new turns, every storage cluster answers, and the loops beside the requests run.

    Raises:
        Unavailable: the server is stopping, a cluster does not answer, or a loop fails; the log says why.
    """
    runtime: Runtime = request.app.state.runtime
    if runtime.conversations.closing:
        raise Unavailable(STOPPING)
    clusters = runtime.clusters
    for name in runtime.settings.cluster_urls:
        try:
            async with asyncio.timeout(PING_S):
                await clusters.open(name).read(health.ping)
        except Exception as error:
            _log.warning("storage cluster does not answer", cluster=name, kind=type(error).__name__)
            raise Unavailable(f"The storage cluster {name} does not answer.") from error
    if unwell := runtime.loops.unwell():
        raise Unavailable(f"This is not well: {', '.join(unwell)}.")
    return {"status": "ok"}


@router.get("/metrics")
async def metrics() -> Response:
    """Show the counts of this process, or of all workers if `PROMETHEUS_MULTIPROC_DIR` names their common folder."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
