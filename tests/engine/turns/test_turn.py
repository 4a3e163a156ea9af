"""Stopping a turn, where it is nearly over."""

import asyncio
from typing import Any

import pytest

from tertulia.engine.turns.patience import Patience
from tertulia.engine.turns.relay import cancel
from tertulia.engine.turns.turn import Status, Turn, no_actions
from tertulia.errors import Conflict, Unavailable

pytestmark = pytest.mark.both_databases

NOBODY: Any = None


def a_turn() -> Turn:
    return Turn(NOBODY, NOBODY, no_actions, Patience(60, 900))


@pytest.mark.parametrize(("settled", "word"), [(True, "late"), (False, "yes")])
async def test_cancelling_while_a_failed_commit_is_looked_into_tells_what_came_of_it(settled: bool, word: str) -> None:
    turn = a_turn()
    cancelled = asyncio.Event()

    async def look_into() -> None:
        turn.begin()
        turn.begin_settling()
        turn.fail(Unavailable("The database cannot be reached."))
        await cancelled.wait()
        turn.end(Status.SETTLED if settled else Status.VOID, b"\n")

    turn.task = asyncio.create_task(look_into())
    await asyncio.sleep(0)
    asking = asyncio.create_task(cancel(turn))
    await asyncio.sleep(0)
    cancelled.set()
    assert await asking == word


@pytest.mark.parametrize(("settled", "word"), [(True, "late"), (False, "yes")])
async def test_cancelling_while_a_turn_is_committed_tells_whether_it_was(settled: bool, word: str) -> None:
    turn = a_turn()
    committed = asyncio.Event()

    async def commit() -> None:
        turn.begin()
        turn.begin_settling()
        await committed.wait()
        turn.end(Status.SETTLED if settled else Status.VOID, b"\n")

    turn.task = asyncio.create_task(commit())
    await asyncio.sleep(0)
    asking = asyncio.create_task(cancel(turn))
    await asyncio.sleep(0)
    committed.set()
    assert await asking == word


async def test_a_turn_that_was_stopped_is_not_committed_even_where_its_cancellation_got_lost() -> None:
    turn = a_turn()
    turn.task = asyncio.current_task()
    turn.begin()
    turn.fail(Conflict("The interaction was cancelled."))
    with pytest.raises(Conflict):
        turn.begin_settling()
    assert turn.status is Status.STOPPED
