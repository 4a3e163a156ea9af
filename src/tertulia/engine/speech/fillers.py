"""Fillers: something to say while a step of a spoken turn takes long."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import structlog

from tertulia import events
from tertulia.audio.pcm import RATE, wav
from tertulia.engine.speech.voices import Voices
from tertulia.engine.speech.wishes import Speaking

FILLER_RATE = 16_000
"""Samples a second of a filler, in Hz; the contract's."""

log = structlog.get_logger()

T = TypeVar("T")

StartedStep = (
    events.DecisionStarted | events.ReflectionStarted | events.ToolCallStarted | events.DesignatedToolRetrieved
)
"""A step that may take long."""


@asynccontextmanager
async def begun(step: Coroutine[Any, Any, T]) -> AsyncGenerator[asyncio.Task[T]]:
    """Run a step as a task, which ends with the block. Yield the task."""
    task = asyncio.create_task(step)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever left the block knows why; it is nobody else's


class Fillers:
    """The fillers of a turn, in its agent's voice. `turn` is its number: each takes the next of a step's fillers."""

    def __init__(self, voices: Voices, speaking: Speaking, turn: int) -> None:
        self._voices = voices
        self._speaking = speaking
        self._turn = turn

    async def meanwhile(
        self, step: asyncio.Task[Any], started: StartedStep, fillers: Sequence[str], after_s: float
    ) -> events.ActionTooLong | None:
        """Wait until a step has ended, or takes longer than `after_s` and there is something to say meanwhile.

        A filler never keeps a step waiting, nor spoils it: one that cannot be spoken is its text.
        """
        if not fillers:
            return None
        await asyncio.wait([step], timeout=after_s)
        if step.done():
            return None
        async with begun(self._spoken(fillers[self._turn % len(fillers)])) as speech:
            await asyncio.wait([step, speech], return_when=asyncio.FIRST_COMPLETED)
            return None if step.done() else events.ActionTooLong(speech.result(), started)

    async def _spoken(self, text: str) -> str:
        """Speak a filler. Return a WAV file in base64, or the text if no voice can speak it."""
        try:
            pcm = await self._pcm(text)
        except Exception as error:  # noqa: BLE001 - whatever it is, the turn goes on
            log.warning("filler not spoken", reason=repr(error))
            return text
        return base64.b64encode(wav(pcm, FILLER_RATE)).decode("ascii") if pcm else text

    async def _pcm(self, text: str) -> bytes:
        from tertulia.audio.resample import Resampler  # noqa: PLC0415 - an extra

        resampler = Resampler(RATE, FILLER_RATE)
        speaker = self._voices.speaker(self._speaking.voice_id, self._speaking.language)
        async with aclosing(speaker.speak(text)) as sounds:
            pieces = [resampler.feed(sound.pcm) async for sound in sounds]
        return b"".join([*pieces, resampler.finish()])


class Wait:
    """The wait for steps that `started` has begun: the first of them that takes long is filled. Without fillers, none.

    `after_s`: the seconds that a step may take.
    """

    def __init__(self, fillers: Fillers | None, started: StartedStep, texts: Sequence[str], after_s: float) -> None:
        self._fillers = fillers
        self._started = started
        self._texts = texts
        self._after_s = after_s

    async def beside(self, step: asyncio.Task[Any]) -> events.ActionTooLong | None:
        """Wait until a step has ended, or takes long. Return something to say meanwhile, or None."""
        if self._fillers is None:
            return None
        filler = await self._fillers.meanwhile(step, self._started, self._texts, self._after_s)
        if filler is not None:
            self._fillers = None
        return filler
