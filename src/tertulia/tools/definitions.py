"""The definitions of tools that run elsewhere: an operation of an HTTP API, and a tool of an MCP server.

A definition is the JSON object that a `ToolProgram` holds; `HttpOperation.model_validate` and
`McpTool.model_validate` check one, and raise pydantic's `ValidationError` with a place for each mistake. For example::

    {"method": "POST", "url": "https://api.example/v1/cities/{city}/alerts", "timeout_s": 10,
     "parameters": [{"name": "city", "in": "path"},
                    {"name": "lang", "in": "query", "value": "en"},
                    {"name": "X-API-Key", "in": "header", "variable": "ALERTS_KEY"},
                    {"name": "X-Customer", "in": "header", "user_variable": "customer_id"}],
     "body": {"format": "json"}}

    {"url": "https://mcp.example/mcp", "tool": "read_file", "authorization": {"bearer": "FILES_TOKEN"}}
    {"server": "files", "tool": "read_file"}

`variable` and those of `authorization` name environment variables of the tool; a server named `server` is one of the
operator's settings.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import httpx2
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from tertulia.tools.addresses import AddressRefused, host_of

MOST_PARAMETERS = 100

PLACEHOLDER = re.compile(r"\{([^{}/]*)\}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
OUR_HEADERS = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that no parameter sets: the client does, or nobody may."""

_OTHER_PORTS = frozenset(
    {
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
        109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515,
        526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049,
        3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    }
)  # fmt: skip
"""Ports at which something other than HTTP listens: https://fetch.spec.whatwg.org/#port-blocking."""

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,255}$")]
"""The name of an environment variable of a tool."""

Name = Annotated[str, Field(min_length=1, max_length=256)]
Seconds = Annotated[float, Field(gt=0, le=120)]


class Definition(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Basic(Definition):
    """The environment variables with a user's name and password."""

    user: Variable
    password: Variable


class Authorization(Definition):
    """The header `Authorization`, from environment variables: `{"bearer": NAME}` or `{"basic": {...}}`."""

    bearer: Variable | None = None
    basic: Basic | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.bearer is None) == (self.basic is None):
            raise ValueError("Give either bearer or basic.")
        return self


class Parameter(Definition):
    """A parameter of an operation, and the one place that its value comes from: by default the argument of its name.

    Lists of a query are repeated (`a=1&a=2`), or joined by commas if `explode` is false; objects are `a[key]=value`.
    """

    name: Name
    in_: Annotated[Literal["path", "query", "header"], Field(alias="in")]
    argument: Name | None = None
    variable: Variable | None = None
    user_variable: Name | None = None
    secret_user_variable: Name | None = None
    value: JsonValue = None
    explode: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        named = (self.argument, self.variable, self.user_variable, self.secret_user_variable, self.value)
        if sum(source is not None for source in named) > 1:
            raise ValueError("Give one of argument, variable, user_variable, secret_user_variable and value.")
        if self.in_ == "header" and not _TOKEN.fullmatch(self.name):
            raise ValueError("The name of a header has letters, digits and hyphens.")
        name = self.name.lower()
        ours = name in OUR_HEADERS or name.startswith("proxy-")
        if self.in_ == "header" and ours and not (name == "authorization" and self.variable):
            raise ValueError(f"The header {self.name} cannot be set by a parameter.")
        return self

    @property
    def taken_argument(self) -> str | None:
        """The argument that the value comes from; None for another source."""
        named = (self.variable, self.user_variable, self.secret_user_variable, self.value)
        return (self.argument or self.name) if all(source is None for source in named) else None


class Body(Definition):
    """The body of a request: the value of one argument, or an object of the arguments that no parameter takes."""

    format: Literal["json", "form"] = "json"
    argument: Name | None = None


class HttpOperation(Definition):
    """One operation of an HTTP API. Placeholders of the URL are in its path, and each is a parameter."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: Annotated[str, Field(min_length=1, max_length=2000)]
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=MOST_PARAMETERS)] = ()
    body: Body | None = None
    authorization: Authorization | None = None
    timeout_s: Seconds = 20

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        without = PLACEHOLDER.sub("x", url)
        checked_url(without)
        if "{" in without or "}" in without:
            raise ValueError("A brace of this address is not that of a placeholder.")
        before_query, _, query = url.partition("?")
        if PLACEHOLDER.search(before_query.split("/")[2]) or PLACEHOLDER.search(query):
            raise ValueError("Placeholders stand in the path of an address; values of its query are parameters.")
        return url

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        places = [(parameter.in_, parameter.name.lower()) for parameter in self.parameters]
        if len(set(places)) < len(places):
            raise ValueError("Two parameters have the same place and name.")
        in_path = {parameter.name for parameter in self.parameters if parameter.in_ == "path"}
        if in_path != set(PLACEHOLDER.findall(self.url)):
            raise ValueError("The placeholders of the url and the parameters in the path are not the same.")
        if self.body is not None and self.method in {"GET", "HEAD"}:
            raise ValueError(f"{self.method} has no body.")
        return self


class McpPlace(Definition):
    """An MCP server: one at a URL, or one that the operator's settings name."""

    url: Annotated[str, Field(max_length=2000)] | None = None
    server: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    authorization: Authorization | None = None
    headers: Annotated[dict[str, Variable], Field(max_length=20)] = {}
    """Headers of requests to the URL: the name of each, and the environment variable with its value."""
    timeout_s: Seconds = 30

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if (self.url is None) == (self.server is None):
            raise ValueError("Give either url or server.")
        if self.server is not None and (self.authorization is not None or self.headers):
            raise ValueError("The settings say what a server of theirs is sent.")
        for name in self.headers:
            Parameter.model_validate({"name": name, "in": "header"})
        return self

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is not None:
            checked_url(url)
        return url


class McpTool(McpPlace):
    """A tool of an MCP server."""

    tool: Annotated[str, Field(min_length=1, max_length=256)]


def variables_of(definition: HttpOperation | McpTool) -> list[str]:
    """Collect the environment variables that a definition names. Return them, each once, sorted."""
    named: set[str | None] = (
        {parameter.variable for parameter in definition.parameters}
        if isinstance(definition, HttpOperation)
        else set(definition.headers.values())
    )
    authorization = definition.authorization
    if authorization is not None:
        named.add(authorization.bearer)
        if authorization.basic is not None:
            named |= {authorization.basic.user, authorization.basic.password}
    return sorted(name for name in named if name is not None)


def checked_url(text: str) -> httpx2.URL:
    """Read an address of a server. Return it.

    Raises:
        ValueError: it cannot be called, or holds credentials; says why.
    """
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError):
        raise ValueError("This is not an address.") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("An address begins with https:// or http:// and a host.")
    if url.userinfo:
        raise ValueError("An address holds no user and no password: they are environment variables.")
    if url.fragment:
        raise ValueError("An address has no fragment.")
    if url.port is not None and (url.port in _OTHER_PORTS or not 0 < url.port < 1 << 16):
        raise ValueError(f"{url.port} is not a port of HTTP.")
    try:
        host_of(url.host)
    except AddressRefused as refusal:
        raise ValueError(str(refusal)) from None
    return url


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool that a document or a server offers, ready to be published."""

    name: str
    description: str
    kind: Literal["http", "mcp"]
    definition: Mapping[str, Any]
    input_schema: Mapping[str, Any]
