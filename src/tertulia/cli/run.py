"""`tertulia run`, behind `make run`: everything that a newcomer needs, then the server."""

from pathlib import Path

from rich.console import Console

from tertulia import demo
from tertulia.cli import models, serve, welcome
from tertulia.cli.installation import make_demo
from tertulia.cli.options import load_settings, override
from tertulia.settings import Settings

DEFAULTS = {"model": "local", "rate_limits": "off"}
"""What differs here from `serve`, unless it is set."""


def run(console: Console, data: Path | None, host: str, port: int, model: str | None, workers: int) -> None:
    """Fetch what the model needs, make the demo organization, say how to talk to it, and serve."""
    settings = _load(data, model)
    serve.check(settings, host, port)
    settings = models.prepare(console, settings)
    made = make_demo(settings, demo.ORGANIZATION, None)
    token = welcome.paste_token(settings, made)
    listener = serve.listen(host, port)
    url = serve.address(listener)
    serve.run_server(listener, workers, lambda: welcome.greet(console, settings, made, url, token))


def _load(data: Path | None, model: str | None) -> Settings:
    if model:
        override("MODEL", model)
    given = load_settings(data).model_fields_set
    for field, value in DEFAULTS.items():
        if field not in given:
            override(field.upper(), value)
    return load_settings(None)
