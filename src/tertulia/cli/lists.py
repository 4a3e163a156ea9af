"""`tertulia agents` and `tertulia graphs`: what an organization has."""

import json
from collections.abc import Iterable

from tertulia.cli.client import Session
from tertulia.cli.library import Library
from tertulia.cli.show import print_table
from tertulia.files.bodies import Body


def show_agents(session: Session, *, as_json: bool) -> None:
    """Print the agents that a user sees: a line each, or all of them as one line of JSON."""
    _show(Library(session.api).list_agents(), as_json=as_json)


def show_graphs(session: Session, *, as_json: bool) -> None:
    """Print the context graphs that a user sees: a line each, or all of them as one line of JSON."""
    _show(Library(session.api).list_graphs(), as_json=as_json)


def _show(things: Iterable[Body], *, as_json: bool) -> None:
    found = list(things)
    if as_json:
        print(json.dumps(found))
        return
    rows = [(thing["id"], thing["name"], _version(thing)) for thing in found]
    if rows:
        print_table(rows)


def _version(thing: Body) -> str:
    number = thing["latest_version"]
    return f"{'no version' if number is None else f'version {number}'}{', deleted' if thing['deprecated'] else ''}"
