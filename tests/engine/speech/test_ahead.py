"""Words that were heard before their turn count only if the turn would have heard them in the same way."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from tertulia.engine.speech.ahead import HeardAhead, VoicesAhead
from tertulia.engine.speech.voices import Voices
from tertulia.providers.base import Transcript


class Again:
    """Hears everything anew."""

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        return Transcript("again")


@pytest.mark.parametrize(
    ("language", "keyterms", "text"),
    [("eng", ["tertulia"], "ahead"), ("spa", ["tertulia"], "again"), ("eng", [], "again")],
)
async def test_another_language_or_other_keyterms_are_heard_again(language: str, keyterms: list[str], text: str):
    async def hear() -> HeardAhead | None:
        return HeardAhead("eng", ["tertulia"], Transcript("ahead"))

    voices = VoicesAhead(cast("Voices", Again()), asyncio.create_task(hear()))
    assert (await voices.transcribe(b"", language, keyterms)).text == text


@pytest.mark.parametrize("error", [None, RuntimeError("no")])
async def test_what_failed_or_was_given_up_is_heard_again(error: Exception | None):
    async def hear() -> HeardAhead | None:
        if error is not None:
            raise error
        await asyncio.sleep(3600)

    hearing = asyncio.create_task(hear())
    asyncio.get_running_loop().call_soon(hearing.cancel)
    assert (await VoicesAhead(cast("Voices", Again()), hearing).transcribe(b"", "eng", [])).text == "again"
