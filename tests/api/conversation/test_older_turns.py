"""Turns as versions stored them that packed nothing: read back as they were told."""

import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from support.puppet import Puppet
from support.stage import Stage
from support.talk import begin, go_on, id_of
from tertulia.storage.database import dialect
from tertulia.storage.insights import unpack_insights
from tertulia.storage.tables import interactions, messages, streams, traces
from tertulia.storage.turn import packed
from tertulia.storage.turn.values import Message

pytestmark = pytest.mark.both_databases

SAID = 'A word, "words", a backslash \\ and é — then more of them.'


def test_turns_that_older_versions_stored_are_read_back(stage: Stage) -> None:
    admin = stage.user("DefaultAdministratorRole")
    conversation = id_of(begin(admin, stage.service()))
    stage.play(Puppet(*SAID.split(" ")))
    turn = f"/conversation/{conversation}/interaction/{go_on(admin, conversation, SAID)[-1]['interaction_id']}"
    asked = [f"{turn}/insights", f"{turn}/trace", f"{turn}/stream"]
    told = [admin.get(path) for path in asked]

    _store_as_before(stage)

    assert [answer.status_code for answer in told] == [200, 200, 200]
    assert [admin.get(path).content for path in asked] == [answer.content for answer in told]


def _store_as_before(stage: Stage) -> None:
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    with engine.begin() as connection:
        _rewrite(connection, interactions.c.insights, lambda row: unpack_insights(row.insights))
        _rewrite(connection, traces.c.body, _trace)
        _rewrite(connection, streams.c.body, lambda row: zlib.compress(_stream(connection, row), 1))
    engine.dispose()


def _rewrite(connection: Connection, column: sa.Column[Any], older: Callable[[Any], Any]) -> None:
    [key] = column.table.primary_key
    rows = connection.execute(sa.select(column.table)).all()
    assert rows
    for row in rows:
        assert older(row) != getattr(row, column.key)
        changed = sa.update(column.table).where(key == getattr(row, key.key))
        connection.execute(changed.values({column.key: older(row)}))


def _trace(row: Any) -> bytes:
    body = packed.unpack_trace(row.body, row.conversation_id, row.interaction_id)
    assert json.loads(body)
    return body


def _stream(connection: Connection, row: Any) -> bytes:
    query = sa.select(*(messages.c[name] for name in Message.__dataclass_fields__))
    said = [
        Message(*found) for found in connection.execute(query.where(messages.c.interaction_id == row.interaction_id))
    ]
    body = packed.unpack(row.body, packed.dictionary_of_stream(row.interaction_id, said))
    assert all(map(json.loads, body.splitlines()))
    return body
