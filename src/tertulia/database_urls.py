"""URLs of databases as clouds, drivers and people write them, brought to the one form that is opened.

Of PostgreSQL: any spelling of the scheme, a driver behind it, several hosts with ports, a folder of sockets, and
libpq's options, https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS.
"""

import re
from urllib.parse import parse_qsl, quote, unquote, urlencode

_FORM = "write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]@\s]*)(?::(?P<port>[0-9]{1,5})?)?")
_NAMES = (
    "application_name channel_binding client_encoding connect_timeout dbname fallback_application_name "
    "gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle "
    "keepalives_interval krbsrvname load_balance_hosts max_protocol_version min_protocol_version options "
    "passfile password port replication require_auth requirepeer requiressl scram_client_key "
    "scram_server_key service servicefile ssl_max_protocol_version ssl_min_protocol_version sslcert "
    "sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword "
    "sslrootcert sslsni target_session_attrs tcp_user_timeout user"
)
_OPTIONS = frozenset(_NAMES.split())
POOLED = "pgbouncer"
"""The option that says that a pooler stands between, so that nothing is prepared. The server mostly sees it itself."""

_CACHES = frozenset({"prepared_statement_cache_size", "statement_cache_size"})
"""Options of other drivers that wish the same with a 0."""

_NAME = re.compile(r"[A-Za-z_]{1,40}")
_SSL = {"true": "require", "1": "require", "false": "disable", "0": "disable"}
_PORTS = range(1, 65_536)


def normalize(url: str) -> str:
    """Bring a URL to the form that is opened. Return it.

    Raises:
        ValueError: the URL is of no database that can be used, or has an option that nobody knows.
    """
    url = url.strip()
    scheme, found, rest = url.partition("://")
    kind = scheme.lower().partition("+")[0]
    if not url or (found and kind == "sqlite"):
        return f"sqlite://{rest}" if url else url
    if not found or kind not in {"postgres", "postgresql"}:
        raise ValueError(_FORM)
    head, _, query = rest.partition("?")
    if "@" in query:
        raise ValueError("write ? in a password as %3F, and @ in an option as %40")
    user, at, place = head.rpartition("@")
    if "@" in user:
        raise ValueError("write @ in a user's name or a password as %40")
    hosts, slash, name = place.partition("/")
    options = _options(query)
    if "," in hosts or "%" in hosts:
        options = [*_places(hosts), *options]
        hosts = ""
    else:
        _places(hosts)
    written = urlencode(options, quote_via=quote)
    return f"postgresql://{user}{at}{hosts}{slash}{name}{'?' if written else ''}{written}"


def _places(hosts: str) -> list[tuple[str, str]]:
    """Read hosts with their ports, separated by commas. Return the options that say the same."""
    found = [_PLACE.fullmatch(host) for host in unquote(hosts).split(",")]
    if not all(found):
        raise ValueError("write hosts as HOST, HOST:PORT or [ADDRESS]:PORT, separated by commas")
    places = [(place["host"].strip("[]"), place["port"] or "") for place in found if place]
    if any(port and int(port) not in _PORTS for _, port in places):
        raise ValueError("a port is a number from 1 to 65535")
    ports = [port for _, port in places]
    told = [("host", ",".join(host for host, _ in places))]
    return [*told, ("port", ",".join(port or "5432" for port in ports))] if any(ports) else told


def _options(query: str) -> list[tuple[str, str]]:
    """Read the options of a URL. Return those of libpq, with those of other drivers that mean the same."""
    options: list[tuple[str, str]] = []
    is_secret = "password" in query
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "ssl":
            options.append(("sslmode", _SSL.get(value.lower(), value)))
        elif name in _OPTIONS:
            options.append((name, value))
        elif (name == POOLED and value.lower() in {"true", "1"}) or (name in _CACHES and value == "0"):
            options.append((POOLED, "true"))
        elif name != POOLED and name not in _CACHES:
            named = f"the option {name}" if _NAME.fullmatch(name) and not is_secret else "an option"
            raise ValueError(f"the URL has {named}, which libpq does not know")
    return options
