"""The runtime: everything that a process owns, opened and closed in one place."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tertulia.auth.actor import Actors
from tertulia.auth.limits import Limiter, Windows
from tertulia.auth.places import HeavyThread, Places, ScarcePlaces
from tertulia.auth.secrets import AUDIT_LOG, SecretBox
from tertulia.auth.sessions import LOOK_S, Sessions
from tertulia.auth.tokens import Tokens
from tertulia.background import keys, leftovers, retention, search_index, user_statistics
from tertulia.background.erasing import Eraser
from tertulia.background.jobs import POLL_S, JobKind, JobWorker
from tertulia.background.mails import mail_kinds
from tertulia.background.maintenance import WATCH_S, Maintenance
from tertulia.background.organizations import erase_organizations
from tertulia.background.post_processing import PostProcessing
from tertulia.background.results import fill_result
from tertulia.background.search_index import read_messages
from tertulia.background.sweeper import purge, sweep
from tertulia.background.user_statistics import order_users
from tertulia.engine.agent.meanings import Meanings
from tertulia.engine.toolbox import Snapshots, Tools
from tertulia.engine.turns.conversations import Conversations
from tertulia.engine.work import RecordedWork
from tertulia.loops import Loops
from tertulia.mail import Mailer, outbox
from tertulia.providers.embeddings.registry import open_embeddings
from tertulia.providers.models.registry import Models
from tertulia.providers.voices.fallback import Voices
from tertulia.settings import Settings
from tertulia.storage.clusters import Clusters
from tertulia.storage.database.units import Database
from tertulia.tools.addresses import AddressRules, Connector
from tertulia.tools.http import HttpTools
from tertulia.tools.mcp import McpTools
from tertulia.tools.sandbox import Room, Sandbox
from tertulia.tools.values import ToolKind, ToolRunner

if TYPE_CHECKING:
    from tertulia.auth.identity_providers import IdentityProviders

PURGE_S = 3600.0
"""The longest time of a purge, in seconds: it has many portions after a time in which none ran."""

SEARCHES = 2
"""Searches of texts that run at once."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The belongings of a process; `app.state.runtime`. Without a limiter, there are no limits of a caller."""

    settings: Settings
    clusters: Clusters
    secret_box: SecretBox
    audit_key: bytes
    eraser: Eraser
    tokens: Tokens
    actors: Actors
    identity_providers: "IdentityProviders | None"
    limiter: Limiter | None
    places: Places
    searches: ScarcePlaces
    heavy_thread: HeavyThread
    sessions: Sessions
    conversations: Conversations
    meanings: Meanings
    maintenance: Maintenance
    loops: Loops
    models: Models
    voices: Voices
    tools: Tools
    snapshots: Snapshots


Runners = Mapping[ToolKind, ToolRunner]


def _open_runners(settings: Settings, snapshots: Snapshots, connector: Connector) -> Runners:
    room = Room(cache_bytes=settings.tools.cache_mb << 20)
    sandbox = Sandbox(settings.data / "tools", snapshots.load, connector.connect, room=room)
    return {"code": sandbox, "http": HttpTools(connector), "mcp": McpTools(connector, settings.mcp.servers)}


def _all_kinds(settings: Settings, recorded: RecordedWork, eraser: Eraser) -> tuple[JobKind, ...]:
    mails = mail_kinds(Mailer(settings))
    return (eraser.kind, *mails, *PostProcessing(recorded).kinds, fill_result(recorded))


@asynccontextmanager
async def _keep(
    name: str, database: Database, kinds: Sequence[JobKind], settings: Settings, loops: Loops, audit_key: bytes
) -> AsyncGenerator[None]:
    """Keep the loops of one cluster: what sweeps, purges, warns and works on jobs."""
    every_s = settings.turn.lease_s
    kept = timedelta(days=settings.audit.kept_days)
    auditing = partial(retention.purge_audit_logs, database, audit_key, kept)
    keeper = retention.Keeper(database)
    purging = partial(purge, database, timedelta(days=settings.tools.kept_days))
    async with AsyncExitStack() as stack:
        for loop in (
            loops.keep(f"sweeper of {name}", partial(sweep, database, every_s), every_s),
            loops.keep(f"purge of {name}", purging, every_s, limit_s=PURGE_S),
            loops.keep(f"audit log of {name}", auditing, retention.LOOK_S, limit_s=retention.LIMIT_S),
            loops.keep(f"retention of {name}", keeper.remove_expired, retention.LOOK_S, limit_s=retention.LIMIT_S),
            loops.keep(
                f"search of {name}", partial(read_messages, database), search_index.LOOK_S, search_index.LIMIT_S
            ),
            loops.keep(
                f"order of {name}", partial(order_users, database), user_statistics.LOOK_S, user_statistics.LIMIT_S
            ),
            loops.keep(f"API keys of {name}", partial(keys.warn, database), keys.LOOK_S),
        ):
            await stack.enter_async_context(loop)
        worker = JobWorker(database, kinds)
        stack.push_async_callback(worker.aclose)
        await stack.enter_async_context(loops.keep(f"jobs of {name}", worker.look, POLL_S))
        yield


@asynccontextmanager
async def _open_limiter(settings: Settings, secret_box: SecretBox, loops: Loops) -> AsyncGenerator[Limiter | None]:
    """Open what limits callers. Yield it, or None if no operation has a limit."""
    usual = settings.rate_limits == "contract"
    if not usual and all(limit == "off" for limit in settings.limit.operations.values()):
        yield None
        return
    url = settings.redis.url.get_secret_value()
    if not url:
        yield Limiter(Windows(), None, settings.limit.operations, usual=usual)
        return
    from tertulia.auth.shared_limits import LOOK_S as AGAIN_S  # noqa: PLC0415 - an extra
    from tertulia.auth.shared_limits import RedisWindows  # noqa: PLC0415 - it needs an extra

    opened = RedisWindows(url, secret_box.derive("limits"), settings.redis.deadline_ms / 1000)
    async with opened.open() as shared, loops.keep("shared limits", shared.look, AGAIN_S):
        yield Limiter(Windows(), shared, settings.limit.operations, usual=usual)


@asynccontextmanager
async def _open_identity_providers(settings: Settings) -> AsyncGenerator["IdentityProviders | None"]:
    """Open the identity providers of organizations. Yield them, or None if the settings name none."""
    if not settings.oidc.providers:
        yield None
        return
    from tertulia.auth.identity_providers import IdentityProviders  # noqa: PLC0415 - few have one

    opened = IdentityProviders(settings.oidc.providers, settings.tools.allow)
    try:
        yield opened
    finally:
        await opened.aclose()


@asynccontextmanager
async def open_runtime(
    settings: Settings, models: Models, voices: Voices, runners: Runners | None = None
) -> AsyncGenerator[Runtime]:
    """Open the belongings of a process, and yield them; the last that was opened is closed first.

    Tools are run by `runners`, or else by those of the settings.
    """
    async with AsyncExitStack() as stack:
        stack.push_async_callback(models.aclose)
        await models.start()
        stack.push_async_callback(voices.aclose)
        await voices.start()
        embeddings = open_embeddings(settings)
        keeping = embeddings.keeping(settings)
        models.use(embeddings.embedder, keeping)
        stack.push_async_callback(embeddings.aclose)
        meanings = Meanings(embeddings.embedder, embeddings.label, keeping)
        recorded = RecordedWork(models, meanings, settings.trace_detail)
        clusters = Clusters(settings)
        stack.callback(clusters.close)
        secret_box = SecretBox.open(settings)
        audit_key = secret_box.derive(AUDIT_LOG)
        eraser = Eraser(audit_key, outbox(settings))
        kinds = (*_all_kinds(settings, recorded, eraser), erase_organizations(clusters))
        snapshots = Snapshots([clusters.open(name) for name in settings.cluster_urls])
        connector = Connector(AddressRules.parse(settings.tools.allow))
        stack.callback(connector.close)
        tools = Tools(_open_runners(settings, snapshots, connector) if runners is None else runners, secret_box)
        stack.push_async_callback(tools.aclose)
        loops = Loops()
        for name in settings.cluster_urls:
            await stack.enter_async_context(_keep(name, clusters.open(name), kinds, settings, loops, audit_key))
        databases = [clusters.open(name) for name in settings.cluster_urls]
        removing = partial(leftovers.remove_leftovers, settings.data, databases)
        await stack.enter_async_context(loops.keep("leftovers", removing, leftovers.LOOK_S))
        sessions = Sessions()
        await stack.enter_async_context(loops.keep("sessions", sessions.look, LOOK_S))
        maintenance = Maintenance(clusters.default)
        await stack.enter_async_context(loops.keep("maintenance", maintenance.look, WATCH_S))
        relay_key = secret_box.derive("relay")
        conversations = Conversations(settings, models, voices, meanings, clusters.default, relay_key, tools)
        await stack.enter_async_context(conversations.open(loops))
        limiter = await stack.enter_async_context(_open_limiter(settings, secret_box, loops))
        tokens = Tokens(clusters.default, secret_box)
        identity_providers = await stack.enter_async_context(_open_identity_providers(settings))
        places = Places(max(2, settings.database.pool_size // 2))
        yield Runtime(
            settings=settings,
            clusters=clusters,
            secret_box=secret_box,
            audit_key=audit_key,
            eraser=eraser,
            tokens=tokens,
            actors=Actors(),
            identity_providers=identity_providers,
            limiter=limiter,
            places=places,
            searches=ScarcePlaces(SEARCHES),
            heavy_thread=stack.enter_context(closing(HeavyThread())),
            sessions=sessions,
            conversations=conversations,
            meanings=meanings,
            maintenance=maintenance,
            loops=loops,
            models=models,
            voices=voices,
            tools=tools,
            snapshots=snapshots,
        )
