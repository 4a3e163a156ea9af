"""The commands for agents as files, each a few lines, as in `main`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tertulia.cli.arguments import DEFAULT_URL, Data, Host, Json, Organization, Port, Url, User
from tertulia.demo.content import ORGANIZATION

if TYPE_CHECKING:
    from rich.console import Console

commands = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the agent", show_default=False)]
PullUrl = Annotated[
    str | None,
    typer.Option(
        "--url", "--from", help=f"Where the server is; AMIGO_BASE_URL, else {DEFAULT_URL}", show_default=False
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing")]


def _out() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


@commands.command(short_help="Make a folder with an agent that talks")
def new(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder; it is made", show_default=False)],
) -> None:
    """Make a folder with an agent that talks: a few files to begin with, and conversations that it holds."""
    from tertulia.cli import new as folders

    folders.new(_out(), folder)


@commands.command("apply", short_help="Bring a server to what a folder holds")
def apply_(
    folder: Folder,
    release: Annotated[
        bool, typer.Option("--release", help="Have everybody talk with it: move the version set release")
    ] = False,
    only_plan: Annotated[bool, typer.Option("--plan", help="Show what would change, and change nothing")] = False,
    yes: Yes = False,
    url: Url = None,
    data: Data = None,
    organization: Organization = ORGANIZATION,
    user: User = None,
) -> None:
    """Show what would change on a server for it to have the agent, graphs, behaviors and service of a folder; ask; make
    new versions. The version set edge has them at once."""
    from tertulia.cli import apply
    from tertulia.cli.client import connect_as_author

    loaded = apply.read_folder(folder)
    session = connect_as_author(url, data, organization, user)
    apply.run(_out(), session, loaded, release=release, yes=yes, only_plan=only_plan)


@commands.command(short_help="Write what a server has into a folder")
def pull(
    service: Annotated[
        str, typer.Argument(metavar="SERVICE", help="The service, by its name or id", show_default=False)
    ],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="The folder; else one called as the service is", show_default=False),
    ] = None,
    release: Annotated[
        bool, typer.Option("--release", help="The versions that everybody talks with, not the latest")
    ] = False,
    yes: Yes = False,
    url: PullUrl = None,
    data: Data = None,
    organization: Organization = ORGANIZATION,
    user: User = None,
) -> None:
    """Write a service of a server, with its agent, graphs and behaviors, as the files of a folder. Files that say the
    same already stay as they are; so do conversations."""
    from tertulia.cli import pull as pulling
    from tertulia.cli.client import connect_as_author

    session = connect_as_author(url, data, organization, user)
    pulling.run(_out(), session, service, folder, release=release, yes=yes)


@commands.command("test", short_help="Hold the conversations of a folder")
def hold(
    folder: Folder,
    model: Annotated[
        str, typer.Option(help="The model of the test's own server: scripted, local, openai:NAME, VENDOR:NAME")
    ] = "scripted",
    times: Annotated[int, typer.Option(min=1, max=1000, help="Hold each conversation so often")] = 1,
    share: Annotated[float, typer.Option(min=0, max=1, help="The share of them that must pass")] = 1.0,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report in the form of JUnit", show_default=False)
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="On this server, which has the agent already", show_default=False)
    ] = None,
    version_set: Annotated[
        str, typer.Option("--version-set", metavar="NAME", help="With --url: the versions that are tested")
    ] = "edge",
    data: Data = None,
    organization: Organization = ORGANIZATION,
    user: User = None,
) -> None:
    """Hold the conversations of a folder, and compare each turn with what its file says: on a server that is there for
    that alone or, with --url, on one that has the agent. The exit status is 1 if one fails."""
    from tertulia.cli import apply, rehearse
    from tertulia.cli.client import connect_as_author

    loaded = apply.read_folder(folder)
    wish = rehearse.Wish(times, share)
    if url is not None:
        session = connect_as_author(url, data, organization, user)
        rehearse.run(_out(), rehearse.stage_on(loaded, session, version_set), wish, junit)
        return
    with rehearse.own_stage(loaded, model, (data or Path(".data")) / "models") as stage:
        rehearse.run(_out(), stage, wish, junit)


@commands.command(short_help="Serve a folder's agent, and apply every change")
def dev(
    folder: Folder,
    model: Annotated[str, typer.Option(help="scripted, local, openai:NAME, VENDOR:NAME")] = "scripted",
    url: Annotated[str | None, typer.Option(help="Serve nothing: apply to this server", show_default=False)] = None,
    data: Data = None,
    host: Host = None,
    port: Port = None,
    organization: Organization = ORGANIZATION,
    user: User = None,
) -> None:
    """Serve the agent of a folder, and apply every change of its files as they are saved. What is wrong is told with
    file, line and column, and the agent stays as it was."""
    from tertulia.cli import watch
    from tertulia.cli.client import connect_as_author
    from tertulia.cli.options import load_server_settings

    if url is not None:
        watch.watch(_out(), connect_as_author(url, data, organization, user), folder)
        return
    settings = load_server_settings(data, host, port, 1)
    watch.serve_and_watch(_out(), settings, folder, model)


@commands.command("import", short_help="Make a folder of another server's JSON")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="JSON of the API", show_default=False)],
    service: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The service, if there are several", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The folder; else one called as the service is", show_default=False),
    ] = None,
) -> None:
    """Make a folder of an agent, a context graph and a service in JSON, as the API gives their versions: single
    answers, pages of lists, or several of them in one file."""
    from tertulia.cli import import_ as importing

    importing.run(_out(), files, service, out)


@commands.command(short_help="Print the JSON Schema of a kind of file")
def schema(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="agent, graph, service, behavior or conversation", show_default=False),
    ],
) -> None:
    """Print the JSON Schema of a kind of file, by which editors complete its fields."""
    from tertulia.cli import new as folders

    print(folders.as_json(name), end="")


@commands.command()
def agents(
    url: Url = None,
    data: Data = None,
    organization: Organization = ORGANIZATION,
    user: User = None,
    as_json: Json = False,
) -> None:
    """List the agents: id, name, and the latest version."""
    from tertulia.cli import lists
    from tertulia.cli.client import connect_as_author

    lists.show_agents(connect_as_author(url, data, organization, user), as_json=as_json)


@commands.command()
def graphs(
    url: Url = None,
    data: Data = None,
    organization: Organization = ORGANIZATION,
    user: User = None,
    as_json: Json = False,
) -> None:
    """List the context graphs: id, name, and the latest version."""
    from tertulia.cli import lists
    from tertulia.cli.client import connect_as_author

    lists.show_graphs(connect_as_author(url, data, organization, user), as_json=as_json)
