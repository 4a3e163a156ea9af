"""The one seam by which changes come into the audit log: the database that an operation writes with.

A request that changes something gets a database whose first write also appends a line to the log, in the transaction of
the change itself: either both are there or neither is. Whoever writes a new operation has nothing to call. Turns are
not changes of this kind: conversations are their own record, and the busiest path waits for no log. If somebody speaks
in another person's conversation, the gate before the turn writes the line.
"""

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import structlog
from sqlalchemy.engine import Connection
from starlette.requests import HTTPConnection

from tertulia.api.http.bodies import SMALL, is_larger
from tertulia.api.http.masking import change_told, masked, told
from tertulia.auth.tokens import Claims
from tertulia.storage.audit import AuditEntry, append_line
from tertulia.storage.audited import find_object, is_hidden
from tertulia.storage.database.shortcut import Shortcut
from tertulia.storage.database.units import Database

P = ParamSpec("P")
T = TypeVar("T")

SENT = "tertulia.sent"
"""The key of a request's scope under which it has the JSON of its body."""

UNAUDITED = frozenset(
    {
        # Turns, and questions to models about them.
        "create-conversation",
        "interact-with-conversation",
        "finish-conversation",
        "cancel-interaction",
        "recommend-responses-for-interaction",
        "generate-conversation-starter",
        # These write lines of their own: of who signed in with which key; of a user who is made, or has another role.
        "sign-in-with-api-key",
        "sign-in-with-oidc-code",
        "sign-in-with-id-token",
        # What changes nothing: a mail is asked for, which an address that is nobody's does too.
        "sign-in-with-email",
        "start-oidc-sign-in",
        "list-openapi-tools",
        "list-mcp-tools",
        "try-provider",
    }
)
"""The operations other than GET to which this seam brings no line."""

_OF_HIDDEN = frozenset({"tags", "updates"})
"""Names whose values no line tells of a conversation whose user hides it from administrators; names of tags remain."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_KINDS = {
    "messages": "message",
    "retention": "organization",
    "signin_with_mail_token": "user",
    "test": "tool",
    "version": "tool_version",
    "version_sets": "version_set",
}


class Recorder:
    """A writer of the audit log for a request: who asks, from where, and for what."""

    def __init__(
        self, connection: HTTPConnection, key: bytes, org_id: str, claims: Callable[[], Claims | None]
    ) -> None:
        self._scope = connection.scope
        self._key = key
        self._org_id = org_id
        self._claims = claims
        self._request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
        self._asked: Any = None
        self.done = False

    async def prepare(self) -> None:
        """Tell the request before the transaction: other writers do not wait while secrets are looked for in it."""
        if self.done:
            return
        request = self._request
        if is_larger(request, SMALL):
            self._asked = await self._scope["app"].state.runtime.heavy_thread.run(told, request)
        else:
            self._asked = told(request)

    @property
    def action(self) -> str:
        """The operation that is asked for."""
        return str(getattr(self._scope.get("route"), "operation_id", None) or "")

    def entry(
        self, action: str, kind: str, object_id: str, change: str, actor: tuple[str, str] | None = None
    ) -> AuditEntry:
        """Say who does what to an object, and from where. Return the line to be written.

        The actor is who has signed in, unless `actor` names another organization and user.
        """
        claims = self._claims()
        own = ("", "") if claims is None else (claims.org_id, claims.user_id)
        actor_org_id, actor_user_id = actor or own
        client = self._scope.get("client")
        return AuditEntry(
            org_id=self._org_id,
            action=action,
            object_kind=kind,
            object_id=object_id,
            actor_org_id=actor_org_id,
            actor_user_id=actor_user_id,
            api_key_id=(claims.key_id or "") if claims is not None else "",
            address=client[0] if client else "",
            request_id=self._request_id,
            change=change,
        )

    def write(self, connection: Connection, action: str, kind: str, object_id: str, change: str) -> None:
        """Append a line to the log, as the last act of a unit."""
        append_line(connection, self._key, self.entry(action, kind, object_id, change))

    def around(
        self, unit: Callable[[Connection], T], actor: tuple[str, str] | None = None
    ) -> Callable[[Connection], T]:
        """Have a unit write the line of the request, if it is the first that changes something. Return the unit."""

        def recorded(connection: Connection) -> T:
            if self.done:
                return unit(connection)
            kind, named = object_of(self._path, self._parameters)
            object_id = named or (self._org_id if kind == "organization" else "")
            before = find_object(connection, self._org_id, kind, object_id)
            result = unit(connection)
            object_id = object_id or id_of(kind, result, self._scope.get(SENT))
            after = find_object(connection, self._org_id, kind, object_id)
            shown = {} if kind == "user" and not after else before  # the person is to be gone
            private = _OF_HIDDEN if is_hidden(connection, self._org_id, kind, object_id) else frozenset[str]()
            asked = masked(self._asked, private) if private else self._asked
            change = change_told(asked, shown, after, private)
            line = self.entry(self.action, kind, object_id, change, self._signed_in(result))
            append_line(connection, self._key, line)
            self.done = True
            return result

        return recorded

    def _signed_in(self, result: object) -> tuple[str, str] | None:
        """Name the user whom the token of a mail has just signed in. Return the user, who is the actor of the line."""
        return (self._org_id, str(result)) if self.action == "sign-in-with-mail-token" else None

    @property
    def _path(self) -> str:
        return str(self._scope["route"].path)

    @property
    def _parameters(self) -> dict[str, str]:
        found = self._scope.get("path_params", {})
        return {name: str(value) for name, value in found.items() if name != "organization"}

    @property
    def _request(self) -> dict[str, Any]:
        """The parameters of the path and the query, and the body."""
        query = HTTPConnection(self._scope).query_params
        sent = self._scope.get(SENT)
        parts = {"path": self._parameters, "query": dict(query), "body": sent}
        return {name: part for name, part in parts.items() if part}


def object_of(path: str, parameters: Mapping[str, str]) -> tuple[str, str]:
    """Find the object of an operation in its path. Return its kind, and its id, "" if the path names none.

    The kind is the last word before the last parameter, or the last word at all.
    """
    words = [word for word in path.split("/") if word]
    last = max((place for place, word in enumerate(words) if word.startswith("{")), default=-1)
    if not parameters:
        return _KINDS.get(words[-1], words[-1]), ""
    kind = words[last - 1]
    *_, (name, object_id) = parameters.items()
    if not name.endswith(("_id", "role_name")):  # a name within another object
        object_id = "/".join(parameters.values())
    return _KINDS.get(kind, kind), object_id


_NAMED = {"role": "role_name", "tool": "project_path"}
"""The fields of a body that name its object: a role, or a project of a tool that has no id yet."""


def id_of(kind: str, result: object, sent: object) -> str:
    """Find the id of an object that has just been made, in what its unit has returned. Return "" if there is none."""
    body: Mapping[str, object] = cast("Mapping[str, object]", sent) if isinstance(sent, Mapping) else {}
    if named := body.get(_NAMED.get(kind, "")):
        return str(named)
    if isinstance(result, str):
        return result
    return next((str(found) for name in ("id", "api_key_id") if (found := getattr(result, name, None))), "")


class AuditedDatabase:
    """A database whose first write, in a request, brings the audit log a line."""

    def __init__(self, database: Database, recorder: Recorder) -> None:
        self.engine = database.engine
        self.database = database
        self.recorder = recorder

    async def read(self, unit: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.database.read(unit, *args, **kwargs)

    async def read_snapshot(
        self, unit: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self.database.read_snapshot(unit, *args, **kwargs)

    async def write(self, unit: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        await self.recorder.prepare()
        return await self.database.write(self.recorder.around(lambda connection: unit(connection, *args, **kwargs)))

    async def write_lazily(
        self, unit: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self.write(unit, *args, **kwargs)

    async def do(self, shortcut: Shortcut[T], /) -> T:
        return await self.write(shortcut.unit)

    async def do_lazily(self, shortcut: Shortcut[T], /) -> T:
        return await self.write(shortcut.unit)

    def close(self) -> None:
        """Do nothing: the database is the process's."""


def audited(database: Database, connection: HTTPConnection, recorder: Callable[[], Recorder]) -> Database:
    """Choose the database of a request. Return the one that brings the audit log a line, if the request is a change."""
    if connection.scope["type"] != "http" or connection.scope["method"] in _READS:
        return database
    if getattr(connection.scope.get("route"), "operation_id", None) in UNAUDITED:
        return database
    return AuditedDatabase(database, recorder())
