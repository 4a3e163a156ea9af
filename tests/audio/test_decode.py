import array
import os
import re
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from support import sounds
from support.sounds import FILES, loudness, tone, wave_file
from tertulia.audio.config import FileAudioConfig, PcmAudioConfig
from tertulia.audio.decode import Recorded, decode
from tertulia.audio.pcm import HEARING_RATE, RATE, wav
from tertulia.errors import BadRecording, UnreadableRecording

MAX_S = 20
KINDS = ["mp3", "wav", "ogg", "webm", "flac", "mp4", "aac"]


def read(body: bytes, kind: str) -> Recorded:
    return decode(body, FileAudioConfig.model_validate({"type": kind}), MAX_S)


def samples_of(frame_rate: int, sample_width: int = 2) -> PcmAudioConfig:
    return PcmAudioConfig.model_validate(
        {"type": "pcm", "frame_rate": frame_rate, "n_channels": 1, "sample_width": sample_width}
    )


def sounds_like(recorded: Recorded, hertz: float, seconds: float) -> None:
    assert recorded.duration_ms == pytest.approx(seconds * 1000, abs=70)
    assert recorded.duration_ms == len(recorded.pcm) / 2 / HEARING_RATE * 1000
    middle = recorded.pcm[2400:-2400]
    assert loudness(middle, HEARING_RATE, hertz) == pytest.approx(10_000, rel=0.06)
    assert loudness(middle, HEARING_RATE, hertz * 1.3) < 300


@pytest.mark.parametrize(("kind", "make"), FILES.values(), ids=list(FILES))
def test_a_file_of_every_kind_is_heard(kind: str, make: Callable[[], bytes]) -> None:
    recorded = read(make(), kind)
    sounds_like(recorded, 440, 1)


@pytest.mark.parametrize(("kind", "make"), FILES.values(), ids=list(FILES))
def test_mp3_and_wav_are_kept_and_others_become_wav(kind: str, make: Callable[[], bytes]) -> None:
    body = make()
    recorded = read(body, kind)
    if kind in {"mp3", "wav"}:
        assert recorded.body == body
    else:
        assert recorded.body == wav(recorded.pcm, HEARING_RATE)
    assert recorded.content_type == ("audio/mpeg" if kind == "mp3" else "audio/wav")


@pytest.mark.parametrize("rate", [4000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("width", [2, 4])
def test_bare_samples_are_heard_by_the_config(rate: int, width: int) -> None:
    bare = tone(rate, 1)
    body = bare if width == 2 else b"".join(b"\x01\x02" + bare[at : at + 2] for at in range(0, len(bare), 2))
    recorded = decode(body, samples_of(rate, width), MAX_S)
    sounds_like(recorded, 440, 1)
    assert recorded.body == wav(bare, rate)


def test_samples_in_a_wav_file_are_heard_as_the_official_client_sends_them() -> None:
    body = wave_file(tone(44_100, 1), 1, 1, 44_100, 16)
    recorded = decode(body, samples_of(44_100), MAX_S)
    sounds_like(recorded, 440, 1)
    assert (recorded.body, recorded.content_type) == (body, "audio/wav")


@pytest.mark.parametrize(
    ("codec", "rate", "layout"),
    [
        ("pcm_u8", 8000, "mono"),
        ("pcm_s16le", 4000, "mono"),
        ("pcm_s16le", 192_000, "stereo"),
        ("pcm_s24le", 96_000, "5.1"),
        ("pcm_s32le", 48_000, "2.1"),
        ("pcm_f32le", 44_100, "7.1"),
        ("pcm_f64le", 48_000, "5.0"),
        ("pcm_alaw", 8000, "mono"),
        ("pcm_mulaw", 8000, "stereo"),
    ],
)
def test_wav_of_every_usual_coding_is_heard(codec: str, rate: int, layout: str) -> None:
    sounds_like(read(sounds.file_of(tone(rate, 1), rate, layout, "wav", codec), "wav"), 440, 1)


def test_channels_are_mixed() -> None:
    left, right = tone(16_000, 1, 500), tone(16_000, 1, 2000)
    both = b"".join(left[at : at + 2] + right[at : at + 2] for at in range(0, len(left), 2))
    recorded = read(wave_file(both, 1, 2, 16_000, 16), "wav")
    assert loudness(recorded.pcm, HEARING_RATE, 500) == pytest.approx(5000, rel=0.02)
    assert loudness(recorded.pcm, HEARING_RATE, 2000) == pytest.approx(5000, rel=0.02)


def test_loud_channels_do_not_overflow() -> None:
    loud = sounds.file_of(tone(16_000, 1, loudness=32_767), 16_000, "7.1", "wav", "pcm_s16le")
    assert loudness(read(loud, "wav").pcm, HEARING_RATE, 440) == pytest.approx(32_767, rel=0.02)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_wav_whose_recorder_could_not_go_back_is_heard(size: int) -> None:
    sounds_like(read(wave_file(tone(16_000, 1), 1, 1, 16_000, 16, size), "wav"), 440, 1)


def test_wav_with_a_list_of_its_own_before_its_sound_is_heard() -> None:
    body = wave_file(tone(16_000, 1), 1, 1, 16_000, 16)
    sounds_like(read(body[:12] + b"LIST\x05\x00\x00\x00INFOx\x00" + body[12:], "wav"), 440, 1)


LATE = {"mp4 with its tables at the end", "mp4 with opus"}


@pytest.mark.parametrize("name", sorted(LATE))
def test_an_mp4_file_that_was_cut_off_before_its_tables_is_refused(name: str) -> None:
    body = FILES[name][1]()
    with pytest.raises(UnreadableRecording, match="begins as an MP4 file, but it has no description of its tracks"):
        read(body[: len(body) * 3 // 4], "mp4")


@pytest.mark.parametrize(("kind", "make"), [FILES[name] for name in sorted(FILES.keys() - LATE)])
def test_a_file_that_was_cut_off_is_heard_as_far_as_it_goes(kind: str, make: Callable[[], bytes]) -> None:
    body = make()
    recorded = read(body[: len(body) * 3 // 4 + 1], kind)
    assert 500 < recorded.duration_ms < 900
    assert loudness(recorded.pcm[2400:-3200], HEARING_RATE, 440) == pytest.approx(10_000, rel=0.06)


def test_an_mp3_that_begins_within_a_frame_is_heard() -> None:
    sounds_like(read(sounds.mp3(tone(RATE, 1))[100:], "mp3"), 440, 1)


@pytest.mark.parametrize("make", [sounds.flac, sounds.tagged_mp3])
def test_pictures_in_front_are_passed_over(make: Callable[[], bytes]) -> None:
    body = sounds.id3(200_000) + make()
    sounds_like(read(body, "flac" if make is sounds.flac else "mp3"), 440, 1)


def test_pictures_and_comments_inside_are_passed_over() -> None:
    body = sounds.flac()
    comments = struct.pack("<II", 0, 300_000) + b"\x03\x00\x00\x00a=b" * 300_000
    picture = b"\x06" + (1_000_000).to_bytes(3) + b"\xff" * 1_000_000
    inside = b"\x04" + len(comments).to_bytes(3) + comments + picture
    sounds_like(read(body[:42] + inside + body[42:], "flac"), 440, 1)


def test_a_stream_of_another_rate_may_follow() -> None:
    body = sounds.mp3(tone(RATE, 1, 500)) + sounds.file_of(tone(44_100, 1, 2000), 44_100, "stereo", "mp3", "libmp3lame")
    recorded = read(body, "mp3")
    assert recorded.duration_ms == pytest.approx(2100, abs=70)
    assert loudness(recorded.pcm[4000:28_000], HEARING_RATE, 500) == pytest.approx(10_000, rel=0.06)
    assert loudness(recorded.pcm[-28_000:-4000], HEARING_RATE, 2000) == pytest.approx(10_000, rel=0.06)


def test_streams_that_change_all_the_time_are_refused() -> None:
    mono, stereo = sounds.mp3(tone(RATE, 0.2)), sounds.tagged_mp3(0.2)
    with pytest.raises(UnreadableRecording, match="sample rate or the channels of the recording change too often"):
        read((mono + stereo) * 20, "mp3")


@pytest.mark.parametrize(
    ("kind", "make", "said"),
    [
        pytest.param(kind, make, said, id=f"{name} as {said}")
        for name, (kind, make) in FILES.items()
        for said in KINDS
        if said != kind
    ],
)
def test_a_file_of_another_kind_than_said_is_refused_and_both_are_named(
    kind: str, make: Callable[[], bytes], said: str
) -> None:
    names = {"mp3": "an MP3", "wav": "a WAV", "ogg": "an Ogg", "webm": "a WebM", "flac": "a FLAC"}
    names |= {"mp4": "an MP4", "aac": "an AAC"}
    with pytest.raises(UnreadableRecording) as refused:
        read(make(), said)
    assert refused.value.detail == (f"The config says {names[said]} file, the bytes are {names[kind]} file.")


@pytest.mark.parametrize("make", [sounds.ogg, sounds.webm, sounds.flac, sounds.tagged_mp3, sounds.mp4])
def test_a_file_is_not_taken_for_bare_samples(make: Callable[[], bytes]) -> None:
    with pytest.raises(UnreadableRecording, match="says bare samples or a WAV file, the bytes are"):
        decode(make(), samples_of(16_000), MAX_S)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (wave_file(bytes(900), 1, 1, 8000, 16), "says frame_rate 16000, the bytes are a WAV file with frame_rate 8000"),
        (wave_file(bytes(900), 1, 2, 16_000, 16), "says n_channels 1, the bytes are a WAV file with n_channels 2"),
        (wave_file(bytes(900), 1, 1, 16_000, 24), "says sample_width 2, the bytes are a WAV file with sample_width 3"),
    ],
)
def test_a_wav_file_that_differs_from_its_config_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(UnreadableRecording, match=text):
        decode(body, samples_of(16_000), MAX_S)


@pytest.mark.parametrize(
    "body",
    [
        b"RIFF\x24\x00\x00\x00WAVE",
        b"RIFF\x24\x00\x00\x00WAVEdata\x10\x00\x00\x00" + bytes(16),
        wave_file(bytes(900), 0x11, 1, 16_000, 4),
        wave_file(bytes(900), 1, 0, 16_000, 16),
        wave_file(bytes(900), 1, 9, 16_000, 16),
        wave_file(bytes(900), 1, 1, 3999, 16),
        wave_file(bytes(900), 1, 1, 192_001, 16),
    ],
)
def test_wav_that_cannot_be_heard_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableRecording, match=r"^The recording |are not supported"):
        read(body, "wav")


@pytest.mark.parametrize(("kind", "make"), FILES.values(), ids=list(FILES))
def test_a_beginning_alone_is_refused(kind: str, make: Callable[[], bytes]) -> None:
    for body in (make()[:40], make()[:12] + b"\x55" * 3000):
        with pytest.raises((UnreadableRecording, BadRecording), match=r"recording|samples|channels|config"):
            read(body, kind)


def test_mp4_without_aac_or_opus_is_refused() -> None:
    with pytest.raises(UnreadableRecording, match="there is no AAC or Opus in it"):
        read(sounds.mp4(codec="alac"), "mp4")


def test_an_mp4_file_whose_packets_are_elsewhere_is_refused() -> None:
    body = sounds.mp4(0.2)
    place = body.index(b"stco") + 12
    with pytest.raises(BadRecording, match="There is no sound in the recording"):
        read(body[:place] + b"\xff\xff\xff\xff" + body[place + 4 :], "mp4")


def test_damage_within_aac_is_passed_over() -> None:
    body = sounds.adts()
    recorded = read(body[:4000] + b"damaged" * 20 + body[4000:], "aac")
    assert recorded.duration_ms > 900
    assert loudness(recorded.pcm[2400:-2400], HEARING_RATE, 440) > 8000


def test_webm_whose_packets_are_compressed_or_share_a_block_is_refused() -> None:
    body = sounds.webm()
    compressed = body.replace(b"\x63\xa2", b"\x6d\x80\x80\x63\xa2", 1)
    with pytest.raises(UnreadableRecording, match="its packets are compressed or encrypted"):
        read(compressed, "webm")
    laced = re.sub(rb"(\xa3..\x81\x00\x00)\x80", lambda found: found[1] + b"\x86", body, flags=re.DOTALL)
    with pytest.raises(UnreadableRecording, match="several packets share a block"):
        read(laced, "webm")


def test_vorbis_that_would_take_much_memory_is_refused() -> None:
    body = bytearray(sounds.vorbis())
    body[body.index(b"\x05vorbis") + 7] = 255
    with pytest.raises(UnreadableRecording, match="there is no Opus or Vorbis in it"):
        read(bytes(body), "ogg")


@pytest.mark.parametrize("said", KINDS)
@pytest.mark.parametrize(
    "body",
    [b"#EXTM3U\nhttp://localhost/a.mp3\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"<html>", b"\x00" * 5000],
)
def test_what_is_no_sound_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(UnreadableRecording, match=r"the bytes are of no known format\.$"):
        read(body, said)


@pytest.mark.parametrize("config", [FileAudioConfig(type="mp3"), samples_of(16_000)])
def test_an_empty_body_is_refused(config: FileAudioConfig | PcmAudioConfig) -> None:
    with pytest.raises(BadRecording, match=r"^The recording is empty\.$"):
        decode(b"", config, MAX_S)


def test_a_file_without_a_sample_is_refused() -> None:
    for body, kind in ((wave_file(b"", 1, 1, 16_000, 16), "wav"), (sounds.ogg()[:200], "ogg")):
        with pytest.raises(BadRecording, match=r"^There is no sound in the recording\.$"):
            read(body, kind)


@pytest.mark.parametrize(("width", "length"), [(2, 1001), (4, 1002)])
def test_half_a_sample_is_refused(width: int, length: int) -> None:
    with pytest.raises(BadRecording, match=f"{length} bytes are no whole number of {width}-byte samples"):
        decode(bytes(length), samples_of(16_000, width), MAX_S)


def test_the_longest_recording_is_heard_and_a_longer_one_refused() -> None:
    longest = bytes(HEARING_RATE * 2 * MAX_S)
    for head, config in ((b"", samples_of(HEARING_RATE)), (wave_file(b"", 1, 1, HEARING_RATE, 16, 0), None)):
        recorded = decode(head + longest, config or FileAudioConfig(type="wav"), MAX_S)
        assert recorded.duration_ms == MAX_S * 1000
        with pytest.raises(BadRecording, match=rf"^The recording is longer than {MAX_S} seconds\.$"):
            decode(head + longest + bytes(2), config or FileAudioConfig(type="wav"), MAX_S)


@pytest.mark.parametrize(("kind", "make"), FILES.values(), ids=list(FILES))
def test_a_file_that_is_too_long_is_refused(kind: str, make: Callable[[], bytes]) -> None:
    with pytest.raises(BadRecording, match=r"longer than 0\.5 seconds"):
        decode(make(), FileAudioConfig.model_validate({"type": kind}), 0.5)


def test_no_thread_and_no_file_is_left_open() -> None:
    process = psutil.Process(os.getpid())
    before = process.num_threads(), process.num_fds()
    for kind, make in FILES.values():
        read(make(), kind)
    assert (process.num_threads(), process.num_fds()) == before


def test_many_are_decoded_at_once() -> None:
    alone = {kind: read(make(), kind).pcm for kind, make in FILES.values()}
    bodies = [(kind, make()) for kind, make in FILES.values()] * 4
    with ThreadPoolExecutor(6) as pool:
        heard = list(pool.map(lambda one: (one[0], read(one[1], one[0]).pcm), bodies))
    last = dict(heard)
    assert last == alone
    assert heard == heard[: len(FILES)] * 4


def test_samples_keep_their_order_of_bytes() -> None:
    body = array.array("h", range(-5000, 5000)).tobytes()
    assert decode(body, samples_of(HEARING_RATE), MAX_S).pcm == body
