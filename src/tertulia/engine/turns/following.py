"""Following, cancelling and looking at turns, wherever in the installation they run.

A turn is read from its log: here, at the worker that runs it, or from the database once it has ended.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial

import structlog

from tertulia import clock, events
from tertulia.engine.turns import relay
from tertulia.engine.turns.log import EventLog, RecordedLog, Stream
from tertulia.engine.turns.relay import Phase, Relay, RemoteTurn
from tertulia.engine.turns.runner import Runner
from tertulia.errors import Conflict, Gone, NotFound, TertuliaError, Unavailable
from tertulia.loops import Loops
from tertulia.storage.database.units import Database
from tertulia.storage.recording import read_range
from tertulia.storage.turn import worker
from tertulia.storage.turn.running import RunningTurn
from tertulia.storage.turn.stream import RecordedStream, RunningElsewhere, find_stream
from tertulia.storage.turn.sweep import end_expired

LOOKUPS = 5
"""Attempts to find a turn: between two of them it may end here, or begin there."""

LOOKUP_PAUSE_S = 0.02

LOOKS_PER_LEASE = 4
LOOK_S = 5.0
"""A worker that tells nothing of a turn for so many seconds, or a part of a lease, has its lease looked at."""

LOST = events.Error(503, "The worker that ran this turn is gone, and nothing of the turn remains.")

log = structlog.get_logger()


class Following:
    """The turns of an installation, as one of its workers can reach them."""

    def __init__(self, runner: Runner, registry: Database, relay_key: bytes, lease_s: float) -> None:
        self._runner = runner
        self._registry = registry
        self._relay_key = relay_key
        self._relay = Relay(relay_key, runner.find)
        self._lease_s = lease_s

    @asynccontextmanager
    async def open(self, host: str, loops: Loops) -> AsyncGenerator[None]:
        """Let other workers follow the turns of this one, at an address of `host`, while the block runs."""
        address = await self._relay.open(host)
        try:
            async with loops.keep("registration", partial(self._register, address), self._lease_s / 3):
                yield
        finally:
            await self._relay.close()
            with suppress(TertuliaError):
                await self._registry.write(worker.unregister, self._runner.owner)

    async def _register(self, address: str) -> None:
        until = clock.now() + timedelta(seconds=self._lease_s)
        await self._registry.write(worker.register, self._runner.owner, address, until)

    async def follow(self, database: Database, conversation_id: str, interaction_id: str, after: int = 0) -> Stream:
        """Find the events of a turn, wherever it runs or is kept; the first `after` lines are not wanted.

        Return its stream.

        Raises:
            NotFound: there is no such turn, or it is void.
            Gone: its events are not kept any more.
            Unavailable: the worker that runs it cannot be reached.
        """
        for _ in range(LOOKUPS):
            found = await self._find_log(database, conversation_id, interaction_id, after)
            if found is not None:
                return Stream(conversation_id, interaction_id, found)
            await asyncio.sleep(LOOKUP_PAUSE_S)
        raise Unavailable("The worker that runs this turn cannot be reached.", retry_after=2)

    async def _find_log(
        self, database: Database, conversation_id: str, interaction_id: str, after: int
    ) -> EventLog | None:
        turn = self._runner.find(interaction_id)
        if turn is not None and turn.claim.conversation_id == conversation_id:
            return turn.log
        found = await database.read(find_stream, conversation_id, interaction_id)
        if isinstance(found, RecordedStream):
            return RecordedLog(found.outline, partial(database.read, read_range))
        address = await self._address(found)
        if address is None:
            return None
        remote = await relay.follow_at(address, self._relay_key, interaction_id, after)
        if remote is None:
            return None

        async def look(told: int) -> bytes | None:
            return await _rest_of_silent(database, conversation_id, interaction_id, after + told)

        return WatchedLog(remote, look, min(LOOK_S, self._lease_s / LOOKS_PER_LEASE))

    async def _address(self, where: RunningElsewhere) -> str | None:
        if where.owner == self._runner.owner:  # it is about to begin here, or has just ended
            return None
        return await self._registry.read(worker.find_address, where.owner)

    async def look(self, turns: Sequence[RunningTurn]) -> dict[str, Phase]:
        """Ask the workers that run turns how far these are. Return their stages by interaction, as far as known.

        A turn that has just ended has none, nor has one whose worker does not answer.
        """
        found: dict[str, Phase] = {}
        elsewhere: dict[str, list[str]] = {}
        for running in turns:
            turn = self._runner.find(running.interaction_id)
            if turn is not None:
                found[running.interaction_id] = relay.phase(turn)
            elif running.owner != self._runner.owner:
                elsewhere.setdefault(running.owner, []).append(running.interaction_id)
        looks = [self._look_at(owner, ids[: relay.LOOKED_AT]) for owner, ids in elsewhere.items()]
        for some in await asyncio.gather(*looks):
            found |= some
        return found

    async def _look_at(self, owner: str, interaction_ids: Sequence[str]) -> dict[str, Phase]:
        address = await self._registry.read(worker.find_address, owner)
        if address is None:
            return {}
        try:
            return await relay.look_at(address, self._relay_key, interaction_ids)
        except Unavailable:
            return {}

    async def cancel(self, database: Database, conversation_id: str, interaction_id: str) -> None:
        """End a running turn, wherever it runs; nothing of it remains.

        Raises:
            NotFound: there is no such turn, or it is void already.
            Conflict: it is complete.
            Unavailable: the worker that runs it cannot be reached.
        """
        for _ in range(LOOKUPS):
            word = await self._cancel(database, conversation_id, interaction_id)
            if word == "yes":
                return
            if word == "late":
                raise Conflict("The interaction is complete.")
            await asyncio.sleep(LOOKUP_PAUSE_S)
        raise Unavailable("The worker that runs this turn cannot be reached.", retry_after=2)

    async def _cancel(self, database: Database, conversation_id: str, interaction_id: str) -> relay.Word:
        turn = self._runner.find(interaction_id)
        if turn is not None and turn.claim.conversation_id == conversation_id:
            return await relay.cancel(turn)
        try:
            found = await database.read(find_stream, conversation_id, interaction_id)
        except Gone:
            return "late"
        if isinstance(found, RecordedStream):
            return "late"
        address = await self._address(found)
        return await relay.cancel_at(address, self._relay_key, interaction_id) if address else "unknown"


Look = Callable[[int], Awaitable[bytes | None]]
"""A reader of the rest of a turn of which so many lines were told: None while its worker still has the lease."""


class WatchedLog:
    """The log of a turn at another worker. A worker that falls silent for `look_s` seconds may be dead, or frozen."""

    def __init__(self, remote: RemoteTurn, look: Look, look_s: float) -> None:
        self._remote = remote
        self._look = look
        self._look_s = look_s

    async def follow(self, after: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the lines that were asked for when the turn was found: `after` has been said already.

        Raises:
            ConnectionError: the other worker is gone before the turn has ended.
        """
        told = 0
        try:
            yield b""  # the other worker hears of a client that leaves
            while True:
                try:
                    async with asyncio.timeout(self._look_s):
                        lines = await self._remote.read()
                except TimeoutError:
                    rest = await self._look(told)
                    if rest is None:
                        continue
                    if rest:
                        yield rest
                    return
                if not lines:
                    return
                told += lines.count(b"\n")
                yield lines
        finally:
            self._remote.close()


async def _rest_of_silent(database: Database, conversation_id: str, interaction_id: str, after: int) -> bytes | None:
    """Look at a turn whose worker is silent. Return the rest of its lines if it has ended, an error if it is void.

    Return None while the worker has the lease. An expired lease is ended for good before the turn is called void, so
    that a worker that wakes up can commit nothing.
    """
    try:
        for _ in range(2):
            try:
                found = await database.read(find_stream, conversation_id, interaction_id)
            except NotFound:
                await database.write(end_expired, conversation_id, interaction_id)
                continue
            if isinstance(found, RunningElsewhere):
                return None
            rest = RecordedLog(found.outline, partial(database.read, read_range))
            return b"".join([lines async for lines in rest.follow(after)])
    except Gone:
        return b""
    except Unavailable:
        return None
    return events.encode(LOST)
