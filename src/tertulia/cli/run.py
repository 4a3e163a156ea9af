"""`tertulia run`, behind `make run`: everything that a newcomer needs, then the server."""

from rich.console import Console

from tertulia import logs
from tertulia.cli import models, welcome
from tertulia.cli.installation import make_demo
from tertulia.cli.options import load_settings, override
from tertulia.demo import organization as demo
from tertulia.serving import serve
from tertulia.settings import Settings

DEFAULTS = {"model": "local", "voice": "local", "rate_limits": "off", "trace": "prompts"}
"""Settings that differ here from `serve`, unless they are set. With the scripted model the voice is scripted too: then
nothing has to be fetched."""


def run(console: Console, settings: Settings, model: str | None) -> None:
    """Fetch what the model needs, make the demo organization, say how to talk to it, and serve."""
    settings = _with_defaults(settings, model)
    serve.check(settings)
    settings = models.prepare(console, settings, models.FALLBACK)
    made = make_demo(settings, demo.ORGANIZATION, None)
    credentials = welcome.make_credentials(settings, made)
    logs.configure(settings.log_level)
    listener = serve.listen(settings.host, settings.port)
    url = serve.address(listener)
    serve.run_server(listener, settings.workers, lambda: welcome.greet(console, settings, made, url, credentials))


def _with_defaults(given: Settings, model: str | None) -> Settings:
    """Load the settings with what differs here. Returns them."""
    if model:
        override("MODEL", model)
        given = load_settings(None)
    quick = "model" in given.model_fields_set and given.model == (models.FALLBACK,)
    for field, value in DEFAULTS.items():
        if field not in given.model_fields_set and not (quick and field == "voice"):
            override(field.upper(), value)
    return load_settings(None)
