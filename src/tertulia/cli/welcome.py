"""The greeting of `tertulia run`, printed once the server answers: how to talk to it."""

import os
import shlex
import shutil
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from rich.console import Console

from tertulia.cli.installation import issue_token
from tertulia.cli.models import describe
from tertulia.demo.organization import Demo
from tertulia.settings import Settings
from tertulia.web.pages import is_built

_OF_THE_SHELL = ("TERTULIA_CONFIG", "TERTULIA_DATABASE_URL", "TERTULIA_SECRET_KEY")
"""Settings without which a command of another shell would not find this installation."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The tokens of a greeting, made before the server begins: of the pasted curl, and of the interface's address."""

    pasted: str
    interface: str | None


def make_credentials(settings: Settings, demo: Demo) -> Credentials:
    """Make the tokens of a greeting. Return them; that of the interface is None if it is not built."""
    if not is_built():
        return Credentials(_paste_token(settings, demo), None)
    issued = issue_token(settings, demo.organization_id, demo.admin_user_id, administrator=True)
    return Credentials(_paste_token(settings, demo), issued.token)


def _paste_token(settings: Settings, demo: Demo) -> str:
    """Make the token of a pasted line. Return a command that makes it anew or, if another shell could not, itself."""
    if any(os.environ.get(name) for name in _OF_THE_SHELL):
        return issue_token(settings, demo.organization_id, demo.user_id, administrator=False).token
    return f"$({_program()} token {_here(settings)})"


def greet(console: Console, settings: Settings, demo: Demo, url: str, credentials: Credentials) -> None:
    """Print the addresses, the official client's settings, and commands that work as they are pasted."""
    tertulia, here = _program(), _here(settings)
    there = f"{here} --url {url}"
    parts = f"model: {describe(settings)}; voice: {', '.join(settings.voice)}; API: {url}/docs"
    console.print(f"\n[bold green]Tertulia answers on {url}[/] [dim]({parts})[/]", soft_wrap=True)
    show_interface(console, settings, url, credentials.interface)
    _heading(console, "Create a conversation and read the reply as it comes:")
    _plain(console, _curl(demo, url, credentials.pasted))
    _heading(console, "In another terminal: talk, or finish what is open (a user has one conversation at a time):")
    _plain(console, f"{tertulia} chat {there}\n{tertulia} finish {there}")
    _heading(console, "Settings of the official client:")
    _plain(console, "\n".join(f"export {name}={shlex.quote(value)}" for name, value in client_settings(demo, url)))
    console.print("\n[dim]Ctrl-C stops the server.[/]")


def show_interface(console: Console, settings: Settings, url: str, token: str | None, service: str = "") -> None:
    """Print the interface's address, signed in as the administrator, and open it if somebody sits before a screen.

    With the name of a `service`, that one is talked with.
    """
    if token is None:
        console.print("\n[dim]The web interface is not built; `make ui` builds it.[/]", soft_wrap=True)
        return
    query = f"?{urlencode({'service': service})}" if service else ""
    address = f"{url}/ui/{query}#token={token}"
    _heading(console, "Talk, and see why the agent says what it says (signed in as the administrator, for an hour):")
    _plain(console, address)
    if console.is_terminal and _has_screen():
        webbrowser.open(_leading_to(settings.data, address).as_uri())


def _has_screen() -> bool:
    return sys.platform in {"darwin", "win32"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _leading_to(folder: Path, address: str) -> Path:
    """Write a page that leads to an address. Return its path.

    Every user of the machine can read the command line of a browser, so the token must not stand there.
    """
    page = (folder / "open-interface.html").resolve()
    page.unlink(missing_ok=True)
    with open(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(
            f'<!doctype html><meta http-equiv="refresh" content="0; url={address}"><a href="{address}">Tertulia</a>\n'
        )
    return page


def client_settings(demo: Demo, url: str) -> list[tuple[str, str]]:
    """The five variables that the official client reads."""
    return [
        ("AMIGO_BASE_URL", url),
        ("AMIGO_ORGANIZATION_ID", demo.organization_id),
        ("AMIGO_USER_ID", demo.user_id),
        ("AMIGO_API_KEY_ID", demo.api_key_id),
        ("AMIGO_API_KEY", demo.api_key),
    ]


def _curl(demo: Demo, url: str, token: str) -> str:
    return (
        f"curl -N '{url}/v1/{demo.organization_id}/conversation/?response_format=text' \\\n"
        f'  -H "Authorization: Bearer {token}" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"""  -d '{{"service_id": "{demo.service_id}"}}'"""
    )


def _here(settings: Settings) -> str:
    return f"--data {shlex.quote(str(settings.data))}"


def _program() -> str:
    """This program's own path, so that a pasted line finds it from any folder."""
    beside = Path(sys.executable).with_name("tertulia")
    return shlex.quote(str(beside) if beside.exists() else shutil.which("tertulia") or "tertulia")


def _heading(console: Console, text: str) -> None:
    console.print(f"\n[bold]{text}[/]", soft_wrap=True)


def _plain(console: Console, text: str) -> None:
    """As it is, however narrow the terminal: it will be copied."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
