"""The first step of an interaction: what was said has to be heard."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tertulia.audio.decode import Recorded
from tertulia.engine.agent.interaction import interact
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Incoming
from tertulia.errors import TranscriptionFailed
from tertulia.providers.base import HEARING_PATIENCE, Transcript

NOBODY: Any = None


class Deaf:
    def hears_ahead(self, language: str) -> bool:
        return False

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        raise TranscriptionFailed("it is deaf")


async def test_a_turn_is_as_patient_with_a_long_recording_as_what_hears_it() -> None:
    signs: list[float] = []
    incoming = Incoming("user-message", decode=lambda: Recorded(b"", 30_000, "audio/wav", b""))
    scene: Any = SimpleNamespace(incoming=incoming, language="eng")
    deaf: Any = Deaf()

    with pytest.raises(TranscriptionFailed):
        await anext(interact(scene, NOBODY, Resources(NOBODY, deaf, signs.append)))

    assert signs == [30 * HEARING_PATIENCE]
