"""Routes for operators: signs of life, readiness, and counts."""

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

_log = structlog.get_logger(__name__)


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> dict[str, str]:
    """Answer, as a sign that the process lives."""
    return {"status": "ok"}


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(request: Request) -> dict[str, str]:
    """Answer if the process takes new turns, and every storage cluster answers.

    Raises:
        Unavailable: the server is stopping, or a cluster does not answer; the log says which.
    """
    runtime: Runtime = request.app.state.runtime
    if runtime.conversations.closing:
        raise Unavailable(STOPPING)
    clusters = runtime.clusters
    for name in runtime.settings.cluster_urls:
        try:
            await clusters.open(name).read(health.ping)
        except Exception as error:
            _log.warning("storage cluster does not answer", cluster=name, kind=type(error).__name__)
            raise Unavailable(f"The storage cluster {name} does not answer.") from error
    return {"status": "ok"}


@router.get("/metrics")
async def metrics() -> Response:
    """Show the counts of this process, or of all workers if `PROMETHEUS_MULTIPROC_DIR` names their common folder."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
