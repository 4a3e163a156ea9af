"""Models and voices as an operator tries them: the voices that there are, and a short question to one of them."""

import time
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import Body, Depends
from pydantic import BaseModel, StringConstraints

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.audio.pcm import duration_ms
from tertulia.auth.permissions import Permission
from tertulia.errors import ModelError, ModelMisbehaved, NotFound, VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import Prompt, Turn
from tertulia.providers.voices.fallback import Voices
from tertulia.runtime import Runtime

router = contract_router("/admin", "Admin")

MOST_PIECES = 200
"""Pieces of a reply that a trial waits for."""

MOST_CHARACTERS = 200
"""Characters of a reply that a trial shows."""

SENTENCE, LANGUAGE = "This is how I sound.", "eng"

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class ListedVoice(BaseModel):
    id: str
    name: str
    languages: list[str]


class VoicesOfProvider(BaseModel):
    provider: str
    voices: list[ListedVoice]
    problem: str | None
    """Why its voices cannot be listed, if they cannot."""


class VoiceList(BaseModel):
    providers: list[VoicesOfProvider]


@router.get("/voices/", operation_id="get-voices", summary="List voices", dependencies=[Depends(rate_limit(20))])
async def get_voices(runtime: CurrentRuntime, actor: CurrentActor, organization: Organization) -> VoiceList:
    """List the voices that an agent can have here, provider by provider. Return them, the preferred provider first."""
    actor.require(Permission.ADMIN_GET_MODELS, organization.attributes)
    listed = await runtime.voices.listed()
    return VoiceList(
        providers=[
            VoicesOfProvider(provider=name, voices=[], problem=str(found))
            if isinstance(found, ModelError)
            else VoicesOfProvider(
                provider=name,
                voices=[ListedVoice(id=one.id, name=one.name, languages=list(one.languages)) for one in found],
                problem=None,
            )
            for name, found in listed
        ]
    )


class Trial(BaseModel):
    kind: Literal["model", "voice"]
    name: Name | None = None
    """The name of a model, or the id of a voice; none: the server's own."""


class TrialOutcome(BaseModel):
    works: bool
    first_ms: float | None
    """Milliseconds to the first piece."""
    detail: str
    """The beginning of what the model said, how much sound the voice made, or why it failed."""


@router.post(
    "/provider_trial/",
    operation_id="try-provider",
    summary="Try a model or a voice",
    dependencies=[Depends(rate_limit(10))],
)
async def try_provider(
    runtime: CurrentRuntime, actor: CurrentActor, organization: Organization, body: Annotated[Trial, Body()]
) -> TrialOutcome:
    """Ask a model a short question, or have a voice say a sentence. Return what came of it."""
    actor.require(Permission.ADMIN_GET_MODELS, organization.attributes)
    began = time.perf_counter()
    try:
        if body.kind == "model":
            said, first_at = await _ask(runtime, organization.org_id, body.name)
        else:
            said, first_at = await _speak(runtime, body.name or DEFAULT_VOICE)
    except ModelError as error:
        return TrialOutcome(works=False, first_ms=None, detail=str(error))
    return TrialOutcome(works=True, first_ms=round(1000 * (first_at - began), 1), detail=said)


async def _ask(runtime: Runtime, org_id: str, name: str | None) -> tuple[str, float]:
    model = runtime.models.default if name is None else runtime.models.named(org_id, name)
    if model is None:
        raise NotFound(f"name: this server reaches no model {name}.")
    prompt = Prompt("EngageUser", "You answer in one short sentence.", [Turn("user", "Say hello.")])
    pieces: list[str] = []
    first_at = 0.0
    async with aclosing(model.stream(prompt)) as stream:
        async for piece in stream:
            first_at = first_at or time.perf_counter()
            pieces.append(piece)
            if len(pieces) == MOST_PIECES:
                break
    if not first_at:
        raise ModelMisbehaved("an empty reply")
    return "".join(pieces)[:MOST_CHARACTERS], first_at


async def _speak(runtime: Runtime, voice_id: str) -> tuple[str, float]:
    if not await runtime.voices.knows(voice_id):
        raise NotFound(f"name: there is no voice {voice_id}.")
    voices = await runtime.voices.only(voice_id)
    seconds, first_at = 0.0, 0.0
    async with aclosing(voices.speak(SENTENCE, voice_id, await _language_of(voices, voice_id))) as sounds:
        async for sound in sounds:
            first_at = first_at or time.perf_counter()
            seconds += duration_ms(sound.pcm, voices.rate) / 1000
    if not first_at:
        raise VoiceFailed("no sound")
    return f"{seconds:.1f} s of sound", first_at


async def _language_of(voices: Voices, voice_id: str) -> str:
    """Choose a language that a voice speaks. Return English unless it speaks others alone."""
    for _, found in await voices.listed():
        for one in () if isinstance(found, ModelError) else found:
            if one.id == voice_id and one.languages and LANGUAGE not in one.languages:
                return next(iter(one.languages))
    return LANGUAGE
