"""The commands, each a few lines: read the options, call what does the work.

A command imports what it needs when it runs, so that `tertulia --help` and every mistake are answered at once.
"""

import json
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tertulia import __version__
from tertulia.cli import folders
from tertulia.cli.arguments import (
    Admin,
    Data,
    Host,
    Json,
    Language,
    Organization,
    Port,
    Url,
    User,
    VoiceProvider,
    Workers,
)
from tertulia.cli.failure import FAILED, Commands
from tertulia.demo.content import ORGANIZATION, SERVICE
from tertulia.languages import ENGLISH
from tertulia.providers import DEFAULT_VOICE

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    cls=Commands,
    help="Tertulia: a conversation server for agents.",
    epilog="Every setting is a variable TERTULIA_... or a line of tertulia.toml in the data folder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # what draws boxes around the help takes longer to load than everything else
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(folders.commands)
keys = typer.Typer(help="The keys that sign tokens.", no_args_is_help=True)
app.add_typer(keys, name="keys")
jobs = typer.Typer(help="Work that follows from requests and is done after them.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")
graph = typer.Typer(help="Context graphs in files.", no_args_is_help=True)
app.add_typer(graph, name="graph")
tool = typer.Typer(help="Tools in folders.", no_args_is_help=True)
app.add_typer(tool, name="tool")
org = typer.Typer(help="Organizations of the installation.", no_args_is_help=True)
app.add_typer(org, name="org")
audit = typer.Typer(help="The audit log of an organization.", no_args_is_help=True)
app.add_typer(audit, name="audit")
maintenance = typer.Typer(
    short_help="Answer 503 to every request while it is on",
    help="Answer 503 to every request for an organization, on all workers and hosts; turns that run go on.",
    no_args_is_help=True,
)
app.add_typer(maintenance, name="maintenance")


def _out() -> "Console":
    """Open the terminal for output. Return it."""
    from rich.console import Console

    return Console()


def _notes() -> "Console":
    """Open the terminal for notes beside the output that scripts read. Return it."""
    from rich.console import Console

    return Console(stderr=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tertulia {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit")
    ] = False,
) -> None:
    from tertulia.cli import options

    options.warn_of_unknown_variables()


@app.command("run", short_help="Start a server with a demo organization to talk with")
def run_(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="scripted, local, openai:NAME, VENDOR:NAME; several with commas; TERTULIA_MODEL, else local",
            show_default=False,
        ),
    ] = None,
    workers: Workers = None,
) -> None:
    """Start a server with a demo organization, and say how to talk with it. The weights of a local model are fetched
    where they are missing; if they cannot be had, the model that repeats speaks."""
    from tertulia.serving import memory

    memory.start()
    from tertulia.cli import run
    from tertulia.cli.options import load_server_settings

    run.run(_out(), load_server_settings(data, host, port, workers), model)


@app.command("serve")
def serve_(data: Data = None, host: Host = None, port: Port = None, workers: Workers = None) -> None:
    """Serve the API. Before that, the schema is brought up to date, and the weights of a local model are fetched where
    they are missing; if no model of TERTULIA_MODEL can be had, the command says so and ends."""
    from tertulia.serving import memory

    memory.start()
    from tertulia import logs
    from tertulia.cli import installation, models
    from tertulia.cli.options import load_server_settings
    from tertulia.serving import serve

    settings = load_server_settings(data, host, port, workers)
    serve.check(settings)
    unset = "model" not in settings.model_fields_set
    settings = models.prepare(_notes(), settings, "")
    installation.migrate(settings)
    logs.configure(settings.log_level)
    listener = serve.listen(settings.host, settings.port)
    where = serve.address(listener)
    more = "; TERTULIA_MODEL names another one" if unset else ""
    with suppress(OSError):  # of a full disk
        _notes().print(f"Model: {models.describe(settings)}{more}.", markup=False, highlight=False, soft_wrap=True)

    def greet() -> None:
        with suppress(OSError):
            print(f"Tertulia {__version__} answers on {where}", flush=True)

    serve.run_server(listener, settings.workers, greet)


@org.command("create")
def create_organization(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits and hyphens", show_default=False)],
    data: Data = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The storage cluster of a new organization", show_default="default"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an organization with two administrators, and an API key, if it is not there."""
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings

    made = installation.make_organization(load_settings(data), name, cluster, "org create")
    _show_made(asdict(made), as_json=as_json)


def _show_made(made: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(made))
        return
    for name, value in made.items():
        print(f"{name:<16} {value}")
    _out().print("[dim]The API key is shown this once; it is good for 90 days.[/]")


@org.command("list")
def list_organizations(data: Data = None) -> None:
    """List the organizations of the installation: identifier, name and storage cluster."""
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings

    for found in installation.list_organizations(load_settings(data)):
        print("\t".join(found))


@org.command("delete")
def delete_organization(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
) -> None:
    """Delete an organization with all that it has: users, conversations, recordings, agents. Safe to repeat."""
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings

    if not yes:
        typer.confirm(f"Delete the organization {name} with everything in it?", abort=True)
    installation.delete_organization(load_settings(data), name)


@app.command(short_help="Make the database, the demo organization and an API key")
def init(
    data: Data = None,
    organization: Organization = ORGANIZATION,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The storage cluster of a new organization", show_default="default"),
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Nothing but an administrator: no demo")] = False,
    as_json: Json = False,
) -> None:
    """Make the database and an organization with the demo if they are not there, and a new API key."""
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings

    settings = load_settings(data)
    if empty:
        made = asdict(installation.make_organization(settings, organization, cluster, "init"))
    else:
        made = asdict(installation.make_demo(settings, organization, cluster))
    _show_made(made, as_json=as_json)


@app.command("chat")
def chat_(
    url: Url = None,
    data: Data = None,
    organization: Organization = ORGANIZATION,
    user: User = None,
    admin: Admin = False,
    service: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The service, by its name or id; else the demo's, else the first", show_default=False
        ),
    ] = None,
    by_voice: Annotated[bool, typer.Option("--voice", help="By microphone and loudspeaker")] = False,
) -> None:
    """Talk with an agent."""
    from tertulia.cli import chat, voice_chat
    from tertulia.cli.client import connect

    session = connect(url, data, organization, user, admin=admin)
    chosen = chat.choose_service(session, service, SERVICE)
    if by_voice:
        voice_chat.run(_out(), session, chosen)
        return
    chat.Chat(_out(), session, chosen, chat.name_agent(session, chosen), actions=admin).run()


@app.command()
def services(
    url: Url = None,
    data: Data = None,
    organization: Organization = ORGANIZATION,
    user: User = None,
    admin: Admin = False,
    as_json: Json = False,
) -> None:
    """List the services that a user sees: id, name, and whether a service is inactive."""
    from tertulia.cli import chat
    from tertulia.cli.client import connect

    chat.list_services(_out(), connect(url, data, organization, user, admin=admin), as_json=as_json)


@app.command()
def finish(
    url: Url = None,
    data: Data = None,
    organization: Organization = ORGANIZATION,
    user: User = None,
    admin: Admin = False,
) -> None:
    """Finish a user's unfinished conversations."""
    from tertulia.cli import chat
    from tertulia.cli.client import connect

    chat.finish_all(_out(), connect(url, data, organization, user, admin=admin))


@app.command(short_help="Print a bearer token, good for an hour")
def token(
    data: Data = None, organization: Organization = ORGANIZATION, user: User = None, admin: Admin = False
) -> None:
    """Print a bearer token, good for an hour; the demo user's if no other is named."""
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings

    print(installation.issue_token(load_settings(data), organization, user, administrator=admin).token)


@app.command(short_help="List the voices that an agent can have")
def voices(
    data: Data = None,
    provider: VoiceProvider = None,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only those of a language, ISO 639-3", show_default=False)
    ] = None,
) -> None:
    """List the voices that an agent can have: provider, id, languages, name."""
    from tertulia.cli import voice

    voice.list_voices(_notes(), voice.read_settings(data, provider), language)


@app.command()
def say(
    text: Annotated[str, typer.Argument(help="What to say; - reads standard input", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="A file that ends in .wav or .mp3")] = Path("speech.wav"),
    voice_id: Annotated[str, typer.Option("--voice", metavar="ID", help="The voice")] = DEFAULT_VOICE,
    language: Language = ENGLISH,
    provider: VoiceProvider = None,
    data: Data = None,
) -> None:
    """Speak a text into a file."""
    from tertulia.cli import voice

    voice.say(_notes(), voice.read_settings(data, provider), text, out, voice_id, language)


@app.command()
def transcribe(
    file: Annotated[Path, typer.Argument(help="A WAV, MP3, Ogg, WebM or FLAC file", show_default=False)],
    language: Language = ENGLISH,
    provider: VoiceProvider = None,
    data: Data = None,
) -> None:
    """Print what is said in a file."""
    from tertulia.cli import voice

    voice.transcribe(_notes(), voice.read_settings(data, provider), file, language)


@app.command("demo", short_help="Watch one conversation, every event of it")
def demo_() -> None:
    """Watch one conversation, every event of it, on a server that is there for that alone."""
    from tertulia.cli.demo import run_demo

    run_demo(_out())


@app.command(short_help="Bring the schema of every cluster up to date")
def migrate(data: Data = None) -> None:
    """Bring the schema of every storage cluster up to date."""
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings

    installation.migrate(load_settings(data))


@app.command(short_help="Say what this host gives: confinement of tools, extras, weights")
def doctor(data: Data = None) -> None:
    """Say what this host gives, a line each: how tool code is confined, uv, the extras, the weights of models.

    The exit status is 1 if tool code cannot be confined.
    """
    from tertulia.cli import doctor as doctors
    from tertulia.cli.options import load_settings

    confines, found = doctors.examine(load_settings(data))
    for name, text in found:
        print(f"{name:<14} {text}")
    if not confines:
        raise typer.Exit(FAILED)


@keys.command("rotate")
def rotate(data: Data = None) -> None:
    """Sign with a new key from now on; tokens that are out stay good until they expire."""
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings

    installation.rotate_signing_key(load_settings(data))


@jobs.command("list")
def jobs_list(data: Data = None) -> None:
    """List the jobs that are not done, dead ones first.

    Each line has the identifier, kind and organization of a job, when it is due, how often it was begun, and why it
    failed last.
    """
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings
    from tertulia.cli.show import print_table

    found = installation.list_jobs(load_settings(data))
    if not found:
        _notes().print("No job is waiting.")
    print_table(found)


@jobs.command("retry")
def jobs_retry(
    job_id: Annotated[str | None, typer.Argument(metavar="ID", help="One job; else all", show_default=False)] = None,
    data: Data = None,
) -> None:
    """Have dead jobs done again."""
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings

    revived = installation.revive_jobs(load_settings(data), job_id)
    print(f"{revived} {'job is' if revived == 1 else 'jobs are'} due again.")


GraphFile = Annotated[Path, typer.Argument(metavar="FILE", help="A graph in YAML or JSON", show_default=False)]


@graph.command("check")
def graph_check(file: GraphFile) -> None:
    """Check a graph. Each problem is printed with its place.

    The exit status is 1 if there is a problem.
    """
    from tertulia.cli import graph as graphs
    from tertulia.cli.show import printable

    problems = graphs.check(file)
    for problem in problems:
        print(printable(str(problem)))
    if problems:
        raise typer.Exit(FAILED)
    _notes().print("The graph is in order.")


@graph.command("draw")
def graph_draw(
    file: GraphFile,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A file that ends in .svg or .mmd; else Mermaid is printed", show_default=False
        ),
    ] = None,
) -> None:
    """Draw a graph, as SVG or as Mermaid."""
    from tertulia.cli import graph as graphs
    from tertulia.cli.failure import MISUSED, CommandFailed

    if out is not None and out.suffix not in {".svg", ".mmd"}:
        raise CommandFailed(f"{out} ends in neither .svg nor .mmd.", MISUSED)
    drawn = graphs.draw(file, ".mmd" if out is None else out.suffix)
    if out is None:
        print(drawn, end="")
    else:
        out.write_text(drawn, encoding="utf-8")


ToolFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder with a tool.toml", show_default=False)]


@tool.command("new")
def tool_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and _", show_default=False)],
) -> None:
    """Begin a tool that works, with examples and a test, in a folder of its name."""
    from tertulia.cli import tool as tools

    for path in tools.new(Path(name), name):
        print(f"{name}/{path}")


@tool.command("test")
def tool_test(folder: ToolFolder, data: Data = None) -> None:
    """Call a tool with each of its examples, in the sandbox of this machine, as a server would.

    The exit status is 1 if an output is not the one of its example.
    """
    from tertulia.cli import tool as tools
    from tertulia.cli.options import load_settings
    from tertulia.cli.show import printable

    tried = tools.test(load_settings(data), folder)
    for each in tried:
        told = each.problem or "ok"
        print(printable(f"{json.dumps(each.example.given)}: {told} ({each.outcome.duration_ms} ms)"))
    if any(each.problem is not None for each in tried):
        raise typer.Exit(FAILED)


@tool.command("publish")
def tool_publish(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="PLACE", help="A folder with a tool.toml, or a file with an operation", show_default=False
        ),
    ],
    bump: Annotated[
        str | None,
        typer.Option(
            help="major, minor or patch: the number that counts up; else major at first, then minor",
            show_default=False,
        ),
    ] = None,
    url: Url = None,
    data: Data = None,
    organization: Organization = ORGANIZATION,
    user: User = None,
) -> None:
    """Publish a tool as the next version of its name, which is created if it does not exist."""
    from tertulia.cli import tool as tools
    from tertulia.cli.client import connect_as_author
    from tertulia.cli.failure import MISUSED, CommandFailed

    if bump not in {None, "major", "minor", "patch"}:
        raise CommandFailed("--bump is major, minor or patch.", MISUSED)
    name, version = tools.publish(connect_as_author(url, data, organization, user).api, place, bump)
    print(f"{name} {version}")


@audit.command("list")
def audit_list(
    data: Data = None,
    organization: Organization = ORGANIZATION,
    actor: Annotated[
        list[str] | None, typer.Option("--actor", metavar="ID", help="What this user did", show_default=False)
    ] = None,
    object_id: Annotated[
        list[str] | None,
        typer.Option("--object", metavar="ID", help="What was done to this object", show_default=False),
    ] = None,
    action: Annotated[
        list[str] | None,
        typer.Option("--action", metavar="NAME", help="This operation, as delete-user", show_default=False),
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Not before this time, in UTC", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each, with the change")] = False,
) -> None:
    """List the lines of the audit log, the newest first: who did what to which object, when and from where."""
    from tertulia.cli import audit as audits
    from tertulia.cli.options import load_settings

    asked = audits.Asked(actor or (), object_id or (), action or (), since)
    for line in audits.list_lines(load_settings(data), organization, asked, limit):
        print(audits.as_json(line) if as_json else audits.as_text(line))


@audit.command("verify")
def audit_verify(
    data: Data = None,
    organization: Organization = ORGANIZATION,
    noted: Annotated[
        list[str] | None,
        typer.Option("--noted", metavar="NUMBER:DIGEST", help="A line that must still be there", show_default=False),
    ] = None,
) -> None:
    """Follow the chain of digests through the audit log. Each problem is printed.

    The exit status is 1 if there is a problem. Note the last line that is printed, elsewhere, for the next time: what
    was cut off the end of a log is seen by nothing else.
    """
    from tertulia.cli import audit as audits
    from tertulia.cli.options import load_settings

    found = audits.verify(load_settings(data), organization, noted or ())
    for problem in found.problems:
        print(problem)
    if found.problems:
        raise typer.Exit(FAILED)
    erased = f", {found.erased} of them erased" if found.erased else ""
    print(f"{found.lines} lines in order{erased}. The last: {found.number}:{found.digest}")


@maintenance.command("on")
def maintenance_on(data: Data = None) -> None:
    """Begin it; workers notice within a second or so."""
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings

    installation.set_maintenance(load_settings(data), on=True)


@maintenance.command("off")
def maintenance_off(data: Data = None) -> None:
    """End it."""
    from tertulia.cli import installation
    from tertulia.cli.options import load_settings

    installation.set_maintenance(load_settings(data), on=False)
