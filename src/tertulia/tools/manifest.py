"""The manifest of a tool in code: `tool.toml`, what the tool wants, and nothing that it does not say.

    name = "booking"                    # [a-z0-9_]+
    description = "Books appointments."
    entry = "tool:run"                  # module:function
    confirm = true                      # the user has to say yes to each call

    [limits]                            # all optional; the defaults stand in `Limits`
    memory_mb = 256
    wall_seconds = 30

    [network]
    hosts = ["api.example.com", "calendar.example.com:8443"]

    [environment]
    plain = ["REGION"]
    secret = ["API_KEY"]

    [input_schema]                      # or a file `input_schema.json` beside it
    type = "object"

An error names the field, as a path: `limits.memory_mb`.
"""

import json
import keyword
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

from tertulia.errors import BadTool

FILE = "tool.toml"
SCHEMA_FILE = "input_schema.json"
LONGEST_NAME = 64
LONGEST_DESCRIPTION = 4000
MOST_HOSTS = 50
MOST_VARIABLES = 50
MOST_SCHEMA_BYTES = 64_000
MOST_CHARS = 128_000
"""Characters of `tool.toml`, and of `input_schema.json`."""
MOST_DOTS = 100
"""Dots in a line of `tool.toml`: a key with thousands of parts takes its reader minutes."""
HTTPS = 443

BOUNDS: Mapping[str, tuple[int, int]] = {
    "memory_mb": (32, 4096),
    "cpu_seconds": (1, 600),
    "wall_seconds": (1, 900),
    "processes": (1, 32),
    "disk_mb": (0, 1024),
    "answer_kb": (1, 1024),
}
"""The least and the greatest value of each limit."""

_NAME = re.compile(r"[a-z0-9_]+")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_ENTRY = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)
_HOST = re.compile(r"((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?::(\d{1,5}))?")
_KEYS = ("name", "description", "entry", "confirm", "limits", "network", "environment", "input_schema")


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one call. Memory is that of each process; `processes` counts the first one."""

    memory_mb: int = 256
    cpu_seconds: int = 10
    wall_seconds: int = 30
    processes: int = 1
    disk_mb: int = 16
    answer_kb: int = 64


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host that a tool may connect to, in lower case, and the one port."""

    host: str
    port: int = HTTPS

    def __str__(self) -> str:
        return self.host if self.port == HTTPS else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of a tool. `plain` and `secret` are names of environment variables that the tool requires."""

    name: str
    input_schema: Mapping[str, Any]
    description: str = ""
    entry: str = "tool:run"
    confirm: bool = False
    limits: Limits = field(default_factory=Limits)
    hosts: tuple[HostPort, ...] = ()
    plain: tuple[str, ...] = ()
    secret: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """The module that the function is in."""
        return self.entry.partition(":")[0]

    @property
    def function(self) -> str:
        """The name of the function that is the tool."""
        return self.entry.partition(":")[2]

    def definition(self) -> dict[str, Any]:
        """Make the JSON object that `read` takes. Return it; every field is in it."""
        return {
            "name": self.name,
            "description": self.description,
            "entry": self.entry,
            "confirm": self.confirm,
            "limits": asdict(self.limits),
            "network": {"hosts": [str(host) for host in self.hosts]},
            "environment": {"plain": list(self.plain), "secret": list(self.secret)},
            "input_schema": dict(self.input_schema),
        }


def parse(manifest: str, schema: str | None = None) -> Manifest:
    """Parse the text of `tool.toml` and, if there is one, of `input_schema.json`. Return the manifest.

    Raises:
        BadTool: one of them is not TOML or JSON, or a field is wrong.
    """
    for name, text in ((FILE, manifest), (SCHEMA_FILE, schema or "")):
        if len(text) > MOST_CHARS:
            raise BadTool(f"{name}: must have at most {MOST_CHARS} characters; it has {len(text)}.")
    for number, line in enumerate(manifest.split("\n"), 1):
        if line.count(".") > MOST_DOTS:
            raise BadTool(f"{FILE}: line {number}: must have at most {MOST_DOTS} dots.")
    try:
        table: dict[str, Any] = tomllib.loads(manifest)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise BadTool(f"{FILE}: not TOML: {_first_line(error)}") from error
    if schema is not None:
        if "input_schema" in table:
            raise BadTool(f"{FILE}: input_schema: the schema stands here and in {SCHEMA_FILE}; keep one.")
        table["input_schema"] = _schema_of_file(schema)
    return read(table)


def read(definition: Mapping[str, Any]) -> Manifest:
    """Read a manifest from a table of TOML or an object of JSON. Return it.

    Raises:
        BadTool: a field is missing, unknown or wrong.
    """
    _refuse_unknown(definition, _KEYS, "")
    network = _table(definition, "network", ("hosts",))
    environment = _table(definition, "environment", ("plain", "secret"))
    plain, secret = (_variables(environment, key) for key in ("plain", "secret"))
    for variable in plain:
        if variable in secret:
            raise _wrong("environment.secret", f"{variable} is among `plain` too")
    return Manifest(
        name=_text(definition, "name", _NAME, "lower-case letters, digits and _", LONGEST_NAME),
        input_schema=_schema(definition),
        description=_description(definition),
        entry=_entry(definition),
        confirm=_flag(definition, "confirm"),
        limits=_limits(_table(definition, "limits", tuple(BOUNDS))),
        hosts=_hosts(network),
        plain=plain,
        secret=secret,
    )


def _wrong(place: str, text: str) -> BadTool:
    return BadTool(f"{FILE}: {place}: {text}.")


def _shown(value: object) -> str:
    told = repr(value) if isinstance(value, str) else json.dumps(value, default=str, skipkeys=True)
    return told if len(told) <= 60 else f"{told[:57]}..."


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["nested too deeply"])[0][:200]


def _refuse_unknown(table: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in table:
        if key not in known:
            raise _wrong(f"{place}{key[:LONGEST_NAME]}", f"there is no such field; there are {', '.join(known)}")


def _table(definition: Mapping[str, Any], key: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    value = definition.get(key, {})
    if not isinstance(value, dict):
        raise _wrong(key, "must be a table")
    table = cast("dict[str, Any]", value)
    _refuse_unknown(table, known, f"{key}.")
    return table


def _text(definition: Mapping[str, Any], key: str, form: re.Pattern[str], told: str, longest: int) -> str:
    value = definition.get(key)
    if value is None:
        raise _wrong(key, "is required")
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _wrong(key, f"must be {told}; it is {_shown(value)}")
    if len(value) > longest:
        raise _wrong(key, f"must have at most {longest} characters")
    return value


def _description(definition: Mapping[str, Any]) -> str:
    value = definition.get("description", "")
    if not isinstance(value, str) or len(value) > LONGEST_DESCRIPTION:
        raise _wrong("description", f"must be a text of at most {LONGEST_DESCRIPTION} characters")
    if any(ord(character) < 32 and character not in "\n\t" for character in value):
        raise _wrong("description", "has a control character")
    return value.strip()


def _entry(definition: Mapping[str, Any]) -> str:
    entry = _text({"entry": "tool:run"} | dict(definition), "entry", _ENTRY, "module:function", 200)
    for part in re.split("[.:]", entry):
        if keyword.iskeyword(part):
            raise _wrong("entry", f"{part!r} is a word of Python's own")
    return entry


def _flag(definition: Mapping[str, Any], key: str) -> bool:
    value = definition.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, f"must be true or false; it is {_shown(value)}")
    return value


def _limits(table: Mapping[str, Any]) -> Limits:
    values: dict[str, int] = {}
    for key in (limit.name for limit in fields(Limits)):
        if key not in table:
            continue
        value, (least, greatest) = table[key], BOUNDS[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= greatest:
            raise _wrong(f"limits.{key}", f"must be a whole number from {least} to {greatest}; it is {_shown(value)}")
        values[key] = value
    return Limits(**values)


def _items(table: Mapping[str, Any], place: str, most: int) -> list[Any]:
    value = table.get(place.rpartition(".")[2], [])
    if not isinstance(value, list):
        raise _wrong(place, "must be a list")
    items = cast("list[Any]", value)
    if len(items) > most:
        raise _wrong(place, f"must have at most {most} items; there are {len(items)}")
    return items


def _hosts(table: Mapping[str, Any]) -> tuple[HostPort, ...]:
    hosts: dict[HostPort, None] = {}
    for number, item in enumerate(_items(table, "network.hosts", MOST_HOSTS)):
        match = _HOST.fullmatch(item.lower()) if isinstance(item, str) and len(item) <= 260 else None
        port = int(match[2] or HTTPS) if match else 0
        if match is None or not 1 <= port <= 65_535 or len(match[1]) > 253:
            raise _wrong(f"network.hosts[{number}]", f"must be a host name, or HOST:PORT; it is {_shown(item)}")
        hosts[HostPort(match[1], port)] = None
    return tuple(hosts)


def _variables(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    place = f"environment.{key}"
    names: dict[str, None] = {}
    for number, item in enumerate(_items(table, place, MOST_VARIABLES)):
        if not isinstance(item, str) or not _VARIABLE.fullmatch(item) or len(item) > LONGEST_NAME:
            raise _wrong(
                f"{place}[{number}]", f"must be capital letters, digits and _, a digit not first; it is {_shown(item)}"
            )
        names[item] = None
    return tuple(names)


def _schema_of_file(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadTool(f"{SCHEMA_FILE}: not JSON: {_first_line(error)}") from error


def _schema(definition: Mapping[str, Any]) -> dict[str, Any]:
    value = definition.get("input_schema")
    if value is None:
        raise _wrong("input_schema", f"is required, here or as the file {SCHEMA_FILE}")
    if not isinstance(value, dict):
        raise _wrong("input_schema", "must be a JSON Schema of an object")
    schema = cast("dict[str, Any]", value)
    if schema.get("type") != "object":
        raise _wrong("input_schema.type", 'must be "object": the function takes named arguments')
    try:
        size = len(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise _wrong("input_schema", "holds a value that JSON does not have, or is nested too deeply") from error
    if size > MOST_SCHEMA_BYTES:
        raise _wrong("input_schema", f"must have at most {MOST_SCHEMA_BYTES} bytes; it has {size}")
    return schema
