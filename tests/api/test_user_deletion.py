"""Deleting a user removes all they said; not while an agent is speaking with them."""

from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from support import jobs
from support.puppet import Puppet
from support.server import UserClient
from support.stage import Stage
from support.talk import begin
from tertulia.errors import Unavailable
from tertulia.storage import erasure
from tertulia.storage.database import dialect
from tertulia.storage.tables import conversations, interactions, messages

pytestmark = pytest.mark.both_databases


def left_of(connection: Connection, conversation_id: str) -> list[int]:
    keys = [(conversations, "id"), (interactions, "conversation_id"), (messages, "conversation_id")]
    queries = [sa.select(sa.func.count()).where(table.c[key] == conversation_id) for table, key in keys]
    return [connection.execute(query).scalar_one() for query in queries]


def count_left(stage: Stage, conversation_id: str) -> list[int]:
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    with engine.connect() as connection:
        counts = left_of(connection, conversation_id)
    engine.dispose()
    return counts


def delete(stage: Stage, user: UserClient) -> httpx2.Response:
    return stage.admin.delete(f"/user/{user.user_id}")


def test_a_deleted_users_conversations_go_too(stage: Stage) -> None:
    stage.play(Puppet())
    user = stage.user()
    conversation_id = begin(user, stage.service())[0]["conversation_id"]
    assert count_left(stage, conversation_id) == [1, 1, 1]

    assert delete(stage, user).status_code == 204

    assert count_left(stage, conversation_id) == [0, 0, 0]


def test_a_user_is_not_deleted_while_an_agent_speaks_with_them(stage: Stage) -> None:
    puppet = stage.play(Puppet("Hello."))
    puppet.hold()
    user = stage.user()

    request: dict[str, Any] = {"params": {"response_format": "text"}, "json": {"service_id": stage.service()}}

    with user.stream("POST", "/conversation/", **request) as stream:
        answer = delete(stage, user)
        puppet.release(10)
        stream.read()

    assert answer.status_code == 409
    assert answer.json() == {"detail": "A turn of one of the user's conversations is running."}
    assert delete(stage, user).status_code == 204


def test_a_long_past_is_removed_in_portions(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "PORTION_ROWS", 1)
    stage.play(Puppet())
    user = stage.user()
    conversation_id = begin(user, stage.service())[0]["conversation_id"]
    removed: list[list[int]] = []
    erase_portion = erasure.erase_portion

    def watched(connection: Connection, org_id: str, user_id: str) -> bool:
        before = sum(left_of(connection, conversation_id))
        more = erase_portion(connection, org_id, user_id)
        removed.append([before, before - sum(left_of(connection, conversation_id))])
        return more

    monkeypatch.setattr(erasure, "erase_portion", watched)

    assert delete(stage, user).status_code == 204

    assert removed[0][0] == 3
    assert sum(count for _, count in removed) == 3
    assert max(count for _, count in removed) == 1


def test_an_erasure_that_was_broken_off_is_finished_as_a_job(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.play(Puppet())
    user = stage.user()
    conversation_id = begin(user, stage.service())[0]["conversation_id"]
    erase_portion = erasure.erase_portion

    def breaks_off(*_: object) -> bool:
        raise Unavailable("The database cannot be reached.")

    monkeypatch.setattr(erasure, "erase_portion", breaks_off)
    assert delete(stage, user).status_code == 204  # the user is gone, and nobody could delete them again
    hidden = stage.admin.get(f"/conversation/{conversation_id}/messages/")
    assert count_left(stage, conversation_id) == [1, 1, 1]
    monkeypatch.setattr(erasure, "erase_portion", erase_portion)

    jobs.make_due(stage.server)
    jobs.wait_until_done(stage.server)

    assert hidden.status_code == 404
    assert stage.admin.get("/conversation/", params={"id": conversation_id}).json()["conversations"] == []
    assert count_left(stage, conversation_id) == [0, 0, 0]
