"""A live conversation: one client, one conversation, its turns one after the other.

The session reads a client's messages and sends the server's, over a `Connection`. Turns are begun as those of HTTP are
(`LiveCaller`), and their events passed on. Three things go on at once: messages are taken as they come (`_listen`),
turns are run one after the other (`_converse`), and a clock ends a session in which nothing happens.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

from tertulia import clock, events
from tertulia.engine.agent.scene import ExternalEvent, Incoming
from tertulia.engine.live import messages as wire
from tertulia.engine.live.listening import Began, Listener, Paused, Spoke, WentOn
from tertulia.engine.live.messages import AnyClientMessage
from tertulia.engine.live.ports import (
    IDLE,
    NORMAL,
    POLICY,
    RESTART,
    ClientGone,
    Closing,
    Connection,
    LiveCaller,
    SessionClosed,
)
from tertulia.engine.speech.ahead import Hearing, result_of
from tertulia.engine.speech.playback import Handle, Playback, Timer
from tertulia.engine.speech.wishes import AudioFormat, VoiceWish
from tertulia.engine.turns.log import Stream
from tertulia.errors import (
    BadRequest,
    Conflict,
    NothingHeard,
    TertuliaError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from tertulia.events import MAX_TEXT
from tertulia.settings import LimitSettings

MOST_WAITING = 8
"""Messages that wait for the turn before them, at most."""

MOST_EVENTS = 50
"""External events that wait for a turn, at most."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """Waiting times of a session, in seconds."""

    idle_s: float = 300
    """For something to happen at all."""
    alone_s: float = 2
    """For a message that external events belong to; then they are told without one."""


_log: FilteringBoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Say:
    """A message that is to be answered; None: the external events that wait."""

    incoming: Incoming | None
    sound_bytes: int = 0
    found: bool = False
    """By voice activity detection."""


_read_end = msgspec.json.Decoder(events.InteractionComplete).decode

_Task = wire.StartConversation | wire.ContinueConversation | _Say | wire.FinishConversation


class Session:
    """A live conversation. With an `audio_format` the agent speaks, without one it writes."""

    def __init__(
        self,
        caller: LiveCaller,
        connection: Connection,
        audio_format: AudioFormat | None,
        limits: LimitSettings,
        pace: Pace,
        timer: Timer | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._caller = caller
        self._connection = connection
        self._audio_format: AudioFormat | None = audio_format
        self._pace = pace
        self._timer: Timer = timer or loop
        self._listener = Listener(caller.detector, limits)
        self._limits = limits
        self._conversation_id = ""
        self._begun = False
        """True if a conversation was asked for and not refused."""
        self._tasks: deque[_Task] = deque()
        self._more_to_do = asyncio.Event()
        self._busy = False
        """True if a task is being done."""
        self._hearings: set[Hearing] = set()
        self._hearing: Hearing | None = None
        """The work of hearing what may be the user's next message."""
        self._playback: Playback | None = None
        """The playback of the running turn, if its reply is spoken."""
        self._events: list[ExternalEvent] = []
        self._turn_ended = clock.EPOCH
        self._ended: asyncio.Future[Closing] = loop.create_future()
        self._idle: Handle | None = None
        self._alone: Handle | None = None

    # --- From beginning to end ---------------------------------------------------------------------------------------

    async def run(self) -> Closing | None:
        """Talk until the end; how to close the connection then, None where the client has left.

        A turn that runs then goes on without the client; what is spoken ends with what was heard.
        """
        self._touch()
        sides = [asyncio.create_task(side) for side in (self._listen(), self._converse())]
        try:
            await asyncio.wait([*sides, self._ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._interrupt()
            _cancel(self._idle)
            _cancel(self._alone)
            for work in (*sides, *self._hearings):
                work.cancel()
            results = await asyncio.gather(*sides, return_exceptions=True)
            await asyncio.gather(*self._hearings, return_exceptions=True)
        if self._ended.done():
            return self._ended.result()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, ClientGone):
                raise result
        return None

    def end(self, closing: Closing) -> None:
        """End the session, unless it has ended already."""
        if not self._ended.done():
            self._ended.set_result(closing)

    def _touch(self) -> None:
        """Note that something happened: the session is not idle, and the wait begins anew."""
        _cancel(self._idle)
        self._idle = self._timer.call_later(self._pace.idle_s, self._fall_silent)

    def _fall_silent(self) -> None:
        if self._busy:
            self._touch()
        else:
            self.end(Closing(IDLE, "nothing has happened for too long"))

    async def _refuse(self, error: TertuliaError) -> None:
        await self._connection.send(wire.refused(error))
        if isinstance(error, Unauthorized):
            self.end(Closing(POLICY, "the user is not there any more"))
        elif isinstance(error, Unavailable) and self._caller.closing:
            self.end(Closing(RESTART, "the server is stopping"))

    # --- What the client sends ---------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while not self._ended.done():
            try:
                await self._take(await self._connection.receive())
            except SessionClosed as closed:
                self.end(closed.closing)
            except TertuliaError as error:
                await self._refuse(error)
            await asyncio.sleep(0)  # however many messages there are already, others have their turn

    async def _take(self, message: AnyClientMessage) -> None:
        match message:
            case wire.CloseConnection():
                self.end(Closing(NORMAL, "closed by the client"))
            case wire.ExtendTimeout():
                self._touch()
            case wire.SwitchVadMode(vad_mode_on):
                self._touch()
                self._forget_hearing()
                self._listener.switch(vad_mode_on=vad_mode_on)
                await self._connection.send(wire.encode(wire.VadModeSwitched(vad_mode_on)))
            case wire.StartConversation() | wire.ContinueConversation():
                if self._begun:
                    raise Conflict("This session has a conversation already.")
                self._put(message)
                self._begun = True
            case _ if not self._begun:
                raise _no_conversation()
            case wire.FinishConversation():
                self._put(message)
                self._interrupt()
            case wire.NewTextMessage():
                self._read(message)
            case wire.NewAudioMessage():
                await self._hear(message)

    def _read(self, message: wire.NewTextMessage) -> None:
        text = message.text.strip()
        if not text:
            raise BadRequest("text: the message is blank.")
        if len(text) > MAX_TEXT:
            raise BadRequest(f"text: the message has more than {MAX_TEXT} characters.")
        if message.message_type == "user-message":
            self._put(_Say(Incoming("user-message", text)))
            self._interrupt()
            return
        if len(self._events) >= MOST_EVENTS:
            raise TooManyRequests(f"{MOST_EVENTS} external events wait already.", 1)
        waiting = sum(len(event.content.encode()) for event in self._events)
        if waiting + len(text.encode()) > self._limits.body_bytes:
            raise TooManyRequests(f"{waiting} bytes of external events wait already.", 1)
        self._events.append(ExternalEvent(text, clock.now(), is_timed_here=True))
        self._touch()
        self._wait_for_message()

    async def _hear(self, message: wire.NewAudioMessage) -> None:
        found = self._listener.vad_mode_on
        async with aclosing(self._listener.take(message)) as marks:
            async for mark in marks:
                self._touch()
                match mark:
                    case Began():
                        self._interrupt()
                        if found:
                            await self._connection.send(wire.encode(wire.VadSpeechStarted()))
                    case Paused(pcm):
                        self._hear_ahead(pcm)
                    case WentOn():
                        self._forget_hearing()
                    case Spoke():
                        await self._take_speech(mark, found=found)
        if not found or self._listener.hears:
            self._touch()

    async def _take_speech(self, spoke: Spoke, *, found: bool) -> None:
        if found:
            await self._connection.send(wire.encode(wire.VadSpeechEnded()))
        hearing, self._hearing = self._hearing, None
        try:
            self._put(_Say(Incoming("user-message", decode=spoke.decode, hearing=hearing), spoke.size, found))
        except TooManyRequests as error:  # what follows in the same message is to be heard all the same
            _cancel(hearing)
            await self._refuse(error)

    def _hear_ahead(self, pcm: bytes) -> None:
        """Begin to write down what has been said, which may be all."""
        self._forget_hearing()
        if self._conversation_id:
            self._hearing = asyncio.create_task(self._caller.hear_ahead(self._conversation_id, pcm))
            self._hearings.add(self._hearing)
            self._hearing.add_done_callback(self._judge)

    def _forget_hearing(self) -> None:
        _cancel(self._hearing)
        self._hearing = None

    def _judge(self, hearing: Hearing) -> None:
        """Expect the end of the user's speech if what was heard of it is whole."""
        self._hearings.discard(hearing)
        if not hearing.cancelled() and hearing.exception():
            _log.error("hearing ahead failed", exc_info=hearing.exception())
        heard = result_of(hearing)
        if hearing is self._hearing and heard is not None and heard.is_whole:
            self._listener.expect_end()

    def _interrupt(self) -> None:
        """Silence the agent, because the user begins to speak. Keep what the user has heard of the reply."""
        if self._playback is not None:
            self._playback.interrupt()

    def _put(self, task: _Task) -> None:
        if len(self._tasks) >= MOST_WAITING:
            raise TooManyRequests(f"{MOST_WAITING} messages wait already.", 1)
        waiting = sum(said.sound_bytes for said in self._tasks if isinstance(said, _Say))
        more = task.sound_bytes if isinstance(task, _Say) else 0
        if waiting and more and waiting + more > self._limits.audio_bytes:
            raise TooManyRequests(f"{waiting} bytes of sound wait already.", 1)
        self._tasks.append(task)
        self._touch()
        self._more_to_do.set()

    def _wait_for_message(self) -> None:
        """Wait for a message that the external events belong to. If none comes, the events are told alone."""
        _cancel(self._alone)
        if self._events:
            self._alone = self._timer.call_later(self._pace.alone_s, self._tell_events)

    def _tell_events(self) -> None:
        if self._listener.hears:
            self._wait_for_message()
        elif not self._busy and not self._tasks and self._begun:
            self._put(_Say(None))

    # --- Turns -------------------------------------------------------------------------------------------------------

    async def _converse(self) -> None:
        while not self._ended.done():
            while not self._tasks:
                self._more_to_do.clear()
                await self._more_to_do.wait()
            task = self._tasks.popleft()
            self._busy = True
            try:
                if await self._do(task):
                    self._wait_for_message()
            except NothingHeard as error:
                self._wait_for_message()
                if isinstance(task, _Say) and task.found:
                    await self._connection.send(wire.encode(wire.VadResetZero()))
                else:
                    await self._refuse(error)
            except TertuliaError as error:
                await self._refuse(error)
            finally:
                self._interrupt()  # nobody hears what is still to be said, where sending it has failed
                self._busy = False
                self._playback = None
                if isinstance(task, _Say) and task.incoming is not None:
                    _cancel(task.incoming.hearing)  # in vain, if its turn has not begun
            self._touch()

    async def _do(self, task: _Task) -> bool:
        """Do a task. Return True if it came to its end."""
        match task:
            case wire.StartConversation():
                return await self._begin(self._start(task))
            case wire.ContinueConversation(conversation_id):
                return await self._begin(self._resume(conversation_id))
            case _ if not self._conversation_id:
                raise _no_conversation()
            case _Say():
                return await self._say(task.incoming)
            case wire.FinishConversation():
                await _whole(self._caller.finish(self._conversation_id))
                self.end(Closing(NORMAL, "the conversation is finished"))
                return True

    async def _begin(self, beginning: Coroutine[Any, Any, bool]) -> bool:
        """Begin a conversation. Return True if it has begun; if not, the client may try another one."""
        begun = False
        try:
            begun = await beginning
        finally:
            if not begun:
                self._begun, self._conversation_id = False, ""
        return begun

    async def _start(self, opening: wire.StartConversation) -> bool:
        stream = await _whole(self._caller.start(opening, self._aloud()))
        self._conversation_id = stream.conversation_id
        return await self._pass_on(stream)

    async def _resume(self, conversation_id: str) -> bool:
        await self._caller.resume(conversation_id)
        self._conversation_id = conversation_id
        created = events.encode(events.ConversationCreated(conversation_id))
        await self._connection.send(wire.told(created.rstrip()))
        return True

    async def _say(self, incoming: Incoming | None) -> bool:
        """Have a message answered, with the external events before it. They wait on where the turn is void."""
        taken, self._events = self._events, []
        complete = False
        try:
            said = self._with_events(incoming, taken)
            if said is not None:
                stream = await _whole(self._caller.interact(self._conversation_id, said, self._aloud()))
                complete = await self._pass_on(stream)
        finally:
            if not complete:
                self._events = taken + self._events
        return complete

    def _with_events(self, incoming: Incoming | None, taken: list[ExternalEvent]) -> Incoming | None:
        """Add events to a message. Return it, or None of neither; events of a turn are told as having followed it."""
        happened = [replace(event, happened_at=max(event.happened_at, self._turn_ended)) for event in taken]
        if incoming is not None:
            return replace(incoming, external_events=happened)
        if not happened:
            return None
        return Incoming("external-event", happened[-1].content, happened[:-1])

    def _aloud(self) -> VoiceWish | None:
        if self._audio_format is None:
            return None
        self._playback = Playback(self._timer)
        if self._listener.hears:
            self._playback.interrupt()
        return VoiceWish(self._audio_format, self._playback)

    async def _pass_on(self, stream: Stream) -> bool:
        """Send a turn's events as they come. Return True if the turn is complete."""
        complete = False
        async with aclosing(stream.log.follow()) as chunks:
            async for chunk in chunks:
                for line in chunk.splitlines():
                    told = self._told(line)
                    if told:
                        await self._connection.send(told)
                    if events.is_complete(line):
                        complete = True
                        self._note_end(line)
        return complete

    def _told(self, line: bytes) -> bytes:
        """Make a message of an event. Return it; of an interrupted reply nothing but the end is sent."""
        interrupted = self._playback is not None and self._playback.interrupted
        if interrupted and events.is_filler(line):
            return b""
        if not interrupted or not events.is_piece(line):
            return wire.told(line)
        piece = events.decode(line)
        if not isinstance(piece, events.NewMessage) or not piece.stop:
            return b""
        silent = msgspec.structs.replace(piece, message="", transcript_alignment=None)
        return wire.told(events.encode(silent).rstrip())

    def _note_end(self, line: bytes) -> None:
        self._turn_ended = clock.now()
        if _read_end(line).conversation_completed:
            self.end(Closing(NORMAL, "the conversation is finished"))


def _no_conversation() -> BadRequest:
    return BadRequest("Start or continue a conversation first.")


def _cancel(handle: Handle | Hearing | None) -> None:
    if handle is not None:
        handle.cancel()


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Do work to its end, even if the session ends meanwhile, so that nothing is left half done. Return its result."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(Exception):
            await task
        raise
