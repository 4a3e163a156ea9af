"""Models as work beside turns asks them: after a conversation, or for suggestions in one.

Each call is a line of the log, and each piece of work on a conversation leaves a trace, as turns do.
"""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from tertulia import clock
from tertulia.engine.agent.meanings import Meanings
from tertulia.engine.agent.models import AllModels, Models
from tertulia.engine.trace import Detail, Span, TextPool, Trace, read
from tertulia.engine.traced import TracedModels, traced_meanings
from tertulia.storage.database.units import Database
from tertulia.storage.post_processing import Followed
from tertulia.storage.trace import Worked, insert_trace_of_work
from tertulia.storage.turn.values import NewTrace

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkResources:
    """The models that a piece of work may ask, and the meanings of texts."""

    models: Models
    meanings: Meanings


class RecordedWork:
    """Work beside turns, of which models and meanings are recorded; without a detail, by lines of the log alone."""

    def __init__(self, models: AllModels, meanings: Meanings, detail: Detail | None) -> None:
        self._models = models
        self._meanings = meanings
        self._detail: Detail | None = detail

    @asynccontextmanager
    async def begin(self, database: Database, worked: Worked) -> AsyncGenerator[WorkResources]:
        """Have a piece of work done in the block. Yield its models and meanings.

        At the end of the block each call is logged with its times, counts and error, without the texts. The trace is
        kept if the settings say so, after failures too.
        """
        began = clock.now()
        trace = Trace(self._detail or "spans", worked.work, TextPool())
        error: BaseException | None = None
        try:
            yield WorkResources(
                TracedModels(self._models.of(worked.org_id), trace), traced_meanings(self._meanings, trace)
            )
        except BaseException as raised:
            error = raised
            raise
        finally:
            body, prompts = trace.encode(_root(worked), error, worked.work)
            _, [_, *spans] = read(body)
            _log_calls(worked, spans)
            if self._detail is not None and spans and worked.conversation_id:
                kept = partial(insert_trace_of_work, is_void=error is not None)
                await _keep(database.write(kept, worked, NewTrace(body, prompts), began), worked)


def on_finished(conversation: Followed, work: str) -> Worked:
    """Name work on a conversation that has ended. Return it."""
    return Worked(
        work,
        conversation.org_id,
        conversation.user_id,
        conversation.id,
        conversation.service_id,
        conversation.context_graph_id,
    )


def _root(worked: Worked) -> dict[str, str]:
    return {"gen_ai.conversation.id": worked.conversation_id, "tertulia.work": worked.work}


def _log_calls(worked: Worked, spans: list[Span]) -> None:
    for span in spans:
        found = span.attributes
        if "tertulia.interaction" not in found:
            continue
        log.info(
            "model asked",
            work=worked.work,
            conversation_id=worked.conversation_id,
            interaction=found["tertulia.interaction"],
            model=found["gen_ai.response.model"],
            ms=round(span.ms),
            tokens_in=found["gen_ai.usage.input_tokens"],
            tokens_out=found["gen_ai.usage.output_tokens"],
            tries=found["tertulia.tries"],
            error=found.get("error.type"),
        )


async def _keep(written: Awaitable[None], worked: Worked) -> None:
    """Wait until a trace is written. The work counts, and is not to fail for its trace."""
    try:
        await written
    except Exception as error:  # noqa: BLE001 - the work counts, whatever becomes of its trace
        log.warning("trace not kept", work=worked.work, conversation_id=worked.conversation_id, reason=repr(error))
