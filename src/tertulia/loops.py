"""Loops: tasks beside the requests, each a step that is done again and again, whatever it meets."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog

RETRY_S = 1.0
"""The pause after a step that failed, unless the usual one is shorter."""

STEP_S = 30.0
"""The longest time of a step, unless its loop says otherwise; then it is given up and has failed."""

FAILURES = 3
"""So many failures in a row mean that a loop is not well."""

Step = Callable[[], Awaitable[object]]

_log = structlog.get_logger(__name__)


class Loops:
    """The loops of a process, and how they are."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}

    def unwell(self) -> list[str]:
        """Return the names of the loops whose steps fail."""
        return [name for name, failures in self._failures.items() if failures >= FAILURES]

    @asynccontextmanager
    async def keep(self, name: str, step: Step, every_s: float, limit_s: float | None = None) -> AsyncGenerator[None]:
        """Do a step now, and again `every_s` seconds after its end, while the block runs. A step has `limit_s`."""
        task = asyncio.create_task(self._repeat(name, step, every_s, limit_s or STEP_S), name=name)
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._failures.pop(name, None)

    async def _repeat(self, name: str, step: Step, every_s: float, limit_s: float) -> None:
        task = asyncio.current_task()
        while True:
            try:
                async with asyncio.timeout(limit_s):
                    await step()
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt | SystemExit) or (task is not None and task.cancelling()):
                    raise
                self._failures[name] = self._failures.get(name, 0) + 1
                _log.warning("loop failed", loop=name, times=self._failures[name], reason=repr(error))
                await asyncio.sleep(min(RETRY_S, every_s))
            else:
                if self._failures.pop(name, 0) >= FAILURES:
                    _log.info("loop is well again", loop=name)
                await asyncio.sleep(every_s)
