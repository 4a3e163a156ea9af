import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.fake_timer import FakeTimer, settle
from tertulia.engine.speech.playback import LEAD_MS, Interrupted, Playback


@pytest.fixture
def timer() -> FakeTimer:
    return FakeTimer()


async def test_sound_is_heard_as_time_passes(timer: FakeTimer):
    playback = Playback(timer)
    await playback.sent(300)
    assert playback.heard_ms == 0
    await timer.advance(0.1)
    assert playback.heard_ms == pytest.approx(100)
    await timer.advance(5)
    assert playback.heard_ms == 300


async def test_the_sender_waits_while_the_listener_is_too_far_behind(timer: FakeTimer):
    playback = Playback(timer)
    sending = asyncio.create_task(playback.sent(LEAD_MS + 600))
    await timer.advance(0.599)
    assert not sending.done()
    await timer.advance(0.001)
    assert sending.done()
    assert playback.heard_ms == pytest.approx(600)


async def test_nothing_is_heard_while_there_is_nothing_left_to_play(timer: FakeTimer):
    playback = Playback(timer)
    await playback.sent(100)
    await timer.advance(2)
    await playback.sent(100)
    assert playback.heard_ms == 100
    await timer.advance(0.05)
    assert playback.heard_ms == pytest.approx(150)


async def test_it_is_played_when_all_of_it_was_heard(timer: FakeTimer):
    playback = Playback(timer)
    await playback.sent(350)
    playing = asyncio.create_task(playback.played())
    await timer.advance(0.349)
    assert not playing.done()
    await timer.advance(0.001)
    await playing
    assert timer.waiting == 0


async def test_what_was_never_sent_is_played(timer: FakeTimer):
    await Playback(timer).played()


async def test_an_interruption_wakes_who_waits_and_stops_the_clock(timer: FakeTimer):
    playback = Playback(timer)
    sending = asyncio.create_task(playback.sent(1000))
    playing = asyncio.create_task(playback.played())
    await timer.advance(0.25)
    playback.interrupt()
    await timer.advance(1)
    for task in (sending, playing):
        with pytest.raises(Interrupted) as raised:
            await task
        assert raised.value.heard_ms == pytest.approx(250)
    assert playback.heard_ms == pytest.approx(250)
    assert timer.waiting == 0


async def test_after_an_interruption_nothing_more_counts(timer: FakeTimer):
    playback = Playback(timer)
    await playback.sent(100)
    playback.interrupt()
    playback.interrupt()
    with pytest.raises(Interrupted) as raised:
        await playback.sent(100)
    assert raised.value.heard_ms == 0
    assert playback.sent_ms == 100


async def test_who_stops_waiting_leaves_nothing_behind(timer: FakeTimer):
    playback = Playback(timer)
    sending = asyncio.create_task(playback.sent(1000))
    await settle()
    sending.cancel()
    await settle()
    assert sending.cancelled()
    assert timer.waiting == 0


async def test_what_is_waited_for_meanwhile_ends_with_an_interruption(timer: FakeTimer):
    playback = Playback(timer)
    closed = asyncio.Event()

    async def wait() -> None:
        async with playback.attended():
            try:
                await asyncio.Event().wait()
            finally:
                closed.set()

    waiting = asyncio.create_task(wait())
    await playback.sent(100)
    await timer.advance(0.05)
    playback.interrupt()
    playback.interrupt()
    with pytest.raises(Interrupted) as raised:
        await waiting
    assert raised.value.heard_ms == pytest.approx(50)
    assert closed.is_set()


async def test_what_begins_after_an_interruption_ends_at_once(timer: FakeTimer):
    playback = Playback(timer)
    playback.interrupt()
    with pytest.raises(Interrupted):
        async with playback.attended():
            raise AssertionError("it has begun")


async def test_other_ends_of_an_attended_block_are_its_own(timer: FakeTimer):
    playback = Playback(timer)
    with pytest.raises(TimeoutError):
        async with playback.attended():
            raise TimeoutError
    async with playback.attended():
        pass
    playback.interrupt()


async def test_the_event_loop_is_its_clock_by_itself():
    playback = Playback()
    await playback.sent(5)
    await playback.played()
    assert playback.heard_ms == 5


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 300)), max_size=12))
async def test_no_more_is_heard_than_was_sent_and_it_never_goes_back(steps: list[tuple[float, float]]):
    timer = FakeTimer()
    playback = Playback(timer)
    heard = 0.0
    for pause_ms, sent_ms in steps:
        await timer.advance(pause_ms / 1000)
        sending = asyncio.create_task(playback.sent(sent_ms))
        await settle()
        assert heard <= playback.heard_ms <= playback.sent_ms
        await timer.advance(sent_ms / 1000)
        await sending
        assert playback.sent_ms - playback.heard_ms <= LEAD_MS + 1e-6
        heard = playback.heard_ms
