"""Models as jobs ask them: each call is a line of the log, for no turn has a trace that could keep it."""

from collections.abc import Generator
from contextlib import contextmanager

import structlog

from tertulia.background.jobs import Work
from tertulia.engine.agent.models import AllModels, Models
from tertulia.engine.trace import TextPool, Trace, read
from tertulia.engine.traced import TracedModels

log = structlog.get_logger()


@contextmanager
def logged(models: AllModels, work: Work) -> Generator[Models]:
    """Have a job ask models. Yield those of its organization; each call is logged when the block ends, as it went.

    A line has times, counts and the error, nothing of what was said.
    """
    trace = Trace("spans", work.job.kind, TextPool())
    try:
        yield TracedModels(models.of(work.job.org_id), trace)
    finally:
        _, [_, *calls] = read(trace.encode({})[0])
        for call in calls:
            found = call.attributes
            log.info(
                "model asked",
                kind=work.job.kind,
                job=work.job.id,
                conversation_id=work.job.payload.get("conversation_id"),
                interaction=found["tertulia.interaction"],
                model=found["gen_ai.response.model"],
                ms=round(call.ms),
                tokens_in=found["gen_ai.usage.input_tokens"],
                tokens_out=found["gen_ai.usage.output_tokens"],
                tries=found["tertulia.tries"],
                error=found.get("error.type"),
            )
