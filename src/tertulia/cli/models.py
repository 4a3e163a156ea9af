"""The models that the settings name: can they be opened, and are their weights here?"""

import asyncio
import importlib.util

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tertulia.cli.failure import MISUSED, CommandFailed
from tertulia.cli.options import load_settings, override
from tertulia.providers import weights
from tertulia.providers.base import ProviderError
from tertulia.providers.machine import require_machine
from tertulia.providers.registry import open_models
from tertulia.providers.weights import Weights, WeightsUnavailable
from tertulia.settings import Settings

LOCAL = "local"
FALLBACK = "scripted"


def prepare(console: Console, settings: Settings) -> Settings:
    """Fetch the weights of local models, and see that every model can be opened; the settings that result.

    A local model that cannot be had is left out, and that is said in one line.

    Raises:
        CommandFailed: another model cannot be opened; says which.
    """
    kept: list[str] = []
    for model in settings.model:
        try:
            _fetch(console, settings, model)
        except WeightsUnavailable as error:
            missing = str(error).rstrip(".")
            console.print(f"{missing}: {_instead(settings)}", style="yellow", markup=False, soft_wrap=True)
        else:
            kept.append(model)
    override("MODEL", ",".join(kept) or FALLBACK)
    settings = load_settings(None)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    try:
        models = open_models(settings)
    except ProviderError as error:
        raise CommandFailed(f"TERTULIA_MODEL: {error}", MISUSED) from error
    asyncio.run(models.aclose())


def _instead(settings: Settings) -> str:
    return f"going on with the {FALLBACK} model." if len(settings.model) == 1 else "going on without it."


def _fetch(console: Console, settings: Settings, model: str) -> None:
    vendor, _, name = model.partition(":")
    if vendor != LOCAL:
        return
    wanted = weights.named(name)
    require_machine()
    if importlib.util.find_spec("xllamacpp") is None:
        raise WeightsUnavailable("A local model needs the extra `local`.")
    folder = weights.folder(settings.data)
    if weights.find(wanted, folder) is None:
        console.print(f"Fetching the weights of {wanted.name} ({wanted.size // 1_000_000} MB), this once.")
        _fetch_with_progress(console, wanted, settings)


def _fetch_with_progress(console: Console, wanted: Weights, settings: Settings) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(wanted.name, total=wanted.size)
        weights.fetch(
            wanted,
            weights.folder(settings.data),
            lambda here, whole: progress.update(task, completed=here, total=whole),
        )
