"""Outlines of spoken streams: put back, the sound makes the same stream, byte for byte."""

import base64
import random

import pytest

from tertulia import events
from tertulia.audio.pcm import RATE, wav
from tertulia.storage.turn.outline import Outline, fill, outline
from tertulia.storage.turn.values import ContentType, Recording

MESSAGE = "5" * 24
OTHER = "6" * 24


def piece(sound: bytes, message_id: str = MESSAGE) -> bytes:
    text = base64.b64encode(sound).decode()
    return events.encode(events.NewMessage(text, False, 1, message_id, [(0, 'a"b\u2028')]))


def stream(*pieces: bytes) -> bytes:
    complete = events.encode(events.InteractionComplete(MESSAGE, "7" * 24, "Hello", conversation_completed=False))
    return b"".join([*pieces, complete])


def refilled(taken: Outline, recording: bytes) -> bytes:
    sound = b"".join(recording[cut.first : cut.first + cut.size] for cut in taken.cuts)
    return fill(taken.lines, 0, taken.cuts, sound)


def sounds(seed: int) -> list[bytes]:
    chance = random.Random(seed)
    return [chance.randbytes(chance.choice([0, 1, 2, 3, 9600])) for _ in range(20)]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("content_type", ["audio/wav", "audio/mpeg"])
def test_the_sound_is_taken_out_and_put_back(seed: int, content_type: ContentType) -> None:
    made = sounds(seed)
    body = b"".join(made)
    recording = Recording(MESSAGE, content_type, wav(body, RATE) if content_type == "audio/wav" else body)
    whole = stream(*map(piece, made))

    taken = outline(whole, recording)

    assert sum(cut.size for cut in taken.cuts) == len(body)
    assert refilled(taken, recording.body) == whole
    assert Outline.of(taken.lines, taken.sound) == taken


def test_sound_that_the_listener_did_not_hear_stays() -> None:
    heard, unheard = bytes(range(200)), b"\7" * 300
    recording = Recording(MESSAGE, "audio/wav", wav(heard, RATE))
    whole = stream(piece(heard[:120]), piece(heard[120:] + unheard), piece(unheard))

    taken = outline(whole, recording)

    assert [cut.size for cut in taken.cuts] == [120]
    assert refilled(taken, recording.body) == whole


def test_a_stream_without_the_recordings_sound_stays_as_it_is() -> None:
    recording = Recording(MESSAGE, "audio/mpeg", b"abc" * 100)
    written = events.encode(events.NewMessage("YWJj\\n", False, 1, MESSAGE))
    for whole in (stream(), stream(written), stream(piece(b"abc", OTHER)), stream(piece(b"xyz"))):
        assert outline(whole, recording) == Outline(whole, MESSAGE)
        assert outline(whole, recording).sound is None
