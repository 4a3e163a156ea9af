"""`tertulia chat`: talk with an agent in the terminal, over the HTTP API."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text
from typer import Exit

from tertulia.cli.bookmark import Bookmark
from tertulia.cli.client import ApiError, Event, Session, Turn
from tertulia.cli.failure import CommandFailed
from tertulia.cli.show import printable
from tertulia.cli.transcript import Transcript
from tertulia.cli.typed import read_line, replace_undecodable_input

HELP = "/finish ends the conversation, /new begins another, /quit leaves it open for later."
RECALLED = 4
"""Messages that a conversation which goes on begins with."""

INTERRUPTED = 130
"""The exit status of a command that Ctrl-C has ended, as shells have it."""

PATIENCE_S = 60
"""The longest wait for a turn whose worker cannot be reached: twice the time for which such a turn is kept."""

_UNAVAILABLE = 503
_PAST = frozenset({404, 410})
"""Statuses of a turn of which nothing is left to follow."""


class Chat:
    """A conversation in a terminal. If nobody types (input is a file or a pipe), the first error ends it."""

    def __init__(
        self, console: Console, session: Session, service: dict[str, Any], agent_name: str, *, actions: bool
    ) -> None:
        self._console = console
        self._session = session
        self._service = service
        self._actions = actions
        self._interactive = sys.stdin.isatty()
        replace_undecodable_input()
        self._transcript = Transcript(console, agent_name)
        self._bookmark = Bookmark(session, service["id"])
        self._conversation_id = ""

    def run(self) -> None:
        """Go on with what is unfinished, or begin; then take turns until somebody ends it.

        Raises:
            Exit: the person has left with Ctrl-C.
        """
        self._console.print(f"[bold]{escape(self._service['name'])}[/] at {self._session.api.url}. [dim]{HELP}[/]")
        try:
            going_on = self._come_back() or self._begin()
            while going_on:
                going_on = self._take_turn()
        except KeyboardInterrupt:
            self._transcript.settle()
            self._console.print(f"\n[dim]You have left. {self._left_behind()}[/]")
            raise Exit(INTERRUPTED) from None
        finally:
            self._transcript.settle()

    def _come_back(self) -> bool:
        """Go on with an unfinished conversation, and with the turn that was left in it. Return False if there is none
        to go on with."""
        left = self._bookmark.find()
        recalled = recall(self._console, self._session, self._service, "/new begins another")
        self._conversation_id = recalled.conversation_id
        self._bookmark.remove()
        if left is None or left.interaction_id in recalled.interaction_ids:
            return bool(self._conversation_id)
        if self._conversation_id not in ("", left.conversation_id):  # the one that was left is over
            return True
        return self._follow(left)

    def _follow(self, turn: Turn) -> bool:
        """Show a turn that was left while it ran, from its beginning. Return False if no conversation goes on."""
        self._begun(turn)
        try:
            going_on = self._show(self._follow_patiently(turn), followed=True)
        except ApiError as error:
            if error.http_status not in _PAST:
                raise
            self._bookmark.remove()
            self._transcript.settle()
            if self._conversation_id == turn.conversation_id:
                self._console.print("[dim]What you said last was not answered: say it again.[/]")
            return bool(self._conversation_id)
        if not going_on or self._session.api.is_finished(turn.conversation_id):
            return False
        self._conversation_id = turn.conversation_id
        return True

    def _follow_patiently(self, turn: Turn) -> Iterator[Event]:
        """Read the events of a turn. If its worker has died, wait until the server has noticed that."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                yield from self._session.api.follow(turn)
                return
            except ApiError as error:
                if error.http_status != _UNAVAILABLE or error.retry_after is None or time.monotonic() > end:
                    raise
                time.sleep(error.retry_after)

    def _left_behind(self) -> str:
        again = "the same command"
        if self._bookmark.find() is not None:
            return f"{escape(self._transcript.agent_name)} goes on with the reply: {again} shows it."
        return f"The conversation stays open: {again} goes on with it."

    def _take_turn(self) -> bool:
        try:
            text = self._ask()
            return text is not None and self._obey(text)
        except ApiError as error:
            if not self._interactive:
                raise
            self._transcript.settle()
            self._console.print(f"[bold red]{escape(error.text)}[/]")
            return True

    def _ask(self) -> str | None:
        """Read what the person says. Return it, or None at the end of the input."""
        try:
            if not self._interactive:
                return self._console.input().strip()
            self._console.print()
            return read_line(self._console, "[bold green]you[/] ").strip()
        except EOFError:
            return None

    def _obey(self, text: str) -> bool:
        """Carry out a command of the chat. Return False if the chat is over."""
        match text:
            case "":
                return True
            case "/quit":
                return False
            case "/finish":
                self._finish()
                return False
            case "/new":
                self._finish()
                return self._begin()
            case _ if text.startswith("/"):
                self._console.print(f"[dim]{HELP}[/]")
                return True
            case _:
                return self._say(text)

    def _say(self, text: str) -> bool:
        """Say something, after the turn that is still running if one is. Return False if the conversation is over."""
        api = self._session.api
        try:
            return self._show(api.interact(self._conversation_id, text, self._begun))
        except ApiError as error:
            if error.turn is None:
                raise
            return self._follow(error.turn) and self._show(api.interact(self._conversation_id, text, self._begun))

    def _begin(self) -> bool:
        """Begin a conversation, or go on with one that is just beginning. Return False if it is over."""
        try:
            return self._show(self._session.api.create(self._service["id"], self._begun))
        except ApiError as error:
            if error.turn is None:
                raise
            return self._follow(error.turn)

    def _finish(self) -> None:
        self._session.api.finish(self._conversation_id)
        self._console.print("[dim]The conversation is finished.[/]")

    def _begun(self, turn: Turn) -> None:
        """Note the turn that is waited for, if somebody may come back to it."""
        if self._interactive:
            self._bookmark.put(turn)

    def _show(self, events: Iterator[Event], *, followed: bool = False) -> bool:
        """Print a reply piece by piece. Return False if the conversation is over."""
        completed = False
        self._transcript.wait()
        for event in events:
            match event["type"]:
                case "conversation-created":
                    self._conversation_id = event["conversation_id"]
                case "user-message-available" if followed:
                    self._transcript.say("you", event["user_message"])
                    self._transcript.wait()
                case "current-agent-action" if self._actions:
                    self._console.print(Text(f"  {_describe(event['action'])}", "cyan"))
                case "new-message":
                    self._transcript.piece(event["message"])
                case "interaction-complete":
                    completed = event["conversation_completed"]
                    self._bookmark.remove()
                case "error":
                    self._bookmark.remove()
                    raise ApiError(event["http_error_code"], event["error_description"])
                case _:
                    pass
        self._transcript.settle()
        if completed:
            self._console.print("[dim]The conversation has come to its end.[/]")
        return not completed


@dataclass(frozen=True, slots=True)
class Recalled:
    """An unfinished conversation and the turns whose messages were shown; no identifier if there is none."""

    conversation_id: str = ""
    interaction_ids: frozenset[str] = frozenset()


def recall(console: Console, session: Session, service: dict[str, Any], hint: str) -> Recalled:
    """Look for the user's unfinished conversation, and print its newest messages. Returns what was found.

    `hint` says how not to go on with it.
    """
    unfinished = session.api.list_unfinished(session.user_id, service_id=service["id"], limit=1)
    if not unfinished:
        return Recalled()
    conversation_id = str(unfinished[0]["id"])
    began = datetime.fromisoformat(unfinished[0]["created_at"]).astimezone()
    console.print(f"[dim]Going on with your conversation of {began:%d %b, %H:%M}; {hint}.[/]")
    newest = {"limit": RECALLED, "sort_by": "-created_at"}
    messages = session.api.get(f"/conversation/{conversation_id}/messages/", **newest)["messages"]
    transcript = Transcript(console, "")
    for message in reversed(messages):
        if message["message"]:  # of one that was interrupted, nothing may have been heard
            sender = "you" if message["message_type"] == "user-message" else message["sender"]
            transcript.say(sender, message["message"])
    return Recalled(conversation_id, frozenset(message["interaction_id"] for message in messages))


def name_agent(session: Session, service: dict[str, Any]) -> str:
    """Find how the agent of a service is called. Returns its name, or the service's if the caller may not know it."""
    release: dict[str, Any] = service["version_sets"].get("release") or {}
    number: int | None = release.get("agent_version_number")
    return session.find_agent_name(service["agent_id"], number) or str(service["name"])


def choose_service(session: Session, wanted: str | None, preferred: str) -> dict[str, Any]:
    """Choose the active service that is called `wanted`, or has that id; else the preferred one, else the first.

    Returns the service.

    Raises:
        CommandFailed: there is none.
    """
    active = [service for service in session.api.list_services() if service["is_active"]]
    if not active:
        raise CommandFailed("There is no active service: make one, or name another organization with --organization.")
    if wanted is None:
        return next((service for service in active if service["name"] == preferred), active[0])
    for matches in (_is_called(wanted), _is_called(wanted.casefold(), str.casefold)):
        if (found := next(filter(matches, active), None)) is not None:
            return found
    raise CommandFailed(f"There is no active service {wanted}: `tertulia services` lists them.")


def _is_called(wanted: str, written: Callable[[str], str] = str) -> Callable[[dict[str, Any]], bool]:
    return lambda service: wanted in {service["id"], written(service["name"])}


def list_services(console: Console, session: Session, *, as_json: bool) -> None:
    """Print the services that a user sees: a line each, or all of them as one line of JSON."""
    services = session.api.list_services()
    if as_json:
        print(json.dumps([{name: service[name] for name in _TOLD} for service in services], ensure_ascii=False))
        return
    for service in services:
        state = "" if service["is_active"] else " [dim](inactive)[/]"
        console.print(f"{service['id']}  {escape(printable(service['name']))}{state}", highlight=False, soft_wrap=True)
    if not services:
        console.print("There is no service.")


_TOLD = ("id", "name", "description", "is_active")


def finish_all(console: Console, session: Session) -> None:
    """Finish every unfinished conversation of a user."""
    unfinished = session.api.list_unfinished(session.user_id)
    for conversation in unfinished:
        session.api.finish(conversation["id"])
        console.print(f"Finished {conversation['id']}.", highlight=False)
    if not unfinished:
        console.print("Nothing is unfinished.")


def _describe(action: dict[str, Any]) -> str:
    details = [str(value) for name, value in action.items() if name != "type" and isinstance(value, str)]
    return printable(": ".join([str(action["type"]).removeprefix("navigate-state-machine-"), *details]))
