"""A streamed chat completion as it arrives: lines of server-sent events, cut anywhere, become pieces of a reply.

https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress

from tertulia.errors import ModelError, ModelMisbehaved, ModelTimeout, ModelUnavailable
from tertulia.providers.base import UNCOUNTED, Tokens
from tertulia.providers.models import completions
from tertulia.providers.models.completions import Choice, End
from tertulia.providers.models.thoughts import ThoughtFilter

_MAX_LINE_BYTES = 1 << 20
_MAX_STREAM_BYTES = 64 << 20
_MAX_REPLY_CHARS = 2_000_000
_MAX_STRAY_BYTES = 4 << 20
_SHOWN_BYTES = 4096
_HALF = re.compile("[\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"
_PINGS = frozenset({b"heartbeat", b"keep-alive", b"keepalive", b"ping"})
_IDLE = re.compile(
    rb":.*|(?:\[\]|\"\")?"
    rb"|\W{0,2}(?:ping|pong|keep-?alive|heart-?beat|waiting|queued|(?:\w+ )?processing|undefined|none|null|nan)\W{0,4}",
    re.IGNORECASE,
)
"""Data of servers that have nothing to say."""
_DONE = re.compile(rb"\[\s*DONE\s*\].*|\W{0,4}DONE\W{0,4}", re.IGNORECASE)
_ENDS = frozenset({b"done", b"end", b"complete", b"completed", b"finish", b"finished"})
"""Names of events that end a stream."""
_DATA = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*data\s*:", re.IGNORECASE)
_FIELD = re.compile(rb"(?:event|id|retry|error)?\s*:", re.IGNORECASE)
_FAILED = re.compile(rb"(?:.*\W)?(?:error|exception|failed|failure|incomplete)", re.IGNORECASE)
"""Names of events that end a stream before its reply is whole."""


class Reading:
    """A reply on its way. All text counts until `[DONE]`, or until the stream ends after a reason to finish.

    `stall_s` seconds without a piece or a thought are a ModelTimeout, whatever else is sent.
    """

    def __init__(self, stall_s: float, *, begins_in_thought: bool = False) -> None:
        self.done = False
        """True if `[DONE]` has come."""
        self.reason: End = ""
        """Why the reply ends, once it says so."""
        self.progress = False
        """True if the model has written or thought since the reader last reset this."""
        self.taken_back = False
        """True if all pieces so far were thought, until the reader resets this."""
        self.foreign = ""
        """The beginning of an answer that was no stream; empty if the answer was one."""
        self.tokens: Tokens = UNCOUNTED
        """The tokens that the server has counted by now."""
        self._thoughts = ThoughtFilter(begins_in_thought=begins_in_thought)
        self._rest = bytearray()
        self._after_return = False
        """True if the last byte was a carriage return, which ends a line, with the line feed that may follow."""
        self._stray = bytearray()
        """Lines that are no event's, from a server that did not stream."""
        self._unknown = bytearray()
        """The beginning of data that says nothing to us, until a completion comes: events of another protocol."""
        self._event = b""
        self._open: tuple[bytes, ModelError] | None = None
        """Data that is no JSON yet, and the error that it is if no further line of the same event completes it."""
        self._half = ""
        """The first half of a surrogate pair."""
        self._bytes = 0
        self._chars = 0
        self._has_thought = False
        """True if thoughts came beside the text."""
        self._visible = False
        self._begun = False
        self._stall_s = stall_s
        self._now = asyncio.get_running_loop().time
        self._alive = self._arrived = self._now()

    @property
    def began_in_thought(self) -> bool:
        """True if the reply began with a thought that had no opening tag."""
        return self._thoughts.closed_alone

    @property
    def had_no_room(self) -> bool:
        """True if the reply was cut short before its first word or thought."""
        return self.reason == "length" and not (self._chars or self._has_thought)

    def feed(self, chunk: bytes) -> list[str]:
        """Take what has arrived. Return the pieces of the reply that it completes.

        Raises:
            ModelError: the reply is broken off, or is none.
        """
        pieces: list[str] = []
        for line in self._lines(chunk):
            if line.startswith(b"data: {") and not self._event and self._open is None:  # as nearly all are
                self._read_object(line[6:], pieces)
            elif line.startswith(b"data:"):
                self._read_data(line[5:].strip(), pieces)
            elif self._event or self._open or line:
                self._read_other(line, pieces)
            if self.done:
                break
        return pieces

    def finish(self) -> list[str]:
        """End the reply. Return the pieces that were held.

        Raises:
            ModelError: the reply has not ended as it should, or has no text.
        """
        pieces = self._read_last_line()
        self._end_event()
        if not self._begun and not self.done:
            self._read_whole(pieces)
        if self._unknown and not (self._chars or self._has_thought):
            self.foreign = self.foreign or self._unknown[:_SHOWN_BYTES].decode(errors="replace")
            raise ModelMisbehaved("the server sent a stream of another kind, or nothing in it")
        if not (self.done or self.reason):
            raise ModelUnavailable("the stream broke off")
        if self._half:
            self._half = ""
            self._add("\ufffd", pieces)
        rest = self._thoughts.finish(cut=self.reason == "length")
        self._show(rest, pieces)
        if not self._visible:
            thoughts = ", thoughts alone" if self._has_thought or self._chars else ""
            raise ModelMisbehaved(f"an empty reply{thoughts}{', cut short' if self.reason == 'length' else ''}")
        return pieces

    def _read_last_line(self) -> list[str]:
        """Read a line that no other follows. Return the pieces that it completes."""
        if not self._begun or self.done or not self._rest.startswith(b"data:"):
            return []
        try:
            pieces = self.feed(b"\n")
            self._end_event()
        except ModelMisbehaved:
            raise ModelUnavailable("the stream broke off") from None
        return pieces

    def _read_data(self, data: bytes, pieces: list[str]) -> None:
        if self._open is not None:
            data, self._open = self._open[0] + b"\n" + data, None
        if data.startswith(b"data:"):  # of a proxy that has put its own before it
            data = data[5:].strip()
        data = data.removeprefix(_BOM)
        event, self._event = self._event.lower(), b""
        if _FAILED.fullmatch(event):
            raise completions.failure(data.decode(errors="replace"))
        if event in _PINGS:
            return
        if data.startswith((b"{", b"[{")):
            self._read_object(data, pieces)
        else:
            self._read_foreign(data)
        if event in _ENDS:
            self.reason = self.reason or "stop"

    def _read_object(self, data: bytes, pieces: list[str]) -> None:
        try:
            completion = completions.read(data)
        except ModelMisbehaved as error:
            if len(data) > _MAX_LINE_BYTES:
                raise
            parts = completions.objects_in(data)
            for part in parts:
                self._read_data(part, pieces)
            if not parts:
                self._open = data, error
            return
        if completion is not None and completion.usage is not None:
            self.tokens = completion.tokens
        if completion is not None and completion.choices:
            self._take(completion.choices, pieces)
        elif not self._begun and len(self._unknown) < _SHOWN_BYTES:
            self._unknown += data + b"\n"

    def _take(self, choices: Sequence[Choice], pieces: list[str]) -> None:
        self._begun = self.progress = True
        self._alive = self._arrived
        for choice in choices:
            if choice.error is not None:
                completions.check(choice.error)
            if choice.index != 0:
                continue
            delta = choice.delta
            if choice.message is not None and not self._chars and (delta is None or not delta.content):
                delta = choice.message  # the whole reply, as some servers send it in one event
            if delta is not None and (text := delta.content or delta.refusal):
                if self._half or not text.isascii():
                    text = self._joined(text)
                self._chars += len(text)
                visible = self._thoughts.feed(text)
                if visible is text and self._visible:  # as nearly all are
                    pieces.append(text)
                else:
                    self._show(visible, pieces)
            elif delta is not None and delta.thinks:
                self._has_thought = True
            if choice.finish_reason:
                self._note_reason(choice)

    def _note_reason(self, choice: Choice) -> None:
        reason = completions.finish_reason(choice)
        self.reason = self.reason if self.reason not in ("", "stop") else reason or self.reason

    def _joined(self, text: str) -> str:
        if self._half or _HALF.search(text) is not None:
            text, self._half = completions.join_halves(self._half + text)
        return text

    def _add(self, text: str, pieces: list[str]) -> None:
        self._chars += len(text)
        self._show(self._thoughts.feed(text), pieces)

    def _show(self, text: str, pieces: list[str]) -> None:
        if self._thoughts.taken_back:
            self._thoughts.taken_back = False
            self.taken_back = True
            self._visible = False
            pieces.clear()
        if text:
            self._visible = True
            pieces.append(text)

    def _read_foreign(self, data: bytes) -> None:
        """Read data that is no object: the end, an error's words, or nothing."""
        if _DONE.fullmatch(data):
            self._begun = True
            self.done = True
        elif not _IDLE.fullmatch(data):
            completion = completions.read(data)
            if completion is not None and completion.error is not None:
                completions.check(completion.error)

    def _read_other(self, line: bytes, pieces: list[str]) -> None:
        """Read a line that does not begin as one with data does."""
        if found := _DATA.match(line):
            self._read_data(line[found.end() :].strip(), pieces)
            return
        line = line.strip()
        if not line:
            self._end_event()
            if _FAILED.fullmatch(self._event):
                raise completions.failure("no words")
            self._event = b""
        elif line.lower().startswith(b"event:"):
            self._event = line[6:].strip()
        elif line.startswith(b"error:") and line[6:].strip() not in (b"", b"null", b"{}", b"false", b'""'):
            raise completions.failure(line[6:].decode(errors="replace").strip())
        elif not _FIELD.match(line):
            self._read_bare(line, pieces)

    def _read_bare(self, line: bytes, pieces: list[str]) -> None:
        """Read a line without a name: more of the data before it, a piece of a stream without names, or something else.

        A server that does not stream sends such lines too: they are kept until the answer ends.
        """
        if self._open is not None:
            self._read_data(line, pieces)
        elif _DONE.fullmatch(line) and line.startswith(b"["):
            self._read_foreign(line)
        elif line.startswith(b"{") and not self._stray and completions.is_piece(line):
            self._read_object(line, pieces)
        elif not self._begun:
            self._stray += line + b"\n"
            if len(self._stray) > _MAX_STRAY_BYTES:
                raise ModelMisbehaved("the answer is too long")
        elif line.startswith((b"{", b"[")):  # an error as it would have been without a stream
            with suppress(ModelMisbehaved):
                completions.read(line)

    def _end_event(self) -> None:
        """Raise the error of data that no line has completed."""
        if self._open is not None:
            raise self._open[1]

    def _read_whole(self, pieces: list[str]) -> None:
        """Read an answer of a server that did not stream it: a whole completion is understood.

        Raises:
            ModelError: the answer is something else.
        """
        whole = bytes(self._stray + self._rest).strip().removeprefix(_BOM)
        if not whole:
            return
        self.foreign = whole[:_SHOWN_BYTES].decode(errors="replace")
        completion = completions.read(whole) if whole.startswith((b"{", b"[")) else None
        choice = None if completion is None else completions.ours(completion)
        if choice is None:
            raise ModelMisbehaved("the server sent no stream")
        if choice.message is None and completion is not None:  # pieces in an array
            self._take(completion.choices, pieces)
            self.reason = self.reason or "stop"
            return
        self.reason = completions.finish_reason(choice) or "stop"
        if choice.message is not None:
            self._has_thought = choice.message.thinks
            if text := choice.message.content or choice.message.refusal:
                self._add(self._joined(text), pieces)

    def _lines(self, chunk: bytes) -> list[bytes]:
        self._bytes += len(chunk)
        if self._after_return or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        lines = chunk.split(b"\n")
        if self._rest and len(lines) > 1:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        rest = lines.pop()
        if rest:
            self._rest += rest
        if len(self._rest) > _MAX_LINE_BYTES or self._bytes > _MAX_STREAM_BYTES:
            raise ModelMisbehaved("the stream is too long")
        if self._chars > _MAX_REPLY_CHARS:
            raise ModelMisbehaved("the reply is too long")
        self._arrived = self._now()
        if self._arrived - self._alive > self._stall_s:
            raise ModelTimeout("no data, only signs of life")
        return lines

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        """Write all ends of lines as line feeds, whatever they were. Return the text."""
        if self._after_return:
            chunk = chunk.removeprefix(b"\n")
        self._after_return = chunk.endswith(b"\r") or (self._after_return and not chunk)
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
