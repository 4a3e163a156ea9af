"""espeak-ng's process: it is one, it can die, and it ends when nobody needs it."""

import array
import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from tertulia.errors import VoiceFailed
from tertulia.providers.voices.local.espeak import EspeakVoice

SPANISH = "roa/es"
LONG = "uno dos tres cuatro cinco seis siete ocho nueve diez " * 200


@pytest.fixture
async def voice() -> AsyncIterator[EspeakVoice]:
    opened = EspeakVoice()
    yield opened
    await opened.aclose()
    assert not children()


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "espeak_process" in " ".join(one.cmdline())]


async def said(voice: EspeakVoice, text: str, file: str = SPANISH) -> bytes:
    async with aclosing(voice.speak(text, file)) as sounds:
        return b"".join([sound.pcm async for sound in sounds])


async def test_many_speak_at_once_with_one_process(voice: EspeakVoice):
    texts = [f"Este es el número {number}." for number in range(8)]
    alone = [len(await said(voice, text)) for text in texts]
    together = [len(pcm) for pcm in await asyncio.gather(*(said(voice, text) for text in texts))]
    assert together == pytest.approx(alone, rel=0.02)
    assert len(children()) == 1


async def test_a_long_text_can_be_stopped_and_the_next_is_not_late(voice: EspeakVoice):
    async with aclosing(voice.speak(LONG, SPANISH)) as sounds:
        await anext(sounds)
    process = children()[0].pid
    async with asyncio.timeout(5):
        assert await said(voice, "Hola.")
    assert [child.pid for child in children()] == [process]


async def test_a_process_that_dies_fails_its_sentence_alone(voice: EspeakVoice):
    async with aclosing(voice.speak(LONG, SPANISH)) as sounds:
        await anext(sounds)
        children()[0].kill()
        with pytest.raises(VoiceFailed):
            [sound async for sound in sounds]
    assert await said(voice, "Hola.")
    assert len(children()) == 1


async def test_a_process_that_hangs_when_it_is_to_stop_is_replaced(voice: EspeakVoice, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tertulia.providers.voices.local.espeak._GRACE_S", 0.05)
    await said(voice, "Hola.")
    os.kill(children()[0].pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await said(voice, "Hola.")
    with pytest.raises(VoiceFailed):
        await said(voice, "Hola.")
    assert await said(voice, "Hola.")


async def test_a_voice_that_is_not_there_is_an_error(voice: EspeakVoice):
    with pytest.raises(VoiceFailed):
        await said(voice, "Hola.", "nowhere/none")
    assert await said(voice, "Hola.")


@pytest.mark.parametrize("command", ["\x0180S", "\x0120A", "\0"], ids=["speed", "loudness", "end"])
async def test_a_text_cannot_change_how_it_or_the_next_one_sounds(voice: EspeakVoice, command: str):
    usual = pytest.approx(measured(await said(voice, "Hola a todos.")), rel=0.1)
    assert measured(await said(voice, f"{command[0]}Hola a todos.")) == usual
    await said(voice, f"{command} Hola a todos.")
    assert measured(await said(voice, "Hola a todos.")) == usual


def measured(pcm: bytes) -> tuple[int, int]:
    """Measure length and loudness, roughly: no two readings of a text are the same."""
    samples = array.array("h", pcm)
    return len(samples), max(samples)


async def test_a_module_in_the_working_folder_is_not_taken_for_one_of_ours(
    voice: EspeakVoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "queue.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    assert await said(voice, "Hola.")


async def test_the_process_ends_with_its_server_even_where_that_is_killed():
    server = """
        import asyncio
        from tertulia.providers.voices.local.espeak import EspeakVoice

        async def main():
            voice = EspeakVoice()
            async for _ in voice.speak("Hola.", "roa/es"):
                pass
            print("spoken", flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
    """
    running = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-c", textwrap.dedent(server)], stdout=subprocess.PIPE
    )
    with running:
        assert running.stdout is not None
        assert await asyncio.to_thread(running.stdout.readline) == b"spoken\n"
        (child,) = psutil.Process(running.pid).children()
        running.kill()
    await asyncio.to_thread(psutil.wait_procs, [child], 10)
    assert not child.is_running()
