"""Models as work beside turns asks them: after a conversation, or for suggestions in one.

Each call is a line of the log, and each piece of work on a conversation leaves a trace, as turns do.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
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


MOST_BESIDE = 100
"""Traces of answers that are being kept at once; the next answer waits for its own."""


class RecordedWork:
    """Work beside turns, of which models and meanings are recorded; without a detail, by lines of the log alone."""

    def __init__(self, models: AllModels, meanings: Meanings, detail: Detail | None) -> None:
        self._models = models
        self._meanings = meanings
        self._detail: Detail | None = detail
        self._beside: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def begin(self, database: Database, worked: Worked) -> AsyncGenerator[WorkResources]:
        """Have a piece of work done in the block. Yield its models and meanings.

        At the end of the block each call is logged with its times, counts and error, without the texts. The trace is
        kept if the settings say so, after failures too.
        """
        async with self._recorded(worked, partial(self._keep, database, worked)) as resources:
            yield resources

    @asynccontextmanager
    async def begin_answer(self, database: Database, worked: Worked) -> AsyncGenerator[WorkResources]:
        """Have a piece of work done in the block, as `begin` does. Yield its models and meanings.

        A caller waits for its answer: the end of the block does not wait until the trace is kept.
        """
        async with self._recorded(worked, partial(self._keep_beside, database, worked)) as resources:
            yield resources

    async def drain(self) -> None:
        """Wait until the traces of answers are kept."""
        await asyncio.gather(*self._beside)

    @asynccontextmanager
    async def _recorded(
        self, worked: Worked, keep: Callable[["_Done"], Awaitable[None]]
    ) -> AsyncGenerator[WorkResources]:
        trace, began = Trace(self._detail or "spans", worked.work, TextPool()), clock.now()
        error: BaseException | None = None
        try:
            yield WorkResources(
                TracedModels(self._models.of(worked.org_id), trace), traced_meanings(self._meanings, trace)
            )
        except BaseException as raised:
            error = raised
            raise
        finally:
            await keep(_Done(trace, began, error))

    async def _keep_beside(self, database: Database, worked: Worked, done: "_Done") -> None:
        keeping = asyncio.create_task(self._keep(database, worked, done))
        self._beside.add(keeping)
        keeping.add_done_callback(self._beside.discard)
        if len(self._beside) > MOST_BESIDE:
            await asyncio.shield(keeping)

    async def _keep(self, database: Database, worked: Worked, done: "_Done") -> None:
        """Log the calls of work that has ended, and keep its trace. An error is logged, for the work has been done."""
        try:
            trace, calls = await asyncio.to_thread(_encode, worked, done)
            _log_calls(worked, calls)
            if self._detail is not None and calls:
                kept = partial(insert_trace_of_work, is_void=done.error is not None)
                await database.write(kept, worked, trace, done.began)
        except Exception as error:  # noqa: BLE001 - a trace that is lost is no reason for the work to fail
            log.warning("trace not kept", work=worked.work, conversation_id=worked.conversation_id, reason=repr(error))


@dataclass(frozen=True, slots=True)
class _Done:
    """A piece of work that has ended, as its trace tells it."""

    trace: Trace
    began: datetime
    error: BaseException | None


def _encode(worked: Worked, done: _Done) -> tuple[NewTrace, list[Span]]:
    """End the trace of a piece of work. Return it as it is stored, and its spans but for the work itself."""
    body, prompts = done.trace.encode(_root(worked), done.error, worked.work)
    _, [_, *spans] = read(body)
    return NewTrace(body, prompts), spans


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
    found = {"gen_ai.conversation.id": worked.conversation_id} if worked.conversation_id else {}
    return {**found, "tertulia.work": worked.work}


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
