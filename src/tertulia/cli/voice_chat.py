"""`tertulia chat --voice`: talk with an agent by microphone and loudspeaker, in a live conversation.

The server finds in the microphone's stream what is speech. docs/reference/realtime.md has the messages.
"""

import asyncio
import base64
import io
import json
import os
import struct
import sys
import wave
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tertulia.audio.pcm import RATE, duration_ms
from tertulia.cli.chat import recall
from tertulia.cli.client import ApiError, Event, Session
from tertulia.cli.failure import CommandFailed
from tertulia.cli.sound import open_sound
from tertulia.cli.transcript import Transcript, wrapping

HELP = "Ctrl-C or /quit hangs up and leaves the conversation open, /finish ends it; what you type is a message too."
HINT = "Use headphones: whatever the microphone hears interrupts the agent."

NORMAL, IDLE = 1000, 4408
"""Codes that a conversation is closed with when nothing is wrong."""


class Device(Protocol):
    """A microphone and a loudspeaker."""

    async def read(self) -> bytes:
        """The next sound of the microphone: 16-bit mono PCM at HEARING_RATE."""
        ...

    def play(self, pcm: bytes) -> None:
        """Play 16-bit mono PCM at RATE, after what is there already."""
        ...

    def stop(self) -> None:
        """Forget what has not been played."""
        ...


def run(console: Console, session: Session, service: dict[str, Any]) -> None:
    """Go on with what is unfinished, or begin; then talk until somebody ends it.

    Raises:
        CommandFailed: there is no sound device, no server, or the conversation cannot be had.
    """
    try:
        asyncio.run(_run(console, session, service))
    except KeyboardInterrupt:
        console.print("\n[dim]You have hung up; the conversation stays open.[/]")


async def _run(console: Console, session: Session, service: dict[str, Any]) -> None:
    with open_sound() as device:
        console.print(f"[bold]{escape(service['name'])}[/] at {session.api.url}. [dim]{HELP}\n{HINT}[/]")
        recalled = await asyncio.to_thread(recall, console, session, service, "/finish ends it")
        await VoiceChat(console, session, device).run(service["id"], recalled.conversation_id, typed_lines())


class VoiceChat:
    """A live conversation of one microphone and one loudspeaker, its text on a terminal."""

    def __init__(self, console: Console, session: Session, device: Device) -> None:
        self._console = console
        self._session = session
        self._device = device
        self._speech = Speech(device, wrapping(console).feed)
        self._typed: deque[str] = deque()
        """Typed text that the server has not taken up yet; the terminal shows it already."""
        self._begun = False
        self._last = ""
        """The last message of the server."""

    async def run(self, service_id: str, conversation_id: str, lines: AsyncIterator[str]) -> None:
        """Talk until a side ends it; go on with a conversation if one is named. Whoever cancels this hangs up.

        Raises:
            CommandFailed: there is no connection, or the server ended it for a reason of its own.
        """
        async with self._session.api.talk() as connection:
            sides = [
                asyncio.create_task(side)
                for side in (
                    self._follow(connection),
                    self._speak(connection, service_id, conversation_id),
                    self._type(connection, lines),
                )
            ]
            try:
                done, _ = await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                self._speech.hush()
                raise
            finally:
                for side in sides:
                    side.cancel()
                await asyncio.gather(*sides, return_exceptions=True)
            for side in done:
                with suppress(ConnectionClosed):
                    side.result()
        await self._part(connection)

    async def _part(self, connection: ClientConnection) -> None:
        """Say why the conversation is over, when what was said has been heard."""
        if connection.close_code not in {NORMAL, IDLE}:
            self._speech.hush()
            raise CommandFailed(f"The call has ended: {connection.close_reason or 'the connection broke'}.")
        await self._speech.heard()
        if connection.close_reason:
            self._console.print(f"[dim]The call is over: {connection.close_reason}.[/]")

    # --- What is sent ------------------------------------------------------------------------------------------------

    async def _speak(self, connection: ClientConnection, service_id: str, conversation_id: str) -> None:
        if conversation_id:
            await _send(connection, "continue-conversation", conversation_id=conversation_id)
        else:
            await _send(connection, "start-conversation", service_id=service_id)
        await _send(connection, "switch-vad-mode", vad_mode_on=True)
        while True:
            block = await self._device.read()
            await _send(connection, "new-audio-message", audio=base64.b64encode(block).decode())

    async def _type(self, connection: ClientConnection, lines: AsyncIterator[str]) -> None:
        async for line in lines:
            match line.strip():
                case "":
                    pass
                case "/quit":
                    break
                case "/finish":
                    await _send(connection, "finish-conversation")
                case text if text.startswith("/"):
                    self._console.print(f"[dim]{HELP}[/]")
                case text:
                    self._speech.hush()
                    self._typed.append(text)
                    await _send(connection, "new-text-message", text=text, message_type="user-message")
        self._speech.hush()

    # --- What comes --------------------------------------------------------------------------------------------------

    async def _follow(self, connection: ClientConnection) -> None:
        while True:
            text = str(await connection.recv())
            self._take(json.loads(text), again=text == self._last)
            self._last = text

    def _take(self, message: Event, *, again: bool) -> None:
        match message["type"].removeprefix("server."):
            case "conversation-created":
                self._begun = True
            case "vad-speech-started":
                self._speech.hush()
            case "user-message-available":
                self._show_user(message["user_message"])
            case "current-agent-action":
                self._speech.fill(message["action"].get("filler", ""))
            case "new-message":
                self._speech.add(message)
            case "error":
                self._refuse(message, again=again)
            case _:
                pass

    def _show_user(self, text: str) -> None:
        if self._typed and self._typed[0] == text:
            self._typed.popleft()
        else:
            Transcript(self._console, "").say("you", text)

    def _refuse(self, message: Event, *, again: bool) -> None:
        error = ApiError(message["http_error_code"], message["error_description"])
        if again or not self._begun:
            raise error
        self._speech.hush()
        self._console.print(f"[bold red]{error.text}[/]")


class Speech:
    """The agent's speech: heard from the loudspeaker, and written as it is heard."""

    def __init__(self, device: Device, write: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._device = device
        self._write = write
        self._message_id = ""
        self._hushed_id = ""
        self._began = 0.0
        """The loop's time at which the message's sound began; at `_ends` all that is there has been heard."""
        self._ends = 0.0
        self._captions: deque[tuple[float, str]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._mid_line = False

    def add(self, piece: Event) -> None:
        """Have a piece of a message heard and read, unless the message has been hushed."""
        if piece["message_id"] == self._hushed_id:
            return
        late = max(0.0, self._loop.time() - self._ends)
        if piece["message_id"] != self._message_id:
            self._message_id, self._began = piece["message_id"], self._ends
            self._captions.append((self._began + late, "\n"))
        self._began += late
        self._play(base64.b64decode(piece["message"]))
        self._captions.extend((self._began + ms / 1000, char) for ms, char in piece["transcript_alignment"] or ())
        if piece["stop"]:
            self._captions.append((self._ends, "\n"))
        self._show()

    def fill(self, filler: str) -> None:
        """Have a filler heard: a WAV file in base64, or, where it could not be spoken, a text."""
        with suppress(ValueError, EOFError, wave.Error), wave.open(io.BytesIO(base64.b64decode(filler))) as file:
            self._play(_to_rate(file.readframes(file.getnframes()), file.getframerate()))

    def hush(self) -> None:
        """Have nothing more heard of what is being said."""
        self._device.stop()
        self._ends = self._loop.time()
        self._hushed_id = self._message_id
        self._captions.clear()
        self._show()
        if self._mid_line:
            self._put(" ...\n")

    async def heard(self) -> None:
        """Wait until all has been heard."""
        await asyncio.sleep(self._ends - self._loop.time())
        self._show()

    def _play(self, pcm: bytes) -> None:
        self._ends = max(self._ends, self._loop.time()) + duration_ms(pcm, RATE) / 1000
        self._device.play(pcm)

    def _show(self) -> None:
        """Write what has been heard by now, and come back for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        heard = ""
        while self._captions and self._captions[0][0] <= now:
            heard += self._captions.popleft()[1]
        if heard:
            self._put(heard)
        if self._captions:
            self._timer = self._loop.call_at(self._captions[0][0], self._show)

    def _put(self, text: str) -> None:
        self._write(text)
        self._mid_line = not text.endswith("\n")


async def typed_lines() -> AsyncGenerator[str]:
    """Read what a person types. Yield it line by line to its end; nothing, and no end, if nobody can type."""
    if not sys.stdin.isatty():
        await asyncio.Event().wait()
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    loop.add_reader(sys.stdin.fileno(), lambda: lines.put_nowait(os.read(sys.stdin.fileno(), 4096)))
    try:
        while line := await lines.get():
            yield line.decode(errors="replace")
    finally:
        loop.remove_reader(sys.stdin.fileno())


async def _send(connection: ClientConnection, kind: str, **fields: Any) -> None:
    await connection.send(json.dumps({"type": f"client.{kind}", **fields}))


def _to_rate(pcm: bytes, rate: int) -> bytes:
    """16-bit mono PCM at RATE, by linear interpolation: good enough for speech, and it needs no extra."""
    samples = [sample for (sample,) in struct.iter_unpack("<h", pcm)]
    out = bytearray()
    for number in range((len(samples) - 1) * RATE // rate):
        at, part = divmod(number * rate, RATE)
        out += struct.pack("<h", samples[at] + (samples[at + 1] - samples[at]) * part // RATE)
    return bytes(out)
