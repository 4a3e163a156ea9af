"""Settings: from the environment (prefix `TERTULIA_`), else from a TOML file, else the defaults here.

The file is `tertulia.toml` in the data folder, or the one that `TERTULIA_CONFIG` names. A group is a table of the
file and a part of the variable's name: `[scripted] delay_ms` is `TERTULIA_SCRIPTED_DELAY_MS`.
docs/reference/settings.md lists all.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tertulia import database_urls

_ORIGIN = re.compile(
    r"\*|[a-z][a-z0-9+.-]*://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?", re.ASCII
)
_UNWRITTEN = {"http": 80, "https": 443}
"""The ports that a browser leaves out of an origin."""


_PORT = r"(?::(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]))?"
_TARGET = re.compile(rf"\[([^\[\]]+)\]{_PORT}|([^:\[\]]+){_PORT}|([^\[\]]+)", re.ASCII)
_HOST_NAME = re.compile(r"([\w-]+\.)*[a-z][\w-]*", re.ASCII | re.IGNORECASE)


_REDIS = re.compile(
    rf"rediss?://([^@/\s]*@)?(\[[0-9a-f:.]+\]|[\w.-]+){_PORT}(/\d{{0,5}})?(\?\S*)?|unix://\S+", re.IGNORECASE
)

ProxyHeader = Literal["x-forwarded-for", "forwarded"]


def _parts(value: object) -> object:
    """Split what is separated by commas. Return its parts, and what is no text as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _is_origin(text: str) -> bool:
    """Return True for `*` and for an origin in the one form that browsers send, which is compared as it is."""
    if not _ORIGIN.fullmatch(text):
        return False
    parts = urlsplit(text)
    try:
        port = parts.port
        host = str(IPv6Address(parts.hostname or "")) if "[" in text else parts.hostname
    except ValueError:
        return False
    return host == parts.hostname and (port is None or port != _UNWRITTEN.get(parts.scheme))


def _is_target(text: str) -> bool:
    """Return True for a host or a network, with or without a port."""
    found = _TARGET.fullmatch(text)
    if found is None:
        return False
    host = next(filter(None, found.groups()))
    with suppress(ValueError):
        return bool(ip_network(host, strict=False))
    return _HOST_NAME.fullmatch(host) is not None


def is_secure_url(text: str) -> bool:
    """Return True for an `https://` URL without a user and a fragment, or such a one of `http://` on this machine."""
    if not re.fullmatch(r"https?://[!-~]{1,2000}", text) or "#" in text or "\\" in text:
        return False
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return bool(host) and "@" not in parts.netloc and (parts.scheme == "https" or is_this_machine(host or ""))


def is_this_machine(host: str) -> bool:
    """Return True for `localhost` and loopback addresses."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(Group):
    """The default storage cluster."""

    url: str = ""
    """`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`; empty: `tertulia.db` in the data folder."""
    pool_size: Annotated[int, Field(ge=1, le=200)] = 8
    """Connections, and threads that use them, per process and PostgreSQL cluster."""

    @field_validator("url")
    @classmethod
    def _normal(cls, url: str) -> str:
        return database_urls.normalize(url)


class ScriptedSettings(Group):
    """The deterministic model that needs no weights."""

    pieces: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Pieces of a reply."""
    delay_ms: Annotated[float, Field(ge=0, le=60_000)] = 0
    """Pause before each piece, in milliseconds."""


class OpenAISettings(Group):
    """Any server that speaks OpenAI's chat completions."""

    api_key: SecretStr = Field(default_factory=lambda: SecretStr(os.environ.get("OPENAI_API_KEY", "")))
    """Sent as a bearer token; empty: none is sent. `OPENAI_API_KEY` is read too."""
    base_url: str = Field(default_factory=lambda: os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"))
    """The address below which `/chat/completions`, `/embeddings`, `/audio/speech` and `/audio/transcriptions` are.
    `OPENAI_BASE_URL` is read too."""
    transcription_model: str = "gpt-transcribe"
    """The model that hears speech where `TERTULIA_VOICE` names `openai`."""


class CartesiaSettings(Group):
    """Cartesia's voices."""

    api_key: SecretStr = Field(default_factory=lambda: SecretStr(os.environ.get("CARTESIA_API_KEY", "")))
    """`CARTESIA_API_KEY` is read too."""
    base_url: str = "https://api.cartesia.ai"
    """The address below which `/tts/sse` and `/voices` are."""


class SpeechSettings(Group):
    """Spoken replies, whatever the voice."""

    voice_ids: dict[str, str] = {}
    """Voices for agents that name the voice of a vendor that is not here: its id and, as JSON, the id of the voice that
    speaks here. `TERTULIA_SPEECH_VOICE_IDS={"their-id": "heart"}`."""


class TurnSettings(Group):
    """Limits of a turn: one message and its answer."""

    stall_s: Annotated[float, Field(gt=0, le=3600)] = 60
    """A model that gives nothing for so many seconds has failed."""
    tool_s: Annotated[float, Field(gt=0, le=3600)] = 60
    """A tool that takes longer than so many seconds is stopped, and has failed."""
    deserted_s: Annotated[float, Field(ge=0, le=86_400)] = 0.5
    """A turn that runs a tool, and that no client has followed for so many seconds, is void, and the tool is stopped;
    a turn with an `Idempotency-Key` goes on."""
    total_s: Annotated[float, Field(gt=0, le=86_400)] = 900
    """A turn that takes longer than so many seconds as a whole is void."""
    lease_s: Annotated[float, Field(ge=1, le=3600)] = 30
    """The time for which a conversation stays claimed after its worker died."""
    replay_s: Annotated[float, Field(ge=0, le=2_592_000)] = 86_400
    """The time for which a turn's stream can be replayed after it ended; an `Idempotency-Key`, after its request."""
    reply_ahead: Literal["off", "one-action", "first-action"] = "one-action"
    """The states in which a reply is begun beside the question if the agent stays: those with one action; all,
    as if it were the first; or none. It saves a model's round trip, and costs the tokens of replies that are not used.
    A local model never does."""
    max_running: Annotated[int, Field(ge=1, le=100_000)] = 4000
    """Turns that run at once in a process; beyond that a request is answered with 503 at once."""
    grace_s: Annotated[float, Field(ge=0, le=3600)] = 20
    """The time for which running turns may go on when the server stops; what is not done by then is void."""
    history: Annotated[int, Field(ge=1, le=1000)] = 40
    """Messages of the conversation that a model is shown."""
    history_chars: Annotated[int, Field(ge=100, le=10_000_000)] = 60_000
    """Characters of these messages together; the oldest are left out first."""


class LimitSettings(Group):
    """Bounds on what comes in."""

    body_bytes: Annotated[int, Field(ge=1024)] = 2_000_000
    """The largest request body; 413 beyond."""
    bodies_bytes: Annotated[int, Field(ge=1024)] = 256_000_000
    """The bodies of all requests that a process works on, together; 503 for the one that finds no room."""
    body_stall_s: Annotated[float, Field(gt=0, le=600)] = 20
    """A body that pauses for so many seconds is answered with 408."""
    body_s: Annotated[float, Field(gt=0, le=3600)] = 180
    """A body that takes so many seconds is answered with 408; each `body_bytes` that have come allow as many again."""
    audio_bytes: Annotated[int, Field(ge=1024)] = 16_000_000
    """The largest body of a spoken message; 413 beyond."""
    audio_s: Annotated[float, Field(gt=0, le=3600)] = 120
    """The longest spoken message, in seconds; 400 beyond."""
    user_stored_bytes: Annotated[int, Field(ge=0)] = 0
    """The most bytes of text and sound that a user's conversations hold; the next turn is 400. 0: no bound."""
    organization_stored_bytes: Annotated[int, Field(ge=0)] = 0
    """As `user_stored_bytes`, for all users of an organization together, and the code of its tools; 0: no bound."""
    operations: dict[str, Annotated[int, Field(ge=1, le=1_000_000)] | Literal["off"]] = {}
    """Requests of a user to an operation in a minute, or `off`, by its name as JSON; before what the contract says."""


class RedisSettings(Group):
    """A Redis, in which all workers and hosts of an installation count what limits count."""

    url: SecretStr = SecretStr("")
    """`redis://USER:PASSWORD@HOST:PORT/NUMBER`, `rediss://` with TLS, or `unix://PATH`. Empty: each process counts for
    itself. It needs the extra `redis`."""
    deadline_ms: Annotated[float, Field(ge=1, le=5000)] = 50
    """The longest wait for an answer, in milliseconds; then each process counts for itself until it answers again."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not _REDIS.fullmatch(url.get_secret_value()):
            raise ValueError("write redis://USER:PASSWORD@HOST:PORT/NUMBER, rediss:// or unix://PATH")
        return url


class RelaySettings(Group):
    """Addresses at which workers of an installation reach each other, to follow each other's turns."""

    host: str = "127.0.0.1"
    """The address on which this host's workers listen and are reached; with several hosts, one that the others see."""


class ToolSettings(Group):
    """The place that tools are published from, and what tools may reach."""

    source: str = ""
    """The folder of the projects of tools, or the `https://`, `ssh://` or `file://` URL of a git repository with them.
    `{organization}` in it stands for the organization that publishes. Empty: archives alone can be published."""
    branch: Annotated[str, Field(min_length=1, max_length=200)] = "main"
    """The branch of the repository that versions are published from."""
    allow: Annotated[tuple[str, ...], NoDecode] = ()
    """Hosts and networks that tools and MCP servers may be at although they are not public, separated by commas:
    `127.0.0.1:8080`, `10.0.0.0/8`, `[fd00::1]:443`, `weather.internal`. Without a port, at each."""

    kept_days: Annotated[int, Field(ge=0, le=36_500)] = 365
    """Days for which calls of tools are on record, and code of versions that are out of use is kept; 0: for ever."""
    cache_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 2048
    """Megabytes of this host's copies of the code of tools, and as many of their packages. Beyond that, and after a
    week, copies that nobody uses are removed; they are made again when they are needed."""

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        if "://" in source and not source.startswith(("https://", "ssh://", "file://")):
            raise ValueError("name a folder, or a repository by https://, ssh:// or file://")
        return source

    @field_validator("allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)

    @field_validator("allow")
    @classmethod
    def _check_allowed(cls, allowed: tuple[str, ...]) -> tuple[str, ...]:
        for entry in allowed:
            if not _is_target(entry):
                raise ValueError("write addresses as 127.0.0.1:8080, 10.0.0.0/8, [fd00::1]:443 or weather.internal")
        return allowed


class AuditSettings(Group):
    """The audit log."""

    kept_days: Annotated[int, Field(ge=0, le=36_500)] = 730
    """Days for which lines of the audit log are kept; 0: for ever."""


class MailSettings(Group):
    """Mail: invitations, and links to sign in."""

    server: SecretStr = SecretStr("")
    """`smtp://USER:PASSWORD@HOST:PORT`, encrypted if the server offers it, or `smtps://`. Empty: mails are files in the
    folder `outbox` of the data folder."""
    sender: Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$")] = "tertulia@localhost"
    """The address that mails come from."""
    links: Annotated[tuple[str, ...], NoDecode] = ()
    """The origins that links to sign in may lead to, separated by commas, as `https://app.example`. A link to another
    origin is not sent; where mails are files, every link is written."""

    @field_validator("server")
    @classmethod
    def _check_server(cls, server: SecretStr) -> SecretStr:
        url = server.get_secret_value()
        if url and not re.match(r"smtps?://([^@/]+@)?[^@/:]+(:\d{1,5})?/?\Z", url):
            raise ValueError("write the server as smtp://USER:PASSWORD@HOST:PORT or smtps://HOST")
        return server

    @field_validator("links", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)


class McpServer(Group):
    """An MCP server that is a command of the operator's: it runs as the server itself does, without confinement."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The command and its arguments."""
    env: dict[str, str] = {}
    """Variables of its environment beside `PATH`, `HOME`, `LANG`, `LC_ALL`, `TMPDIR` and `TZ`."""
    cwd: str | None = None
    """The folder it starts in."""
    organizations: tuple[str, ...] = ()
    """The organizations whose tools may use it; empty: all."""


class McpSettings(Group):
    """MCP servers."""

    servers: dict[str, McpServer] = {}
    """Commands that speak MCP over their standard input and output, by name, as JSON."""


class IdentityProvider(Group):
    """An identity provider, which signs the people of an organization in by OpenID Connect."""

    name: Annotated[str, Field(min_length=1, max_length=60)] = "single sign-on"
    """The text of the button of the sign-in page, after "Sign in with"."""
    issuer: str
    """The URL that its ID tokens name as their issuer, exactly."""
    client_id: Annotated[str, Field(min_length=1, max_length=500)]
    """The name under which the provider knows this server; ID tokens are for it."""
    client_secret: SecretStr = SecretStr("")
    """The secret with which codes are traded; empty: the provider asks for none."""
    redirect_uri: str = ""
    """The address of this server's sign-in page, as people and the provider know it: `https://HOST/ui/sign-in`. Empty:
    the page has no button, and only ID tokens are taken."""
    scopes: Annotated[tuple[Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")], ...], Field(max_length=30)] = (
        "openid",
        "email",
        "profile",
    )
    """The scopes that the page asks for."""
    groups_claim: Annotated[str, Field(min_length=1, max_length=200)] = "groups"
    """The claim of an ID token that lists a person's groups."""
    roles: Annotated[dict[str, Annotated[str, Field(min_length=1)]], Field(max_length=500)] = {}
    """The roles of groups: the first group of these that a person is in decides, at each sign-in. Empty: none does."""
    default_role: str = ""
    """The role of a person who is in none of these groups; empty: they are refused."""
    make_users: bool = False
    """True if people whom nobody has invited become users."""

    @field_validator("issuer")
    @classmethod
    def _check_issuer(cls, issuer: str) -> str:
        if not is_secure_url(issuer) or "?" in issuer:
            raise ValueError("write the issuer as https://HOST/PATH; http:// is for 127.0.0.1, [::1] and localhost")
        return issuer

    @field_validator("redirect_uri")
    @classmethod
    def _check_redirect_uri(cls, uri: str) -> str:
        if uri and not (is_secure_url(uri) and uri.endswith("/ui/sign-in") and "?" not in uri):
            raise ValueError("write it as https://HOST/ui/sign-in; http:// is for 127.0.0.1, [::1] and localhost")
        return uri

    @field_validator("scopes")
    @classmethod
    def _check_scopes(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in scopes:
            raise ValueError("the scope openid has to be among them")
        return scopes

    @model_validator(mode="after")
    def _check_role_of_new_users(self) -> "IdentityProvider":
        if self.make_users and not (self.roles or self.default_role):
            raise ValueError("make_users needs roles or default_role: a new user has to have a role")
        return self


class OidcSettings(Group):
    """OpenID Connect."""

    providers: dict[str, IdentityProvider] = {}
    """Identity providers by the organization whose people they sign in, as JSON."""


class Settings(BaseSettings):
    """All settings of a process; frozen after it has started."""

    model_config = SettingsConfigDict(
        env_prefix="TERTULIA_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    data: Path = Path(".data")
    """The folder of the embedded database, the secret key and downloaded weights."""
    secret_key: SecretStr = SecretStr("")
    """Encrypts secrets in the database; empty: the file `secret.key` in the data folder, made by `init`."""
    host: str = "127.0.0.1"
    """The address to listen on; `--host` goes before it."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port to listen on, 0 for a free one; `--port` goes before it."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that serve; `--workers` goes before it."""
    model: Annotated[tuple[str, ...], NoDecode] = ("scripted",)
    """`scripted`, `local`, `local:NAME`, `openai:NAME` or `VENDOR:NAME`; several, separated by commas, are tried in
    order until one gives its first piece."""
    model_names: Annotated[tuple[Annotated[str, Field(pattern=r"^[^\s=]+=[^\s=]+$")], ...], NoDecode] = ()
    """`NAME=MODEL`, separated by commas: which model of `model` answers for a name in a version set. `*`: for every
    name that cannot be reached otherwise."""
    model_fast: Annotated[tuple[str, ...], NoDecode] = ()
    """As `model`, for the models that decide: where to go in a graph, which behaviour applies. Empty: `model`."""
    windows: Annotated[tuple[Annotated[str, Field(pattern=r"^[^\s=]+=[1-9]\d{2,8}$")], ...], NoDecode] = ()
    """`NAME=TOKENS`, separated by commas: how much of a conversation a model can take, its reply included."""
    voice: Annotated[tuple[str, ...], NoDecode] = ("scripted",)
    """`scripted`, `local`, `openai`, `openai:MODEL`, `cartesia` or `cartesia:MODEL`; several, separated by commas, are
    tried in order until one makes its first sound. What hears speech is the first of them that can. `off`: none."""
    embeddings: Annotated[str, Field(pattern=r"^(auto|off|local|scripted|openai:\S+)$")] = "auto"
    """Which model compares triggers of dynamic behaviours, and memories, with what was said: `local`, of the extra
    `embeddings`; `openai:NAME`, of the server that `TERTULIA_OPENAI_BASE_URL` names; or `scripted`, by words. `off`:
    none, and the language model alone picks. `auto`: `local` if it is there and the language model is not scripted."""
    trace: Literal["off", "spans", "prompts"] = "spans"
    """The record of a turn, kept for 30 days: `spans` are its steps and model calls with their times and tokens;
    `prompts` keeps what models were asked and answered too."""
    rate_limits: Literal["contract", "off"] = "contract"
    """`contract`: each operation has the limit that the contract names."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.0/8", "::1")
    """Addresses and networks of proxies that are believed about their clients, separated by commas; empty: none."""
    proxy_header: ProxyHeader = "x-forwarded-for"
    """The header in which trusted proxies tell it: `forwarded` is that of RFC 7239."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """The origins whose pages may call the API from a browser, separated by commas; `*`: all; empty: none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level of lines that are logged to standard error."""
    database: DatabaseSettings = DatabaseSettings()
    clusters: dict[str, Annotated[str, Field(min_length=1), AfterValidator(database_urls.normalize)]] = {}
    """More storage clusters: name to URL. `TERTULIA_CLUSTERS_EU=postgresql://...` adds `eu`."""
    scripted: ScriptedSettings = ScriptedSettings()
    openai: OpenAISettings = Field(default_factory=OpenAISettings)
    cartesia: CartesiaSettings = Field(default_factory=CartesiaSettings)
    speech: SpeechSettings = SpeechSettings()
    turn: TurnSettings = TurnSettings()
    limit: LimitSettings = LimitSettings()
    redis: RedisSettings = RedisSettings()
    relay: RelaySettings = RelaySettings()
    tools: ToolSettings = ToolSettings()
    mcp: McpSettings = McpSettings()
    oidc: OidcSettings = OidcSettings()
    mail: MailSettings = MailSettings()
    audit: AuditSettings = AuditSettings()

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _is_origin(origin):
                raise ValueError("write origins as browsers do: https://app.example or http://localhost:3000")
        return origins

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError("write addresses and networks as 10.0.0.1, 10.0.0.0/8 or fd00::/8") from None
        return proxies

    @field_validator(
        "model", "model_fast", "model_names", "voice", "windows", "cors_origins", "trusted_proxies", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return _parts(value)

    def window(self, model: str) -> int | None:
        """Get the window of a model of this name, in tokens. Returns None if no setting names it."""
        windows = [window.rpartition("=") for window in self.windows]
        return next((int(tokens) for name, _, tokens in windows if name == model), None)

    @property
    def trace_detail(self) -> Literal["spans", "prompts"] | None:
        """The part of models' calls that traces keep; None: there are no traces."""
        return None if self.trace == "off" else self.trace

    @property
    def cluster_urls(self) -> dict[str, str]:
        """Every storage cluster by name, `default` first."""
        return {"default": self.database.url or f"sqlite:///{self.data / 'tertulia.db'}", **self.clusters}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls), TomlConfigSettingsSource(settings_cls, _config_file())


class _Environment(EnvSettingsSource):
    """The environment without the variables that Kubernetes makes of the names of services."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = super()._load_env_vars()
        return {name: value for name, value in found.items() if not is_of_a_service(name, value or "")}


_OF_A_SERVICE = re.compile(
    r"(_SERVICE_(HOST|PORT(_\w+)?)|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)\Z", re.IGNORECASE
)
_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+", re.IGNORECASE)


def is_of_a_service(name: str, value: str) -> bool:
    """Return True for a variable that Kubernetes makes of a service's name, as `TERTULIA_PORT=tcp://10.0.0.1:80`.

    The forms are those of Kubernetes' documentation, "Discovering services" (environment variables).
    """
    of_address = name.upper().endswith("_PORT") and _ADDRESS.fullmatch(value) is not None
    return of_address or _OF_A_SERVICE.search(name) is not None


def unknown_names_of_file() -> list[str]:
    """Look for top-level names of the TOML file that are no settings. Return them; none if the file cannot be read."""
    try:
        names = tomllib.loads(_config_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # reading the settings says so
        return []
    return sorted(names.keys() - Settings.model_fields.keys())


def _config_file() -> Path:
    named = os.environ.get("TERTULIA_CONFIG")
    return Path(named) if named else Path(os.environ.get("TERTULIA_DATA", ".data")) / "tertulia.toml"
