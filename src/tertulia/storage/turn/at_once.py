"""The claim of a new conversation, and the end of a plain turn, as statements of PostgreSQL that do all at once.

Both are made of the statements and rows of `claim` and `settle`, which remain the units that decide: see
`storage.database.shortcut`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CTE, Table, bindparam
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection
from sqlalchemy.sql.dml import Insert

from tertulia.storage.conversation import UserProfile
from tertulia.storage.database.shortcut import Numbered, Shortcut, Step
from tertulia.storage.tables import (
    api_keys,
    conversations,
    interactions,
    messages,
    services,
    streams,
    traces,
    users,
    version_sets,
)
from tertulia.storage.turn import claim as claims
from tertulia.storage.turn import settle as settling
from tertulia.storage.turn.claim import SERVICE, OpenedService
from tertulia.storage.turn.settle import COUNT, MOVE_ON, STILL_REMEMBERED
from tertulia.storage.turn.values import Claim, Lease, Opening, Settlement, Standing
from tertulia.storage.usage import ADD, addition, shard_of

_NOBODY = OpenedService(("", 0), ("", 0), {}, 0, UserProfile("", "", {}, ()))


def claim_at_once(
    unit: Callable[[Connection], Claim], opening: Opening, lease: Lease, standing: Standing
) -> Shortcut[Claim]:
    """Shorten a unit that claims a new conversation for a caller of this standing. Return the shortcut.

    Its statement does the work if the caller still has the standing, the service and its version set are there and
    active, and the user has no unfinished conversation of the service.
    """

    def read(*values: Any) -> Claim:
        *found, returning = values
        service = claims.opened_service(dict(zip(_SERVICE_COLUMNS, found, strict=True)))
        return claims.claim_of(opening, service, lease, returning=returning)

    def steps() -> list[Step]:
        row = _prefixed("c_", claims.row_of(opening, _NOBODY, lease))
        return [(_CLAIM, {**claims.keys_of(opening), **row, **asdict(standing)})]

    return Shortcut(unit, steps, read)


def settle_at_once(unit: Callable[[Connection], None], claim: Claim, made: Settlement) -> Shortcut[None]:
    """Shorten a unit that settles a plain turn. Return the shortcut; see `is_plain`.

    The statements settle nothing if the user is gone, or was forgotten since the turn was claimed: the unit runs then.
    """
    lock = (claim.org_id, shard_of(claim.user_id), claim.user_id)
    return Shortcut(unit, lambda: _settling(claim, made), _nothing, lock)


def _nothing(_conversation_id: str) -> None:
    return None


def _settling(claim: Claim, made: Settlement) -> list[Step]:
    counts = settling.counts(claim, made)
    rows = [settling.message_row(claim, message) for message in made.messages]
    parameters: dict[str, Any] = {
        **counts,
        **settling.changes(claim, made),
        **_prefixed("i_", settling.interaction_row(claim, made)),
        **_prefixed("s_", settling.stream_row(claim, made)),
        **{f"m_{column.name}": [row[column.name] for row in rows] for column in messages.columns},
    }
    statement = _SETTLE
    if made.trace is not None:
        graph = made.insights["current_graph"]
        parameters |= _prefixed("t_", settling.trace_row(claim, made.trace, graph, is_void=False))
        statement = _SETTLE_TRACED
    usage = addition(claim.org_id, claim.user_id, counts["b_bytes"]) | {"interaction_id": claim.interaction_id}
    return [(statement, parameters), (_ADD, usage)]


def is_plain(made: Settlement) -> bool:
    """Return True if a turn ends as nearly all do: in text, and its conversation goes on."""
    return not (made.finished or made.recordings or made.invocation)


def _prefixed(prefix: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in row.items()}


def _insert(table: Table, prefix: str, source: CTE) -> Insert:
    """Insert a row of parameters for each row of a source. Return the statement."""
    values = [bindparam(f"{prefix}{column.name}", type_=column.type) for column in table.columns]
    return sa.insert(table).from_select(
        [column.name for column in table.columns], sa.select(*values).select_from(source)
    )


# --- The claim -------------------------------------------------------------------------------------------------------

_mine = (
    conversations.c.org_id == bindparam("org_id"),
    conversations.c.user_id == bindparam("user_id"),
    conversations.c.service_id == bindparam("service_id"),
)
_stands = (
    users.c.role_id == bindparam("role_id"),
    users.c.granted_until.is_not_distinct_from(bindparam("granted_until", type_=users.c.granted_until.type)),
    sa.or_(
        sa.and_(
            bindparam("key_id", type_=api_keys.c.key_id.type) == "",
            bindparam("key_role_id", type_=api_keys.c.role_id.type) == "",
        ),
        sa.exists().where(
            api_keys.c.org_id == bindparam("org_id"),
            api_keys.c.key_id == bindparam("key_id"),
            api_keys.c.role_id == bindparam("key_role_id"),
        ),
    ),
)
_service = SERVICE.where(*_stands, services.c.is_active, version_sets.c.name.is_not(None)).cte("service")
_SERVICE_COLUMNS = [column.name for column in _service.columns]
_of_service = {
    "agent_id": _service.c.agent_id,
    "agent_version": _service.c.agent_version,
    "context_graph_id": _service.c.context_graph_id,
    "context_graph_version": _service.c.graph_version,
    "llm_model_preferences": _service.c.llm_model_preferences,
}
_claimed = (
    sa.insert(conversations)
    .from_select(
        [column.name for column in conversations.columns],
        sa.select(
            *(
                _of_service.get(column.name, bindparam(f"c_{column.name}", type_=column.type))
                for column in conversations.columns
            )
        )
        .select_from(_service)
        .where(~sa.exists().where(*_mine, ~conversations.c.is_finished)),
    )
    .returning(conversations.c.id)
    .cte("claimed")
)
_CLAIM = Numbered(
    sa.select(*_service.columns, sa.exists().where(*_mine, conversations.c.is_finished)).select_from(
        _service.join(_claimed, sa.true())
    )
)

# --- The end of a turn -----------------------------------------------------------------------------------------------

# The user first: see the order of locks in __init__.
_user = (
    sa.select(users.c.id)
    .where(users.c.id == bindparam("b_user_id"), STILL_REMEMBERED)
    .with_for_update(key_share=True)
    .cte("owner")
)
_settled = MOVE_ON.where(_user.c.id == bindparam("b_user_id")).returning(conversations.c.id).cte("settled")
_counted = COUNT.where(_settled.c.id == bindparam("b_id")).cte("counted")
_said = (
    sa.func.unnest(*(bindparam(f"m_{column.name}", type_=ARRAY(column.type)) for column in messages.columns))
    .table_valued(*(sa.column(column.name, column.type) for column in messages.columns), name="said")
    .render_derived()
)
_messages = sa.insert(messages).from_select(
    [column.name for column in messages.columns],
    sa.select(*_said.c).select_from(_said.join(_settled, sa.true())),
)
_plain = sa.select(_settled.c.id).add_cte(
    _counted,
    _insert(interactions, "i_", _settled).cte("interaction"),
    _messages.cte("message"),
    _insert(streams, "s_", _settled).cte("stream"),
)
_SETTLE = Numbered(_plain)
_SETTLE_TRACED = Numbered(_plain.add_cte(_insert(traces, "t_", _settled).cte("trace")))

# Only if the first statement has settled the turn, in this transaction: no row is locked for nothing.
_is_settled_now = sa.exists().where(
    interactions.c.id == bindparam("interaction_id"), sa.text("interactions.xmin = CAST(pg_current_xact_id() AS xid)")
)
_added = ADD.where(_is_settled_now).returning(sa.literal(1).label("one")).cte("added")
_ADD = Numbered(sa.select(_added.c.one))
