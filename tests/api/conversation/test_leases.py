"""A conversation whose turn is gone is free again when its lease has ended, however busy its worker is."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from support import spoken
from support.live import patiently
from support.puppet import PATIENCE_S, Puppet
from support.server import Serve
from support.stage import Stage, Switch
from support.talk import begin, create, id_of, lines, types
from tertulia.audio.decode import decode
from tertulia.errors import ModelUnavailable, Unavailable
from tertulia.providers.models.registry import Models
from tertulia.storage.database import dialect
from tertulia.storage.database.units import PostgresDatabase, SqliteDatabase
from tertulia.storage.tables import conversations
from tertulia.storage.turn.settle import abandon

pytestmark = pytest.mark.both_databases

LEASE_S = 1


def test_a_turn_that_could_not_be_abandoned_is_not_kept_alive_by_its_workers_others(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = Switch()
    stage = Stage(serve(models=Models(switch), turn={"lease_s": LEASE_S}), switch)
    service, unlucky, busy = stage.service(), stage.user(), stage.user()
    stage.play(Puppet(fails=ModelUnavailable("gone")))
    with monkeypatch.context() as patched:
        for kind in (SqliteDatabase, PostgresDatabase):
            patched.setattr(kind, "write", _failing_to_abandon(kind.write))
        assert types(lines(create(unlucky, service)))[-1] == "error"
    held = stage.play(Puppet())
    held.hold()
    with busy.stream(
        "POST", "/conversation/", params={"response_format": "text"}, json={"service_id": service}
    ) as running:
        stage.play(Puppet())
        assert _insist(lambda: create(unlucky, service)).status_code == 201
        held.release(4)
        assert b"interaction-complete" in running.read()


def test_a_conversation_is_kept_for_a_recording_that_takes_long_to_decode(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, decoding, go_on = serve(turn={"lease_s": LEASE_S}), threading.Event(), threading.Event()

    def decode_slowly(*args: Any) -> Any:
        decoding.set()
        assert go_on.wait(PATIENCE_S)
        return decode(*args)

    monkeypatch.setattr("tertulia.audio.decode.decode", decode_slowly)
    conversation_id = id_of(begin(server.as_user, server.demo.service_id))
    engine = dialect.create_engine(server.settings.cluster_urls["default"], 1)
    query = sa.select(conversations.c.lease_expires_at).where(conversations.c.id == conversation_id)

    def lease_ends() -> datetime:
        with engine.connect() as connection:
            return connection.execute(query).scalar_one()

    with ThreadPoolExecutor() as pool:
        answer = pool.submit(spoken.send, server.as_user, conversation_id, spoken.said("Hi"), spoken.BARE)
        assert decoding.wait(PATIENCE_S)
        first = lease_ends()
        patiently(lambda: lease_ends() > first)
        go_on.set()
        assert answer.result().status_code == 200
    engine.dispose()


def _insist(request: Callable[[], httpx2.Response]) -> httpx2.Response:
    """Repeat a request while another operation is running; nothing else tells when it will have ended."""
    until = time.monotonic() + PATIENCE_S
    while (answer := request()).status_code == 409 and time.monotonic() < until:
        time.sleep(0.05)
    return answer


def _failing_to_abandon(write: Callable[..., Any]) -> Callable[..., Any]:
    async def writing(this: Any, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if unit is abandon:
            raise Unavailable("The database cannot be reached.")
        return await write(this, unit, *args, **kwargs)

    return writing
