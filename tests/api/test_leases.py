"""A conversation whose turn is gone is free again when its lease has ended, however busy its worker is."""

import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from conftest import Serve
from support.puppet import PATIENCE_S, Puppet
from support.stage import Stage, Switch
from support.talk import create, lines, types
from tertulia.errors import ModelUnavailable, Unavailable
from tertulia.providers.registry import Models
from tertulia.storage import turn
from tertulia.storage.database import PostgresDatabase, SqliteDatabase

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


def _insist(request: Callable[[], httpx2.Response]) -> httpx2.Response:
    """Repeat a request while another operation is running; nothing else tells when it will have ended."""
    until = time.monotonic() + PATIENCE_S
    while (answer := request()).status_code == 409 and time.monotonic() < until:
        time.sleep(0.05)
    return answer


def _failing_to_abandon(write: Callable[..., Any]) -> Callable[..., Any]:
    async def writing(this: Any, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if unit is turn.abandon:
            raise Unavailable("The database cannot be reached.")
        return await write(this, unit, *args, **kwargs)

    return writing
