"""`tertulia dev`: a server with the agent of a folder, and every change of a file applied as it is saved."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from tertulia import logs
from tertulia.cli import apply, installation, models, rehearse, welcome
from tertulia.cli.client import Api, Session
from tertulia.cli.failure import CommandFailed
from tertulia.cli.library import Library
from tertulia.cli.options import load_settings, override
from tertulia.cli.plans import describe
from tertulia.cli.show import printable
from tertulia.demo.organization import ORGANIZATION
from tertulia.files.document import Problem
from tertulia.files.folder import COLLECTIONS, AgentFolder
from tertulia.files.tools import TOOLS
from tertulia.serving import serve
from tertulia.settings import Settings
from tertulia.tools.archive import LEFT_OUT
from tertulia.web import watched

PAUSE_S: Final = 0.25
"""Between two looks at the files; what is being written is waited for."""
_MAIN_FILES: Final = ("agent.yaml", "graph.yaml", "service.yaml")
_DEFAULTS: Final = {"VOICE": "scripted", "RATE_LIMITS": "off", "LOG_LEVEL": "error", "TRACE": "prompts"}

Tell = Callable[[dict[str, Any]], None]
"""Tells open pages what came of a change."""

Signature = tuple[tuple[str, int, int], ...]
"""The path, size and time of each file."""


def serve_and_watch(console: Console, settings: Settings, folder: Path, model: str) -> None:
    """Serve an installation with the agent of a folder until Ctrl-C, and apply every change of the folder.

    Raises:
        CommandFailed: there is no such folder, or a model cannot be had.
    """
    apply.require_folder(folder)
    for name, value in {"MODEL": model, **_DEFAULTS}.items():
        if name == "MODEL" or f"TERTULIA_{name}" not in os.environ:
            override(name, value)
    settings = load_settings(None)
    serve.check(settings)
    settings = models.prepare(console, settings, models.FALLBACK)
    made = installation.make_demo(settings, ORGANIZATION, None)
    logs.configure(settings.log_level)
    listener = serve.listen(settings.host, settings.port)
    url = serve.address(listener)

    def token() -> str:
        return installation.issue_token(settings, made.organization_id, made.admin_user_id, administrator=True).token

    credentials = welcome.make_credentials(settings, made)
    tell = partial(watched.tell, settings.data)
    tell({"state": "begun"})

    def ready() -> None:
        session = Session(Api(url, made.organization_id, token), made.admin_user_id)
        visitors = partial(rehearse.visitor, settings, url, made.organization_id)
        holders = visitors if settings.model == (models.FALLBACK,) else None
        watcher = Watcher(console, session, folder, holders, release=True, variables=os.environ, tell=tell)
        threading.Thread(target=watcher.run, name="watcher", daemon=True).start()
        about = f"(model: {models.describe(settings)})"
        console.print(Text.assemble((f"Tertulia answers on {url} ", "bold green"), (about, "dim")), soft_wrap=True)
        welcome.show_interface(console, settings, url, credentials.interface, _service_of(folder))
        console.print(Text("\nSave a file to change the agent. Ctrl-C ends this.\n", "dim"))

    serve.run_server(listener, 1, ready)


def _service_of(folder: Path) -> str:
    """Read the name of a folder's service. Return it, or nothing if files are wrong; the watcher tells that."""
    try:
        return str(apply.read_folder(folder).service["name"])
    except CommandFailed:
        return ""


def watch(console: Console, session: Session, folder: Path) -> None:
    """Apply every change of a folder to a server that is there already, until Ctrl-C.

    Raises:
        CommandFailed: there is no such folder.
    """
    apply.require_folder(folder)
    console.print(Text(f"Every saved change goes to {session.api.url} (version set edge). Ctrl-C ends this.\n", "dim"))
    try:
        Watcher(console, session, folder, None, release=False).run()
    except KeyboardInterrupt:
        console.print()


class Watcher:
    """A folder that is watched."""

    def __init__(
        self,
        console: Console,
        session: Session,
        folder: Path,
        visitors: rehearse.Sign | None,
        *,
        release: bool,
        variables: Mapping[str, str] = apply.NO_VARIABLES,
        tell: Tell = lambda _word: None,
    ) -> None:
        """Watch a folder. With `visitors`, its conversations are held after each change.

        Tools are given those of the `variables` that they require; `tell` is told what is printed.
        """
        self._console = console
        self._session = session
        self._library = Library(session.api)
        self._folder = folder
        self._visitors = visitors
        self._release = release
        self._variables = variables
        self._tell_pages = tell

    def run(self) -> None:
        """Apply the folder, then every change of it."""
        applied: Signature | None = None
        seen = signature(self._folder)
        while True:
            now = signature(self._folder)
            if now == seen and now != applied:  # nobody is writing
                applied = now
                self.apply()
            seen = now
            time.sleep(PAUSE_S)

    def apply(self) -> None:
        """Apply the folder once, and print what came of it."""
        try:
            folder = apply.read_folder(self._folder)
            plan, server = apply.plan_of(self._library, folder, release=self._release)
            apply.carry_out(Console(quiet=True), self._library, folder, plan, server, self._variables)
        except CommandFailed as error:
            self._tell_failure(error)
            return
        told = [describe(step) for step in plan.steps if step.kind != "release"]
        self._tell(Text(f"applied: {'; '.join(told)}" if told else "nothing to change", "green" if told else "dim"))
        self._tell_pages({"state": "applied", "changes": told})
        if self._visitors is not None and folder.conversations:
            self._hold(folder, self._visitors, told)

    def _hold(self, folder: AgentFolder, visitors: rehearse.Sign, applied: Sequence[str]) -> None:
        """Hold the conversations of the folder, and print which of them went otherwise than their files say."""
        try:
            stage = rehearse.stage_of(folder, self._session, visitors)
            held = {name: rehearse.hold(stage, name) for name in folder.conversations}
        except CommandFailed as error:
            self._tell_failure(error)
            return
        failed = [name for name, each in held.items() if each.problems]
        for name in failed:
            self._tell(Text("\n".join(map(printable, held[name].problems)), "red"))
        wrong = [text for name in failed for text in held[name].problems]
        self._tell_pages({"state": "held", "changes": applied, "wrong": wrong})
        if not failed:
            self._tell(Text(f"held: {', '.join(map(printable, held))}", "green"))

    def _tell_failure(self, error: CommandFailed) -> None:
        self._tell(Text(printable_lines(error.text), "red"))
        self._tell_pages({"state": "wrong", "text": error.text, "problems": self._places(error.problems)})

    def _places(self, problems: Sequence[Problem]) -> list[dict[str, Any]]:
        """Name the files of problems as the folder has them. Return what a page shows of each problem."""
        return [
            {
                "file": os.path.relpath(each.path, self._folder),
                "line": each.line,
                "column": each.column,
                "text": each.text,
            }
            for each in problems
        ]

    def _tell(self, text: Text) -> None:
        now = datetime.now().astimezone()
        self._console.print(Text.assemble((f"{now:%H:%M:%S}  ", "dim"), text), soft_wrap=True)


def printable_lines(text: str) -> str:
    """Remove what would steer the terminal from a text of several lines. Return the text."""
    return "\n".join(map(printable, text.splitlines()))


def signature(folder: Path) -> Signature:
    """Look at the files of a folder. Return what changes when one of them does."""
    return tuple(sorted(_looks(folder)))


def _looks(folder: Path) -> Iterator[tuple[str, int, int]]:
    paths = [folder / name for name in _MAIN_FILES]
    for collection in COLLECTIONS:
        try:
            paths += (folder / collection).iterdir()
        except OSError:
            continue
    for place, folders, names in os.walk(folder / TOOLS):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        paths += (Path(place, name) for name in names)
    for path in paths:
        try:
            found = path.stat()
        except OSError:  # a link to nowhere, or a file that has just gone, is a change too
            yield str(path), -1, 0
            continue
        yield str(path), found.st_size, found.st_mtime_ns
