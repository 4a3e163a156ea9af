"""`tertulia test`: hold the conversations of a folder, and compare each turn with what its file says."""

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text
from typer import Exit

from tertulia.cli import installation
from tertulia.cli.apply import carry_out, plan_of
from tertulia.cli.client import Api, ApiError, Event, Session, sign_in
from tertulia.cli.failure import FAILED, CommandFailed
from tertulia.cli.junit import Case, write_junit
from tertulia.cli.library import BEHAVIORS, TOOLS, Library, patiently
from tertulia.cli.own_server import own_server
from tertulia.cli.show import indent, printable
from tertulia.files.document import Problem
from tertulia.files.folder import AgentFolder, Rehearsal, Step
from tertulia.files.rehearsing import Outcome, differences, result_differences
from tertulia.settings import Settings

RESULT_S: Final = 60
"""Seconds for which the result of a conversation is waited for."""
_PAUSE_S: Final = 0.1
_SCRIPTED: Final = {"SCRIPTED_PIECES": "60", "VOICE": "scripted", "RATE_LIMITS": "off", "LOG_LEVEL": "error"}

_LOCAL: Final = "local"
"""The beginning of the names of models with weights."""

Sign = Callable[[], Session]
"""Signs in whoever holds the next conversation."""


@dataclass(frozen=True, slots=True)
class Held:
    """A conversation that was held: what was not as its file says, and the words of both sides."""

    problems: Sequence[str]
    words: Sequence[tuple[str, str]]
    turns: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Stage:
    """A server with the agent of a folder, and those who talk with it."""

    folder: AgentFolder
    service_id: str
    version_set: str
    author: Session
    sign: Sign


@dataclass(frozen=True, slots=True)
class Wish:
    """A wish of the person who tests: so often is each conversation held, and this share of them must pass."""

    times: int
    share: float


@contextmanager
def own_stage(folder: AgentFolder, model: str, weights: Path) -> Generator[Stage]:
    """Start a server for the tests alone, with the agent of a folder. Yield it; each conversation has a new user.

    Variables that the folder's tools require are those of this process.

    Raises:
        CommandFailed: one of these is not set.
    """
    for tool in folder.tools.values():
        for name in tool.variables.keys() - os.environ.keys():
            raise CommandFailed(
                f"The tool {tool.name} needs a variable {name}: set it in the environment of this command."
            )
    kept = weights if weights.is_dir() or model.startswith(_LOCAL) else None
    with own_server("tertulia-test-", {**_SCRIPTED, "MODEL": model}, kept, keep=True) as server:
        made = server.demo
        author = sign_in(server.url, made.organization_id, made.admin_user_id, made.api_key_id, made.api_key)
        library = Library(author.api)
        plan, known = plan_of(library, folder, release=False)
        carry_out(Console(quiet=True), library, folder, plan, known, os.environ)
        yield stage_of(folder, author, lambda: visitor(server.settings, server.url, made.organization_id))


def stage_of(folder: AgentFolder, author: Session, sign: Sign) -> Stage:
    """Hold conversations on a server that has the agent already, each by somebody else. Return the stage."""
    return Stage(folder, _service_id(Library(author.api), folder), "edge", author, sign)


def stage_on(folder: AgentFolder, author: Session, version_set: str) -> Stage:
    """Hold conversations on a server that has the agent already, as the user who is signed in. Return the stage."""
    service_id = _service_id(Library(author.api), folder)
    if author.api.list_unfinished(author.user_id, service_id=service_id):
        raise CommandFailed("You have an unfinished conversation of this service: `tertulia finish` ends it.")
    return Stage(folder, service_id, version_set, author, lambda: author)


def run(console: Console, stage: Stage, wish: Wish, junit: Path | None) -> None:
    """Hold every conversation of the folder, and print what came of each.

    Raises:
        CommandFailed: there is none.
        Exit: one has failed.
    """
    folder = stage.folder
    if not folder.conversations:
        raise CommandFailed(f"There is no conversation in the folder {folder.name}: write conversations/NAME.yaml.")
    cases = [_case(console, stage, name, wish) for name in folder.conversations]
    if junit is not None:
        write_junit(junit, folder.name, cases)
    failed = sum(bool(case.failure) for case in cases)
    console.print()
    if failed:
        console.print(Text(f"{failed} of {len(cases)} conversations failed.", "bold red"))
        raise Exit(FAILED)
    passed = "One conversation passed." if len(cases) == 1 else f"{len(cases)} conversations passed."
    console.print(Text(passed, "bold green"))


def _case(console: Console, stage: Stage, name: str, wish: Wish) -> Case:
    held = [hold(stage, name) for _ in range(wish.times)]
    failures = [each for each in held if each.problems]
    passed = (len(held) - len(failures)) / len(held) >= wish.share
    seconds = sum(each.seconds for each in held)
    _show(console, name, held, passed=passed)
    shown = (failures or held)[0]
    text = "\n".join(f"{who}: {words}" for who, words in shown.words)
    problems = "\n".join(problem for each in failures for problem in each.problems)
    return Case(name, seconds, "" if passed else problems, text)


def _show(console: Console, name: str, held: Sequence[Held], *, passed: bool) -> None:
    failures = [each for each in held if each.problems]
    sign, style = ("ok    ", "green") if passed else ("FAILED", "bold red")
    turns = f"{held[0].turns} turn{'' if held[0].turns == 1 else 's'}"
    share = f", {len(held) - len(failures)} of {len(held)} passed" if len(held) > 1 else ""
    seconds = sum(each.seconds for each in held)
    console.print(Text.assemble((sign, style), f"  {printable(name):<28} {turns:>8} {seconds:6.1f} s{share}"))
    if failures:
        for problem in failures[0].problems:
            indent(console, Text(printable(problem), "red" if not passed else "yellow"), 8)
        for who, words in failures[0].words:
            indent(console, Text.assemble((f"{printable(who)} ", "bold"), (printable(words), "dim")), 8)


def hold(stage: Stage, name: str) -> Held:
    """Hold a conversation to its end, or to the first turn that is not as its file says. Return what came of it."""
    began = time.monotonic()
    holder = _Holder(stage, name)
    try:
        holder.run()
    except ApiError as error:
        holder.problems.append(str(holder.problem((), error.text)))
    finally:
        holder.leave()
    return Held(holder.problems, holder.words, holder.turns, time.monotonic() - began)


class _Holder:
    """A conversation while it is held."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self._name = name
        self._rehearsal: Rehearsal = stage.folder.conversations[name]
        self._api: Api = stage.sign().api
        self._agent = str(stage.folder.agent["identity"]["name"])
        self._conversation_id = ""
        self._finished = False
        self.problems: list[str] = []
        self.words: list[tuple[str, str]] = []
        self.turns = 0

    def run(self) -> None:
        for place, step in self._steps():
            events = self._say(step)
            outcome = self._outcome(events, step)
            self.words.append((self._agent, outcome.reply))
            self._finished = outcome.finished
            found = list(differences(step, outcome, self._stage.folder.behavior_names))
            self.problems += [str(self.problem((*place, field), text)) for field, text in found]
            self.turns += 1
            if found:
                return
        if self._rehearsal.result is not None:
            read = self._result()
            found = list(result_differences(self._rehearsal.result, read))
            self.problems += [str(self.problem(("result", field), text)) for field, text in found]

    def leave(self) -> None:
        """Finish the conversation, if it goes on: a user has one at a time."""
        if self._conversation_id and not self._finished:
            try:
                patiently(lambda: self._api.finish(self._conversation_id))
            except ApiError as error:
                self.problems.append(str(self.problem((), error.text)))

    def problem(self, place: tuple[str | int, ...], text: str) -> Problem:
        file = f"conversations/{self._name}.yaml"
        return self._stage.folder.documents[file].problem(place, text)

    def _steps(self) -> Iterator[tuple[tuple[str | int, ...], Step]]:
        if self._rehearsal.opens == "agent":
            yield ("opening",), self._rehearsal.opening
        for number, step in enumerate(self._rehearsal.turns):
            yield ("turns", number), step

    def _say(self, step: Step) -> list[Event]:
        """Take a turn of a step. Return its events."""
        text = step.user if step.event is None else step.event
        kind = "user-message" if step.event is None else "external-event"
        if text is not None:
            self.words.append(("you" if step.event is None else "event", text))
        if self._conversation_id:
            return patiently(lambda: _whole(self._api.interact(self._conversation_id, text or "", kind=kind)))
        first: dict[str, Any] = {} if text is None else {"initial_message": text, "initial_message_type": kind}
        fields: dict[str, Any] = {"service_version_set_name": self._stage.version_set, "is_test": True, **first}
        events = patiently(lambda: _whole(self._api.create(self._stage.service_id, **fields)))
        self._conversation_id = str(events[0]["conversation_id"])
        return events

    def _outcome(self, events: Sequence[Event], step: Step) -> Outcome:
        last = events[-1]
        path = f"/conversation/{self._conversation_id}/interaction/{last['interaction_id']}/insights"
        library = Library(self._stage.author.api)
        insights = library.get(path)
        return Outcome(
            reply=str(last["full_message"]),
            state=str(insights["current_state_name"]),
            events=[event["action"]["type"] if "action" in event else event["type"] for event in events],
            finished=bool(last["conversation_completed"]),
            behavior=_behavior(library, insights),
            tools=self._tools(library, str(last["interaction_id"])) if step.tools else (),
        )

    def _tools(self, library: Library, interaction_id: str) -> Sequence[str]:
        """Ask which tools were called in a turn. Return their names, in the order of the calls."""
        names = {tool.id: tool.name for tool in library.list_tools()}
        calls = library.get(f"{TOOLS}/invocation", conversation_id=self._conversation_id)["tool_invocations"]
        made = [call for call in calls if call["invocation_source"]["interaction_id"] == interaction_id]
        return [names.get(call["tool_id"], str(call["tool_id"])) for call in reversed(made)]

    def _result(self) -> Mapping[str, Any]:
        """Wait for the result of the conversation. Return it."""
        until = time.monotonic() + RESULT_S
        while time.monotonic() < until:
            read = patiently(lambda: self._api.get(f"/conversation/{self._conversation_id}/result"))
            if read["status"] == "ready":
                return dict(read["result"])
            time.sleep(_PAUSE_S)
        raise ApiError(504, f"The result was not there after {RESULT_S} s.")


def _whole(events: Iterator[Event]) -> list[Event]:
    """Read a turn to its end. Return its events, or raise ApiError if it has failed."""
    found = list(events)
    if not found or found[-1]["type"] == "error":
        error: Event = found[-1] if found else {}
        raise ApiError(error.get("http_error_code", 500), error.get("error_description", "The stream was empty."))
    return found


def _behavior(library: Library, insights: Mapping[str, Any]) -> str | None:
    chosen = insights.get("triggered_dynamic_behavior_set_version_info")
    if chosen is None:
        return None
    found = library.get(f"{BEHAVIORS}/", id=chosen[0])["dynamic_behavior_sets"]
    return str(found[0]["name"]) if found else str(chosen[0])


def _service_id(library: Library, folder: AgentFolder) -> str:
    name = folder.service["name"]
    found = next((each.id for each in library.list_services() if each.name == name), None)
    if found is None:
        raise CommandFailed(f"The server has no service {name}: `tertulia apply` makes it.")
    return found


def visitor(settings: Settings, url: str, org_id: str) -> Session:
    """Make a user of an installation who has not been here before. Return the session of theirs."""
    issued = installation.add_visitor(settings, org_id)
    return Session(Api(url, org_id, lambda: issued.token), issued.user_id)
