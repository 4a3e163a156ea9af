"""Voices of more than a hundred languages: espeak-ng, in a process of its own. Needs the extras `espeak` and `voice`.

It sounds like a robot, and is at once there. espeak_process.py says why it has its own process.
"""

import asyncio
import importlib.util
import json
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tertulia import languages
from tertulia.audio.pcm import RATE
from tertulia.audio.resample import Resampler
from tertulia.errors import VoiceFailed
from tertulia.providers.base import Sound, Word
from tertulia.providers.voices.local.espeak_process import CLAUSE_END, LENGTH, LENGTHS, WORD
from tertulia.providers.voices.passages import SILENCE, passages

_PROCESS = "tertulia.providers.voices.local.espeak_process"
_GRACE_S = 2.0
"""The time in which the process has to stop a sentence, or itself."""
_USUAL_PRIORITY = 5
_WITHOUT_COMMANDS = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {*b"\t\n\r"}, " ")
"""A NUL ends a text, and a character 1 begins a command: it would change how fast, high or loud all later texts sound.
One is replaced by one, for words are counted in characters.
"""


@dataclass(frozen=True, slots=True)
class Dialect:
    """A voice of espeak-ng: `tag` is how it names the language (`es-419`), `file` its own name for the voice."""

    tag: str
    name: str
    language: str
    file: str
    priority: int


def dialects() -> Sequence[Dialect]:
    """The voices of the package `espeakng-loader`, the usual one of each language first; none without the package."""
    spec = importlib.util.find_spec("espeakng_loader")
    if spec is None or spec.origin is None:
        return ()
    folder = Path(spec.origin).parent / "espeak-ng-data" / "lang"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [dialect for path in files for dialect in _dialects_of(path, path.relative_to(folder).as_posix())]
    return sorted(found, key=lambda dialect: ("-" in dialect.tag, dialect.priority))


def _dialects_of(path: Path, file: str) -> Iterator[Dialect]:
    """One for each tag that a voice's file names: https://github.com/espeak-ng/espeak-ng/blob/master/docs/voices.md."""
    lines = [line.partition("//")[0].split() for line in path.read_text("utf-8", "replace").splitlines()]
    name = next((" ".join(words[1:]) for words in lines if words[:1] == ["name"]), file)
    for words in lines:
        if words[:1] == ["language"] and (language := _part3(words[1].partition("-")[0])):
            yield Dialect(words[1], name, language, file, int(words[2]) if len(words) > 2 else _USUAL_PRIORITY)


def _part3(code: str) -> str | None:
    found = languages.find(code) or languages.find_short(code)
    return found and found.code


class EspeakVoice:
    """espeak-ng's process, started by the first sentence, and again where it died. One for each event loop."""

    rate = RATE

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._starting = asyncio.Lock()

    async def aclose(self) -> None:
        if self._process is not None:
            await self._process.aclose()

    async def speak(self, text: str, file: str) -> AsyncGenerator[Sound]:
        """As `Voice.speak`, by the voice of a dialect's file."""
        resampler: Resampler | None = None
        before_ms = 0.0
        for offset, passage in passages(text):
            words = _Words(passage, offset, before_ms)
            async with aclosing((await self._running()).say(passage, file)) as pieces:
                async for head, pcm in pieces:
                    resampler = resampler or Resampler(head["rate"], RATE)
                    before_ms += 500 * len(pcm) / head["rate"]
                    yield Sound(resampler.feed(pcm), [*words.told(head["events"])])
            if rest := [*words.rest(before_ms)]:
                yield Sound(b"", rest)
        yield Sound(resampler.finish()) if resampler and before_ms else SILENCE

    async def _running(self) -> "_Process":
        async with self._starting:
            if self._process is None or self._process.ended:
                self._process = await _Process.start()
            return self._process


class _Words:
    """The words of a stretch, from espeak-ng's events: a word lasts until the next one, or the clause's end.

    Several events may be of one word (a number, spelt letters): they are told as one.
    """

    def __init__(self, text: str, offset: int, before_ms: float) -> None:
        self._text = text
        self._offset = offset
        self._before_ms = before_ms
        self._open: tuple[int, int, float] | None = None
        self._told = 0  # the end of the last word

    def told(self, events: Sequence[tuple[int, int, int, int]]) -> Iterator[Word]:
        for kind, position, length, ms in events:
            start = position - 1
            end = min(start + length, len(self._text))
            if kind == CLAUSE_END:
                yield from self.rest(self._before_ms + ms)
            elif kind == WORD and start >= self._told and self._text[start:end].strip():
                yield from self.rest(self._before_ms + ms)
                self._open = (start, end, self._before_ms + ms)
                self._told = end

    def rest(self, ends_ms: float) -> Iterator[Word]:
        if self._open is not None:
            start, end, begins_ms = self._open
            self._open = None
            yield Word(self._offset + start, self._offset + end, begins_ms, ends_ms)


class _Process:
    """A running child, and who waits for what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stdin = cast("asyncio.StreamWriter", process.stdin)
        self._stdout = cast("asyncio.StreamReader", process.stdout)
        self._waiting: dict[int, asyncio.Queue[tuple[Mapping[str, Any], bytes] | None]] = {}
        self._last = 0
        self.ended = False
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls) -> "_Process":
        pipe = asyncio.subprocess.PIPE
        try:
            # -P: no module of the folder that the server was started in takes the place of one of ours.
            command = (sys.executable, "-P", "-m", _PROCESS)
            return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))
        except OSError as error:
            raise VoiceFailed(f"espeak-ng cannot be started: {error}") from error

    async def aclose(self) -> None:
        self._stdin.close()
        try:
            async with asyncio.timeout(_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            self._kill()
        await self._listening

    async def say(self, text: str, file: str) -> AsyncGenerator[tuple[Mapping[str, Any], bytes]]:
        """Each piece's head and PCM."""
        self._last += 1
        number = self._last
        said = self._waiting[number] = asyncio.Queue()
        try:
            self._ask({"id": number, "voice": file, "text": text.translate(_WITHOUT_COMMANDS)})
            while (piece := await said.get()) is not None:
                head, pcm = piece
                if head["ended"]:
                    if head["failed"]:
                        raise VoiceFailed("espeak-ng does not accept the voice or the text")
                    return
                yield head, pcm
            raise VoiceFailed("espeak-ng's process ended")
        finally:
            self._stop(number)

    def _stop(self, number: int) -> None:
        if number in self._waiting and not self.ended:
            self._ask({"stop": number})
            asyncio.get_running_loop().call_later(_GRACE_S, self._kill_if_waiting, number)

    def _kill_if_waiting(self, number: int) -> None:
        if number in self._waiting:
            self._kill()

    def _kill(self) -> None:
        self.ended = True
        with suppress(ProcessLookupError):
            self._process.kill()

    def _ask(self, request: Mapping[str, Any]) -> None:
        body = json.dumps(request).encode()
        self._stdin.write(LENGTH.pack(len(body)) + body)

    async def _listen(self) -> None:
        try:
            while True:
                sizes = LENGTHS.unpack(await self._stdout.readexactly(LENGTHS.size))
                head: Mapping[str, Any] = json.loads(await self._stdout.readexactly(sizes[0]))
                piece = head, await self._stdout.readexactly(sizes[1])
                self._waiting[head["id"]].put_nowait(piece)
                if head["ended"]:
                    del self._waiting[head["id"]]
        except asyncio.IncompleteReadError:
            self.ended = True
            for said in self._waiting.values():
                said.put_nowait(None)
            self._waiting.clear()
            await self._process.wait()
