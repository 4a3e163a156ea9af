"""`tertulia say`, `transcribe` and `voices`: files of sound, by the scripted voice."""

import sys
import threading
import wave
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import miniaudio
import pytest

from support.answering import Quiet
from support.commands import Command

SCRIPTED = ("--provider", "scripted")
TEXT = "Hello, Ana. What would you like?"
NOWHERE = {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": "/dev/null"}


@pytest.mark.parametrize("name", ["said.wav", "said.mp3", "SAID.MP3"])
def test_what_is_said_into_a_file_is_transcribed(command: Command, tmp_path: Path, name: str) -> None:
    done = command("say", TEXT, "--out", name, *SCRIPTED)
    assert done.stdout.startswith(f"{name}: 1.4 s, the first sound after ")
    assert (tmp_path / name).exists()
    assert command("transcribe", name, *SCRIPTED).stdout == f"{TEXT}\n"


def test_without_a_name_the_file_is_a_wav_of_24_khz(command: Command, tmp_path: Path) -> None:
    command("say", TEXT, *SCRIPTED)
    with wave.open(str(tmp_path / "speech.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)


def test_an_mp3_is_one_for_others_too(command: Command, tmp_path: Path) -> None:
    command("say", TEXT, "--out", "said.mp3", *SCRIPTED)
    info = miniaudio.mp3_get_file_info(str(tmp_path / "said.mp3"))
    assert (info.sample_rate, info.nchannels) == (24_000, 1)


def test_a_text_is_read_from_standard_input(command: Command) -> None:
    command("say", "-", *SCRIPTED, stdin="One *two*.\nThree.\n")
    assert command("transcribe", "speech.wav", *SCRIPTED).stdout == "One two. Three.\n"


def test_a_voice_and_a_language_are_chosen(command: Command) -> None:
    command("say", "Grüß Gott", "--voice", "tone-soft", "--language", "deu", *SCRIPTED)
    assert command("transcribe", "speech.wav", "--language", "deu", *SCRIPTED).stdout == "Grüß Gott\n"


def test_the_provider_of_the_settings_is_taken(command: Command) -> None:
    assert command("say", TEXT, TERTULIA_VOICE="scripted").returncode == 0
    assert command("transcribe", "speech.wav", TERTULIA_VOICE="scripted").stdout == f"{TEXT}\n"


def test_voices_are_listed_a_line_each(command: Command) -> None:
    rows = [line.split() for line in command("voices", "--provider", "scripted").stdout.splitlines()]
    assert [row[:2] for row in rows] == [["scripted", "default"], ["scripted", "tone"], ["scripted", "tone-soft"]]


def test_of_several_providers_those_that_can_be_asked_are_listed(command: Command) -> None:
    nobody = {"OPENAI_BASE_URL": "http://127.0.0.1:9", "TERTULIA_CARTESIA_BASE_URL": "http://127.0.0.1:9"}
    done = command("voices", "--provider", "cartesia,openai,scripted", **nobody)
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"openai", "scripted"}
    (line,) = done.stderr.splitlines()
    assert line.startswith("tertulia: The voices of cartesia cannot be listed: ConnectError: ")


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a vendor that refuses everything, with a page that would steer a terminal."""

    class Refusal(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b"<p>\x1b[2J\nwrong\r\nkey</p>\n")

        def do_POST(self) -> None:
            self.do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_a_vendor_refuses_with_is_one_harmless_line(command: Command, refusing: str) -> None:
    vendor = {"TERTULIA_CARTESIA_BASE_URL": refusing}
    for arguments in (("voices",), ("say", "Hi")):
        done = command(*arguments, "--provider", "cartesia", **vendor)
        assert done.returncode == 1
        assert "status 401: <p> [2J wrong key</p>.\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text", "status"),
    [
        (("say", "Hi", "--out", "said.ogg", *SCRIPTED), "said.ogg ends in none of .wav, .mp3", 2),
        (("say", "Hi", "--out", "no/said.wav", *SCRIPTED), "No such file or directory: no/said.wav", 1),
        (("say", "Hi", "--voice", "nobody", *SCRIPTED), "There is no voice nobody", 2),
        (("say", "Hi", "--language", "tlh", *SCRIPTED), "There is no voice for the language tlh", 2),
        (("say", " ...", *SCRIPTED), "There is nothing to say", 2),
        (("say", "Hi", "--provider", "nobody"), "TERTULIA_VOICE: There is no voice 'nobody'", 2),
        (("say", "Hi", "--provider", "cartesia"), "TERTULIA_CARTESIA_API_KEY is missing", 2),
        (("say", "Hi", "--provider", "off"), "There is no voice for the language eng", 2),
        (("voices", "--provider", "off"), "No voices can be listed: off", 1),
        (("transcribe", "text.txt", *SCRIPTED), "text.txt is no WAV, MP3, Ogg, WebM or FLAC file", 2),
        (("transcribe", "broken.wav", *SCRIPTED), "broken.wav: The recording begins as a WAV file, but", 2),
        (("transcribe", "nowhere.wav", *SCRIPTED), "No such file or directory: nowhere.wav", 1),
        (("transcribe", "silent.wav", *SCRIPTED), "There is no speech in silent.wav", 1),
        (("transcribe", "silent.wav", "--language", "tlh", *SCRIPTED), "Speech in the language tlh", 2),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    text: str,
    status: int,
) -> None:
    monkeypatch.delenv("CARTESIA_API_KEY", raising=False)
    (tmp_path / "text.txt").write_text("Hello")
    (tmp_path / "broken.wav").write_bytes(b"RIFF\x10\0\0\0WAVEfmt \0\0\0\0")
    with wave.open(str(tmp_path / "silent.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("tertulia: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_voice_that_fails_says_why(command: Command) -> None:
    done = command("say", "Hi", "--provider", "openai", OPENAI_BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("tertulia: The voice failed: ConnectError")


def test_without_codecs_nobody_speaks_for_an_mp3(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tertulia.audio.encode", None)
    done = command("say", "Hi", "--out", "said.mp3", "--provider", "openai", OPENAI_BASE_URL="http://127.0.0.1:9")
    assert done.stderr.startswith("tertulia: Files of sound need the extra `voice`")


def test_weights_that_cannot_be_had_are_one_line(command: Command, data: Path) -> None:
    command("say", TEXT, *SCRIPTED)
    done = command("transcribe", "speech.wav", "--provider", "local", "--data", data, **NOWHERE)
    assert done.returncode == 2
    fetching, failed, unheard = (done.stdout + done.stderr).splitlines()
    assert fetching.startswith("Fetching the weights of whisper-tiny.en")
    assert failed.startswith("The weights of whisper-tiny.en cannot be had")
    assert unheard.startswith("tertulia: Speech in the language eng")
