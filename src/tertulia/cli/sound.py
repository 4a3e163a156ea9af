"""The microphone and the loudspeaker of this machine, by PortAudio: only this module knows its library."""

import asyncio
import os
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from tertulia.audio.pcm import HEARING_RATE, RATE
from tertulia.cli.failure import MISUSED, CommandFailed

BLOCK_MS = 30
"""The microphone gives so much at a time."""

MOST_BLOCKS = 100
"""Blocks of the microphone that wait to be read; what is more is lost."""

LATENCY_S = 0.05
"""The time that sound may be on its way through PortAudio. With less, loudspeakers behind a sound server stutter."""

PORTAUDIO = "the library PortAudio (Debian, Ubuntu: apt-get install libportaudio2)"


class SoundDevice:
    """Sound on its way: to be played, it waits here for PortAudio; recorded, it waits to be read.

    PortAudio calls `fill` and `hear` in threads of its own.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._recorded: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_BLOCKS)
        self._to_play = bytearray()
        self._lock = threading.Lock()

    async def read(self) -> bytes:
        """The next block of the microphone: 16-bit mono PCM at HEARING_RATE.

        Raises:
            CommandFailed: it records no more.
        """
        block = await self._recorded.get()
        if block is None:
            raise CommandFailed("The microphone is gone.")
        return block

    def play(self, pcm: bytes) -> None:
        """Play 16-bit mono PCM at RATE after what is there already."""
        with self._lock:
            self._to_play += pcm

    def stop(self) -> None:
        """Forget what has not been played."""
        with self._lock:
            self._to_play.clear()

    def fill(self, out: memoryview, _frames: int, _time: Any, _status: Any) -> None:
        """Put what is to be played next where PortAudio wants it; silence where there is nothing."""
        with self._lock:
            piece = self._to_play[: len(out)]
            del self._to_play[: len(out)]
        out[:] = bytes(piece).ljust(len(out), b"\0")

    def hear(self, block: memoryview, _frames: int, _time: Any, _status: Any) -> None:
        """Keep what PortAudio recorded."""
        self._loop.call_soon_threadsafe(self._keep, bytes(block))

    def end(self) -> None:
        """Note that the microphone records no more."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._keep, None)

    def _keep(self, block: bytes | None) -> None:
        if block is None and self._recorded.full():
            self._recorded.get_nowait()
        if not self._recorded.full():
            self._recorded.put_nowait(block)


@contextmanager
def open_sound() -> Generator[SoundDevice]:
    """The devices that the system plays and records with, where nobody says otherwise. In a running event loop.

    Raises:
        CommandFailed: the extra, PortAudio, or a device is missing; says which.
    """
    library = _load()
    device = SoundDevice(asyncio.get_running_loop())
    _require(library, "input", "microphone")
    _require(library, "output", "loudspeaker")
    with _quiet(), ExitStack() as streams:
        try:
            streams.enter_context(
                library.RawOutputStream(RATE, 0, channels=1, dtype="int16", latency=LATENCY_S, callback=device.fill)
            )
            streams.enter_context(
                library.RawInputStream(
                    HEARING_RATE,
                    HEARING_RATE * BLOCK_MS // 1000,
                    channels=1,
                    dtype="int16",
                    latency=LATENCY_S,
                    callback=device.hear,
                    finished_callback=device.end,
                )
            )
        except library.PortAudioError as error:
            raise CommandFailed(f"The sound device does not work: {error}.") from error
        yield device


@contextmanager
def _quiet() -> Generator[None]:
    """Without the standard error of the process: ALSA writes there of every gap, amid what is said."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _load() -> Any:
    try:
        import sounddevice  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        raise CommandFailed("To talk by voice, install the extra `sound`.", MISUSED) from error
    except OSError as error:
        raise CommandFailed(f"To talk by voice, install {PORTAUDIO}.", MISUSED) from error
    return sounddevice


def _require(library: Any, kind: Literal["input", "output"], name: str) -> None:
    try:
        library.query_devices(kind=kind)
    except (library.PortAudioError, ValueError) as error:
        raise CommandFailed(f"There is no {name}.") from error
