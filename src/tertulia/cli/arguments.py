"""Options that several commands share. Nothing here imports what a command needs: `tertulia --help` reads it."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_URL = "http://127.0.0.1:8000"

Data = Annotated[
    Path | None,
    typer.Option(
        help="The folder of the database, the secret key and weights; TERTULIA_DATA, else .data", show_default=False
    ),
]
Host = Annotated[
    str | None, typer.Option(help="The address to listen on; TERTULIA_HOST, else 127.0.0.1", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON")]
Language = Annotated[str, typer.Option(metavar="CODE", help="The language, ISO 639-3")]
Organization = Annotated[str, typer.Option(metavar="ID", help="The organization")]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="The port to listen on, 0 for a free one; TERTULIA_PORT, else 8000",
        show_default=False,
    ),
]
Url = Annotated[
    str | None, typer.Option(help=f"Where the server is; AMIGO_BASE_URL, else {DEFAULT_URL}", show_default=False)
]
User = Annotated[str | None, typer.Option(metavar="ID", help="As this user", show_default=False)]
Admin = Annotated[bool, typer.Option("--admin", help="As the demo administrator, who sees the agent's actions too")]
VoiceProvider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="scripted, local, openai, cartesia; several with commas; TERTULIA_VOICE, else local",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=64, help="Processes that serve; TERTULIA_WORKERS, else 1", show_default=False),
]
