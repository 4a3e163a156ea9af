"""Speech out and in without a cloud, opened as the settings say."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from structlog.testing import capture_logs

from tertulia.providers.voices.local.speech import open_local, open_transcriber
from tertulia.providers.weights import WHISPER_TINY_EN, Weights
from tertulia.settings import Settings


async def test_without_weights_it_speaks_and_does_not_hear(tmp_path: Path):
    with capture_logs() as logs:
        opened = open_local(Settings(data=tmp_path))
    assert [log["event"] for log in logs] == [
        f"The weights of whisper-tiny.en are not in {tmp_path / 'models'}.",
        f"The weights of whisper-base are not in {tmp_path / 'models'}.",
    ]
    await opened.start()
    assert opened.transcriber is None
    assert opened.voice is not None
    assert [sound async for sound in opened.voice.speak("Hello.", "heart", "eng")]
    await opened.aclose()


async def test_with_the_weights_of_english_it_hears_english(tmp_path: Path, weights_of: Callable[[Weights], Path]):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / WHISPER_TINY_EN.name).symlink_to(weights_of(WHISPER_TINY_EN))
    transcriber = await asyncio.to_thread(open_transcriber, Settings(data=tmp_path))
    assert transcriber is not None
    assert transcriber.hears("eng")
    assert not transcriber.hears("spa")
    await transcriber.aclose()
