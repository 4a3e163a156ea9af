"""The audit log: who did what to which object, when, from where; append only, a chain of digests per organization.

A line's digest covers the digest before it, so that nobody who can only write to the database removes, alters or adds
a line without a trace: digests are made with a key that is not in the database. What a line says of persons and of
changes is covered by a digest of its own, which stands in the chain: an erasure takes the content out, and the chain
holds all the same. The row of the head is locked last by a unit that writes a line, and so for a moment only.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy import ColumnElement, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.prepared import Prepared, PreparedSelect, insert
from tertulia.storage.database.rows import columns, find_row, list_rows, row_of
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import audit_heads, audit_lines

_log = structlog.get_logger()

PORTION = 500
"""Lines that one transaction reads or removes at most."""

ERASED = "erased"
"""The text that stands where something of an erased person stood."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A line to be written: somebody's act on an object, and the change that it makes, as JSON."""

    org_id: str
    action: str
    object_kind: str
    object_id: str
    actor_org_id: str
    actor_user_id: str
    api_key_id: str
    address: str
    request_id: str
    change: str


@dataclass(frozen=True, slots=True)
class AuditLine(AuditEntry):
    """An entry that was written: a line of the log.

    `erased_digest` is None unless an erasure has taken the content out.
    """

    number: int
    at: datetime
    content_digest: str
    erased_digest: str | None
    digest: str

    @property
    def attributes(self) -> Mapping[str, object]:
        """The attributes that a permission's conditions can name."""
        return {"org_id": self.org_id}


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a log: number and digest of its last line; and its base, the last line that was removed for its age.

    `number` and `base_number` are 0 before the first line, and before the first that was removed.
    """

    org_id: str
    number: int
    digest: str
    base_number: int
    base_digest: str
    base_seal: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """A choice of lines, by all that is given; `since` is included, `until` is not."""

    number: Sequence[int] = ()
    actor_user_id: Sequence[str] = ()
    object_kind: Sequence[str] = ()
    object_id: Sequence[str] = ()
    action: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None


COLUMNS: Mapping[str, ColumnElement[Any]] = {"org_id": audit_lines.c.org_id}
SORTABLE: Mapping[str, ColumnElement[Any]] = {"at": audit_lines.c.at}


# --- Digests ---------------------------------------------------------------------------------------------------------


def _digest(key: bytes, *parts: object) -> str:
    return hmac.new(key, msgspec.json.encode(parts), hashlib.sha256).hexdigest()


def _content_digest(key: bytes, line: AuditLine, kind: str = "content") -> str:
    said = (line.object_id, line.actor_org_id, line.actor_user_id, line.api_key_id, line.address, line.request_id)
    return _digest(key, kind, line.org_id, line.number, *said, line.change)


def _line_digest(key: bytes, before: str, line: AuditLine) -> str:
    at = clock.to_microseconds(line.at)
    return _digest(key, before, line.org_id, line.number, at, line.action, line.object_kind, line.content_digest)


def _says_what_it_said(key: bytes, line: AuditLine) -> bool:
    if line.erased_digest is None:
        return line.content_digest == _content_digest(key, line)
    return line.erased_digest == _content_digest(key, line, ERASED)


def _base_seal(key: bytes, org_id: str, number: int, digest: str) -> str:
    return _digest(key, "base", org_id, number, digest)


def digest_of_proof(key: bytes, *parts: object) -> str:
    """Make a digest of a proof, which nobody can make without the key. Return it."""
    return _digest(key, "proof", *parts)


# --- Writing ---------------------------------------------------------------------------------------------------------


def append_line(connection: Connection, key: bytes, entry: AuditEntry) -> AuditLine:
    """Write a line at the end of a log. Return it.

    The unit has to do this last: other writers of the organization's log wait from here to its commit.
    """
    head = _lock_head(connection, key, entry.org_id)
    line = AuditLine(
        **row_of(entry), number=head.number + 1, at=clock.now(), content_digest="", erased_digest=None, digest=""
    )
    line = replace(line, content_digest=_content_digest(key, line))
    line = replace(line, digest=_line_digest(key, head.digest, line))
    _APPEND.run(connection, row_of(line))
    _MOVE_HEAD.run(connection, {"at": entry.org_id, "number": line.number, "digest": line.digest})
    return line


_APPEND = insert(audit_lines)
_MOVE_HEAD = Prepared(
    sa.update(audit_heads)
    .where(audit_heads.c.org_id == bindparam("at"))
    .values(number=bindparam("number"), digest=bindparam("digest"))
)
_HEAD = PreparedSelect(
    Head, sa.select(*columns(Head, audit_heads)).where(audit_heads.c.org_id == bindparam("org_id")).with_for_update()
)


def _lock_head(connection: Connection, key: bytes, org_id: str) -> Head:
    """Lock the end of a log, and make it before the first line. Return it."""
    head = _HEAD.first(connection, {"org_id": org_id})
    if head is not None:
        return head
    first = Head(org_id, 0, "", 0, "", _base_seal(key, org_id, 0, ""))
    dialect_insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(dialect_insert(audit_heads).values(**row_of(first)).on_conflict_do_nothing())
    found = _HEAD.first(connection, {"org_id": org_id})  # ours, or that of another who was here first
    return first if found is None else found


# --- Reading ---------------------------------------------------------------------------------------------------------


def list_lines(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: AuditFilter,
    sort: Sort,
    window: Window,
) -> Page[AuditLine]:
    """List the lines of a log that are visible, the newest first unless sorted otherwise. Return a page."""
    query = sa.select(*columns(AuditLine, audit_lines)).where(audit_lines.c.org_id == org_id, visible)
    for name in ("number", "actor_user_id", "object_kind", "object_id", "action"):
        if values := getattr(narrow, name):
            query = query.where(among(audit_lines.c[name], values))
    if narrow.since is not None:
        query = query.where(audit_lines.c.at >= narrow.since)
    if narrow.until is not None:
        query = query.where(audit_lines.c.at < narrow.until)
    ordered = query.order_by(*ordering(sort, SORTABLE, audit_lines.c.number.desc()))
    return fetch_page(connection, ordered, window, AuditLine)


def find_head(connection: Connection, org_id: str) -> Head | None:
    """Look for the end of a log. Return it, or None if nothing has ever been written."""
    return find_row(connection, sa.select(*columns(Head, audit_heads)).where(audit_heads.c.org_id == org_id), Head)


def list_after(connection: Connection, org_id: str, number: int) -> Sequence[AuditLine]:
    """List the lines after a number, the oldest first. Return a portion of them."""
    query = sa.select(*columns(AuditLine, audit_lines)).where(
        audit_lines.c.org_id == org_id, audit_lines.c.number > number
    )
    return list_rows(connection, query.order_by(audit_lines.c.number).limit(PORTION), AuditLine)


# --- Verifying -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verified:
    """The outcome of a verification: how many lines there are, how many were erased, and what is wrong, if anything."""

    lines: int
    erased: int
    number: int
    digest: str
    problems: tuple[str, ...]


MOST_PROBLEMS = 20
"""Problems that a verification tells at most."""


def _base_of(head: Head | None) -> int:
    return 0 if head is None else head.base_number


def verify(connection: Connection, key: bytes, org_id: str, expected: Mapping[int, str]) -> Verified:
    """Verify a log, in a transaction whose statements all see the same. Return the outcome."""
    verifier = Verifier(key, find_head(connection, org_id), expected)
    while lines := list_after(connection, org_id, verifier.number):
        verifier.take(lines)
    return verifier.end()


class Verifier:
    """A verification of a log, portion by portion, from the base to the head.

    `expected` are digests of lines that were noted before, by their numbers: a log that ends too early lacks them.
    """

    def __init__(self, key: bytes, head: Head | None, expected: Mapping[int, str]) -> None:
        self._key = key
        self._expected = {number: digest for number, digest in expected.items() if number > _base_of(head)}
        self._head = head
        self.number = _base_of(head)
        self._digest = "" if head is None else head.base_digest
        self._lines = self._erased = 0
        self.problems: list[str] = []
        if head is not None and head.base_seal != _base_seal(key, head.org_id, head.base_number, head.base_digest):
            self.problems.append(f"the lines up to {head.base_number} were not removed by the server for their age")

    def take(self, lines: Iterable[AuditLine]) -> None:
        """Verify the lines that come next."""
        for line in lines:
            if line.number != self.number + 1:
                self._note(f"lines {self.number + 1} to {line.number - 1} are missing")
                self._digest = ""
            elif line.digest != _line_digest(self._key, self._digest, line):
                self._note(f"line {line.number} was altered, or does not follow the line before it")
            if not _says_what_it_said(self._key, line):
                self._note(f"the content of line {line.number} was altered")
            self.number, self._digest = line.number, line.digest
            if self._expected.get(line.number) == line.digest:
                del self._expected[line.number]
            self._lines += 1
            self._erased += line.erased_digest is not None

    def end(self) -> Verified:
        """Verify the end of the log. Return the outcome."""
        head = self._head
        if head is None and self._lines:
            self._note("the head of the log is missing")
        if head is not None and (head.number, head.digest) != (self.number, self._digest):
            self._note(f"the log ends at line {self.number}, and its head says {head.number}")
        for number in sorted(self._expected):
            self._note(f"line {number} is not the one that was noted")
        return Verified(self._lines, self._erased, self.number, self._digest, tuple(self.problems))

    def _note(self, problem: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


# --- Removing --------------------------------------------------------------------------------------------------------


def list_logs(connection: Connection) -> Sequence[str]:
    """List the organizations that have a log. Return their identifiers."""
    return connection.execute(sa.select(audit_heads.c.org_id).order_by(audit_heads.c.org_id)).scalars().all()


def purge_lines(connection: Connection, key: bytes, org_id: str, before: datetime) -> bool:
    """Remove a portion of the lines of a log that were written before a time. Return True if there may be more.

    Lines that were altered stay, and those behind them: who sets their times back does not have them removed.
    """
    head = _lock_head(connection, key, org_id)
    lines = list_after(connection, org_id, head.base_number)
    old = [line.number for line in lines if line.at < before]
    if not old:
        return False
    gone = [line for line in lines if line.number <= old[-1]]
    verifier = Verifier(key, head, {})
    verifier.take(gone)
    if verifier.problems:
        _log.error("audit log altered", organization=org_id, reason=verifier.problems[0])
        return False
    number, digest = gone[-1].number, gone[-1].digest
    connection.execute(sa.delete(audit_lines).where(audit_lines.c.org_id == org_id, audit_lines.c.number <= number))
    seal = _base_seal(key, org_id, number, digest)
    connection.execute(
        sa.update(audit_heads)
        .where(audit_heads.c.org_id == org_id)
        .values(base_number=number, base_digest=digest, base_seal=seal)
    )
    return len(old) == PORTION


# --- Erasing ---------------------------------------------------------------------------------------------------------


def pseudonym(key: bytes, org_id: str, user_id: str) -> str:
    """Return the name that stands for an erased person: the same for each line, and known to nobody without the key."""
    return f"{ERASED}-{_digest(key, 'person', org_id, user_id)[:24]}"


@dataclass(frozen=True, slots=True)
class ErasedPerson:
    """A person as the lines of a log may name them: by identifier, by texts of theirs, by their conversations."""

    user_id: str
    texts: Sequence[str]
    conversation_ids: Set[str] = frozenset()


def erase_content(connection: Connection, key: bytes, org_id: str, erased: ErasedPerson, after: int) -> tuple[int, int]:
    """Take a person out of a portion of a log's lines after a number. The lines stay, and so does the chain.

    Of what the person did, it stays that somebody did it. Return how many lines were changed, and the number to go on
    after: the same again at the end.
    """
    _lock_head(connection, key, org_id)
    lines = list_after(connection, org_id, after)
    instead = pseudonym(key, org_id, erased.user_id)
    changed = 0
    for line in lines:
        left = _without(line, erased, instead)
        if left != line:
            is_true = _says_what_it_said(key, line)  # else it was altered, and goes on to be found out
            left = replace(left, erased_digest=_content_digest(key, left, ERASED) if is_true else "")
            this = sa.and_(audit_lines.c.org_id == org_id, audit_lines.c.number == line.number)
            connection.execute(sa.update(audit_lines).where(this).values(row_of(left)))
            changed += 1
    return changed, lines[-1].number if lines else after


_ID = re.compile(r"[0-9a-f]{24}")


def _conversations_in(text: str, erased: ErasedPerson) -> set[str]:
    return {found for found in _ID.findall(text) if found in erased.conversation_ids}


def _without(line: AuditLine, erased: ErasedPerson, instead: str) -> AuditLine:
    """Return a line that says nothing of a person any more."""
    user_id = erased.user_id
    if line.actor_user_id == user_id:
        line = replace(line, actor_user_id=instead, api_key_id="", address="", request_id="")
    for name in (user_id, *_conversations_in(line.object_id, erased)):
        if name in line.object_id:
            line = replace(line, object_id=line.object_id.replace(name, instead), change="{}")
    said = line.change.lower()
    texts = (msgspec.json.encode(text.lower()).decode()[1:-1] for text in (user_id, *erased.texts))
    if any(text in said for text in texts) or _conversations_in(said, erased):
        line = replace(line, change="{}")
    return line
