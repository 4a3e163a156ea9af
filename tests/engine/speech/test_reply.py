"""Replies that are spoken, with a model, a voice and a listener whose strings the test holds."""

import asyncio
import base64
import io
import wave
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import groupby
from typing import Any

import pytest

from support.fake_timer import FakeTimer, settle
from tertulia.audio.pcm import RATE, SAMPLE_BYTES
from tertulia.engine.speech.playback import Playback
from tertulia.engine.speech.reply import LONGEST, SpokenReply, speak
from tertulia.engine.speech.wishes import Speaking
from tertulia.errors import ModelMisbehaved, ModelUnavailable, VoiceFailed
from tertulia.events import NewMessage
from tertulia.providers.base import Detector, Sound, Transcript, Word
from tertulia.providers.voices.scripted import ScriptedDetector

CHAR_MS = 10


def silence(ms: float) -> bytes:
    return bytes(round(ms * RATE / 1000) * SAMPLE_BYTES)


class Throat:
    """A voice of which each character takes 10 ms, a piece of sound for each word; for one message."""

    def __init__(self, *, timed: bool = True, mute: bool = False) -> None:
        self.said: list[str] = []
        self.closed = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails: Exception | None = None
        self._timed = timed
        self._mute = mute

    async def speak(self, text: str) -> AsyncGenerator[Sound]:
        self.said.append(text)
        try:
            at = 0
            for part in text.split(" "):
                await self.gate.wait()
                if self.fails:
                    raise self.fails
                length = len(part) + 1
                words = [Word(at, at + len(part), at * CHAR_MS, (at + len(part)) * CHAR_MS)] if self._timed else []
                yield Sound(b"" if self._mute else silence(length * CHAR_MS), words)
                at += length
        finally:
            self.closed += 1


class Throats:
    """The voices of a server, of which each message gets the same."""

    def __init__(self, throat: Throat) -> None:
        self.throat = throat
        self.asked: list[tuple[str, str]] = []

    def speaks(self, language: str) -> bool:
        return bool(language)

    hears = speaks

    async def knows(self, voice_id: str) -> bool:
        return bool(voice_id)

    def speaker(self, voice_id: str, language: str) -> Throat:
        self.asked.append((voice_id, language))
        return self.throat

    def hears_ahead(self, language: str) -> bool:
        return False

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        raise NotImplementedError

    def detector(self) -> Detector:
        return ScriptedDetector()


class Writer:
    """A model: gives its pieces as fast as they are taken, then fails or ends."""

    def __init__(self, *pieces: str, fails: Exception | None = None, waits: bool = False) -> None:
        self.pieces = pieces
        self.fails = fails
        self.waits = waits
        self.given = 0
        self.closed = False

    async def stream(self) -> AsyncGenerator[str]:
        try:
            for piece in self.pieces:
                self.given += 1
                yield piece
            if self.waits:
                await asyncio.Event().wait()
            if self.fails:
                raise self.fails
        finally:
            self.closed = True


def a_reply() -> SpokenReply:
    return SpokenReply("0" * 24)


def told(_ahead_s: float = 0) -> None:
    pass


def reply(writer: Writer, throat: Throat, spoken: SpokenReply, **how: Any) -> AsyncGenerator[NewMessage]:
    speaking = Speaking("default", "eng", **how)
    return speak(writer.stream(), speaking, spoken, Throats(throat), told)


async def hear(writer: Writer, throat: Throat, **how: Any) -> tuple[list[NewMessage], SpokenReply]:
    spoken = a_reply()
    return [piece async for piece in reply(writer, throat, spoken, **how)], spoken


def characters(pieces: Sequence[NewMessage]) -> list[tuple[int, str]]:
    return [pair for piece in pieces for pair in piece.transcript_alignment or ()]


def text(pieces: Sequence[NewMessage]) -> str:
    return "".join(char for _, char in characters(pieces))


# --- Sentences -------------------------------------------------------------------------------------------------------


async def test_each_sentence_is_given_to_the_voice_by_itself() -> None:
    throat = Throat()

    pieces, spoken = await hear(Writer("One t", "wo. Thr", "ee?  ", "Four."), throat)

    assert throat.said == ["One two.", "Three?", "Four."]
    assert text(pieces) == spoken.text == "One two. Three?  Four."


async def test_times_go_on_from_sentence_to_sentence() -> None:
    pieces, _ = await hear(Writer("Ab. Cd."), Throat())

    assert characters(pieces) == [(0, "A"), (10, "b"), (20, "."), (40, " "), (40, "C"), (50, "d"), (60, ".")]


async def test_a_long_sound_leaves_in_short_pieces() -> None:
    word = "a" * 99

    pieces, _ = await hear(Writer(f"{word}."), Throat())

    lengths = [len(base64.b64decode(piece.message)) * 1000 / RATE / SAMPLE_BYTES for piece in pieces]
    assert lengths == [200, 200, 200, 200, 200, 10, 0]
    assert text(pieces) == f"{word}."


async def test_a_voice_without_times_of_words_gets_them_when_a_sentence_ends() -> None:
    pieces, _ = await hear(Writer("One two. Three."), Throat(timed=False))

    assert text(pieces) == "One two. Three."
    assert [piece.transcript_alignment is None for piece in pieces] == [True, True, False, False]
    assert [ms for ms, _ in characters(pieces)] == sorted(ms for ms, _ in characters(pieces))


async def test_what_is_spoken_is_not_what_is_written() -> None:
    throat = Throat()

    pieces, spoken = await hear(Writer("Read **this** book."), throat)

    assert throat.said == ["Read this book."]
    assert text(pieces) == spoken.text == "Read **this** book."


async def test_the_model_writes_on_while_its_sentences_are_spoken() -> None:
    writer, throat = Writer("One. ", "Two. ", "Three. ", waits=True), Throat()
    throat.gate.clear()
    async with aclosing(reply(writer, throat, a_reply())) as pieces:
        waiting = asyncio.ensure_future(anext(pieces))
        await settle()
        assert (throat.said, writer.given) == (["One."], 3)
        throat.gate.set()
        await waiting


async def test_each_piece_may_leave_before_the_next_is_made() -> None:
    throat, rounds = Throat(), [0]

    async def others() -> None:
        while True:
            rounds[-1] += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    async with aclosing(reply(Writer("word " * 20), throat, a_reply())) as pieces:
        async for _piece in pieces:
            rounds.append(0)  # noqa: PERF401 - while they count
    task.cancel()

    assert len(rounds) > 20
    assert all(rounds[1:-1])


async def test_what_is_left_early_is_closed_model_and_voice() -> None:
    writer, throat = Writer("One. ", "Two. ", waits=True), Throat()

    async with aclosing(reply(writer, throat, a_reply())) as pieces:
        await anext(pieces)

    assert (writer.closed, throat.closed) == (True, 1)


async def test_a_cancelled_turn_closes_model_and_voice() -> None:
    writer, throat = Writer("One. ", "Two. ", waits=True), Throat()
    throat.gate.clear()
    task = asyncio.create_task(hear(writer, throat))
    await settle()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (writer.closed, throat.closed) == (True, 1)


# --- Failures --------------------------------------------------------------------------------------------------------


async def test_a_model_that_fails_ends_what_is_being_said() -> None:
    throat, fails = Throat(), asyncio.Event()

    async def write() -> AsyncGenerator[str]:
        yield "One two three. "
        await fails.wait()
        raise ModelUnavailable("gone")

    async with aclosing(speak(write(), Speaking("default", "eng"), a_reply(), Throats(throat), told)) as pieces:
        assert not (await anext(pieces)).stop
        fails.set()
        await settle()
        with pytest.raises(ModelUnavailable):
            await anext(pieces)

    assert throat.closed == 1


async def test_a_voice_that_makes_no_sound_has_failed() -> None:
    with pytest.raises(VoiceFailed):
        await hear(Writer("One."), Throat(mute=True))


async def test_a_voice_that_fails_ends_the_reply_and_the_model() -> None:
    writer, throat = Writer("One. ", waits=True), Throat()
    throat.fails = VoiceFailed("hoarse")

    with pytest.raises(VoiceFailed):
        await hear(writer, throat)

    assert writer.closed


@pytest.mark.parametrize("written", ["", " \n "])
async def test_an_empty_reply_is_the_models_failure(written: str) -> None:
    with pytest.raises(ModelMisbehaved):
        await hear(Writer(*written), Throat())


async def test_a_reply_without_an_end_is_the_models_failure() -> None:
    with pytest.raises(ModelMisbehaved):
        await hear(Writer(*["All work. " * 1000] * (LONGEST // 10_000 + 1), waits=True), Throat())


async def test_a_reply_of_nothing_that_can_be_said_is_silent() -> None:
    throat = Throat()

    pieces, spoken = await hear(Writer("***\n"), throat)

    assert throat.said == []
    assert spoken.recording == b""
    assert [(piece.message, piece.stop) for piece in pieces] == [("", True)]
    assert text(pieces) == spoken.text == "***\n"


async def test_a_turn_that_speaks_shows_life_with_each_piece_of_the_model() -> None:
    signs: list[float] = []
    speaking = Speaking("default", "eng")
    stream = speak(Writer("O", "n", "e", ".").stream(), speaking, a_reply(), Throats(Throat()), signs.append)

    assert [piece async for piece in stream]
    assert len(signs) == 4


# --- Interrupted -----------------------------------------------------------------------------------------------------


class Listener:
    """Listens to a reply, and may interrupt it."""

    def __init__(self, writer: Writer, throat: Throat, audio_format: str = "pcm") -> None:
        self.timer = FakeTimer()
        self.playback = Playback(self.timer)
        self.spoken = a_reply()
        self.pieces: list[NewMessage] = []
        self._reply = reply(writer, throat, self.spoken, audio_format=audio_format, playback=self.playback)
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for piece in self._reply:
            self.pieces.append(piece)

    async def interrupt_at(self, ms: float) -> None:
        await self.timer.advance(ms / 1000)
        self.playback.interrupt()
        await self.task

    @property
    def stops(self) -> list[bool]:
        return [piece.stop for piece in self.pieces]


LONG = "Once upon a time there was a house. " * 3


async def test_a_listener_hears_at_the_pace_of_speech() -> None:
    listener = Listener(Writer(LONG), Throat())
    await settle()
    assert 400 <= listener.playback.sent_ms < 600

    await listener.timer.advance(len(LONG) * CHAR_MS / 1000 + 1)

    await listener.task
    assert listener.spoken.text == LONG
    assert listener.stops[-1:] == [True]


async def test_who_is_interrupted_has_said_what_was_heard_in_whole_words() -> None:
    listener = Listener(Writer(LONG), Throat())

    await listener.interrupt_at(195)

    assert listener.spoken.text == "Once upon a time"
    assert listener.stops == [False] * (len(listener.pieces) - 1) + [True]


async def test_a_word_that_was_not_heard_to_its_end_was_not_said() -> None:
    listener = Listener(Writer(LONG), Throat())

    await listener.interrupt_at(145)

    assert listener.spoken.text == "Once upon a"


async def test_who_is_interrupted_at_once_has_said_nothing() -> None:
    listener = Listener(Writer(LONG), Throat())

    await listener.interrupt_at(0)

    assert listener.spoken.text == ""
    assert listener.spoken.recording == b""


@pytest.mark.parametrize("written", ["I am here.", "**Here** I am.", "\U0001f642 Hello.", "从前有一座山"])
async def test_who_is_interrupted_before_the_first_sound_has_said_nothing(written: str) -> None:
    throat = Throat()
    throat.gate.clear()
    listener = Listener(Writer(written), throat)

    await listener.interrupt_at(100)

    assert (listener.spoken.text, listener.stops) == ("", [True])


async def test_who_is_interrupted_does_not_wait_for_a_model_that_thinks() -> None:
    listener = Listener(Writer("Once upon a time. ", "There", waits=True), Throat())

    await listener.interrupt_at(195)

    assert listener.spoken.text == "Once upon a time."
    assert listener.stops[-1:] == [True]


async def test_what_was_not_heard_is_not_kept() -> None:
    listener = Listener(Writer(LONG), Throat())

    await listener.interrupt_at(200)

    recording = listener.spoken.recording
    with wave.open(io.BytesIO(recording)) as file:
        assert file.getnframes() == RATE // 5


async def test_what_was_not_heard_of_an_mp3_is_not_kept() -> None:
    listener = Listener(Writer(LONG), Throat(), "mp3")

    await listener.interrupt_at(200)

    recording = listener.spoken.recording
    sent = b"".join(base64.b64decode(piece.message) for piece in listener.pieces)
    assert (listener.spoken.content_type, recording) == ("audio/mpeg", sent[:1600])


async def test_without_times_of_words_it_is_guessed_how_far_the_listener_has_heard() -> None:
    listener = Listener(Writer(LONG), Throat(timed=False))

    await listener.interrupt_at(300)

    assert listener.spoken.text
    assert LONG.startswith(listener.spoken.text)
    assert len(listener.spoken.text) < len("Once upon a time there was a house.")


async def test_an_interruption_after_the_last_piece_cuts_what_was_still_to_be_heard() -> None:
    listener = Listener(Writer("Once upon a time."), Throat())
    await settle()
    assert listener.stops[-1:] == [True]

    await listener.interrupt_at(95)

    assert listener.spoken.text == "Once upon"
    assert listener.stops.count(True) == 1


async def test_chinese_is_cut_between_any_two_characters() -> None:
    listener = Listener(Writer("从前有一座山"), Throat())

    await listener.interrupt_at(25)

    assert listener.spoken.text == "从前有"


@pytest.mark.parametrize("text", ["नमस्ते दुनिया", "שָׁלוֹם עֲלֵיכֶם", "বাংলা ভাষায়"])
async def test_a_word_with_marks_is_heard_whole_or_not_at_all(text: str) -> None:
    first = text.split(" ", maxsplit=1)[0]
    heard: list[str] = []
    for ms in range(CHAR_MS, CHAR_MS * (len(text) - 1), CHAR_MS):
        listener = Listener(Writer(text), Throat())
        await listener.interrupt_at(ms)
        heard.append(listener.spoken.text)
    assert [kept for kept, _times in groupby(heard)] == ["", first]
