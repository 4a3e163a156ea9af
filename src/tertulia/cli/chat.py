"""`tertulia chat`: talk with an agent in the terminal, over the HTTP API."""

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Console

from tertulia.cli.client import ApiError, Event, Session
from tertulia.cli.failure import CommandFailed
from tertulia.cli.show import printable

HELP = "/finish ends the conversation, /new begins another, /quit leaves it open for later."
RECALLED = 4
"""Messages that a conversation which goes on begins with."""


class Chat:
    """A conversation in a terminal. Where nobody types (input is a file or a pipe), the first error ends it."""

    def __init__(self, console: Console, session: Session, service: dict[str, Any], *, actions: bool) -> None:
        self._console = console
        self._session = session
        self._service = service
        self._actions = actions
        self._interactive = sys.stdin.isatty()
        self._conversation_id = ""

    def run(self) -> None:
        """Go on with what is unfinished, or begin; then take turns until somebody ends it."""
        self._console.print(f"[bold]{self._service['name']}[/] at {self._session.api.url}. [dim]{HELP}[/]")
        self._conversation_id = recall(self._console, self._session, self._service, "/new begins another")
        going_on = bool(self._conversation_id) or self._begin()
        while going_on:
            going_on = self._take_turn()

    def _take_turn(self) -> bool:
        try:
            text = self._ask()
            return text is not None and self._obey(text)
        except ApiError as error:
            if not self._interactive:
                raise
            self._console.print(f"[bold red]{error.text}[/]")
            return True

    def _ask(self) -> str | None:
        """Read a line from the person. Return it, or None at the end of the input."""
        try:
            return self._console.input("\n[bold green]you[/] " if self._interactive else "").strip()
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
                return self._show(self._session.api.interact(self._conversation_id, text))

    def _begin(self) -> bool:
        return self._show(self._session.api.create(self._service["id"]))

    def _finish(self) -> None:
        self._session.api.finish(self._conversation_id)
        self._console.print("[dim]The conversation is finished.[/]")

    def _show(self, events: Iterator[Event]) -> bool:
        """Print a reply piece by piece; whether the conversation goes on."""
        completed = False
        for event in events:
            match event["type"]:
                case "conversation-created":
                    self._conversation_id = event["conversation_id"]
                case "current-agent-action" if self._actions:
                    self._console.print(f"[cyan]  {_describe(event['action'])}[/]", highlight=False)
                case "new-message":
                    self._piece(event)
                case "interaction-complete":
                    completed = event["conversation_completed"]
                case "error":
                    raise ApiError(event["http_error_code"], event["error_description"])
                case _:
                    pass
        if completed:
            self._console.print("[dim]The conversation has come to its end.[/]")
        return not completed

    def _piece(self, event: Event) -> None:
        if event["sequence_number"] == 1:
            self._console.print()
        write(self._console, event["message"], end="\n" if event["stop"] else "")


def recall(console: Console, session: Session, service: dict[str, Any], hint: str) -> str:
    """The user's unfinished conversation, its newest messages printed; empty where there is none.

    `hint` says how not to go on with it.
    """
    unfinished = session.api.list_unfinished(session.user_id, service_id=service["id"], limit=1)
    if not unfinished:
        return ""
    conversation_id = str(unfinished[0]["id"])
    began = datetime.fromisoformat(unfinished[0]["created_at"]).astimezone()
    console.print(f"[dim]Going on with your conversation of {began:%d %b, %H:%M}; {hint}.[/]")
    newest = {"limit": RECALLED, "sort_by": "-created_at"}
    messages = session.api.get(f"/conversation/{conversation_id}/messages/", **newest)["messages"]
    for message in reversed(messages):
        if message["message"]:  # of one that was interrupted, nothing may have been heard
            say(console, message["sender"], message["message"])
    return conversation_id


def say(console: Console, sender: str, text: str) -> None:
    """Print a message as a whole."""
    console.print(f"\n[bold]{printable(sender)}[/] ", end="")
    write(console, text, end="\n")


def write(console: Console, text: str, end: str) -> None:
    """Print what somebody said, as it is."""
    console.print(printable(text), end=end, markup=False, highlight=False, soft_wrap=True)


def choose_service(session: Session, service_id: str | None, preferred: str) -> dict[str, Any]:
    """The active service with this id, or else the one with the preferred name, or else the first.

    Raises:
        CommandFailed: there is none.
    """
    narrow: dict[str, Any] = {"id": service_id} if service_id else {"is_active": True, "limit": 20}
    services = session.api.get("/service/", **narrow)["services"]
    if not services:
        raise CommandFailed(f"There is no service {service_id}." if service_id else "There is no active service.")
    return next((service for service in services if service["name"] == preferred), services[0])


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
