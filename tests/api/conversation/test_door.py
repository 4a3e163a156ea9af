"""The door before turns: a caller is who they are at the moment of the write, and no turn lasts for ever."""

import pytest
from sqlalchemy.engine import Connection

from support.puppet import Puppet
from support.server import Serve
from support.stage import Stage, Switch
from support.talk import begin, create, finish, id_of, interact, lines
from tertulia.api.conversation import door, gate
from tertulia.auth import roles
from tertulia.auth.actor import Actor, StaleActor, confirm_actor
from tertulia.providers.models.registry import Models
from tertulia.storage import user as storage
from tertulia.storage.user import UserRole


class Unsure:
    """Takes a caller for another one so many times, then looks."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, connection: Connection, actor: Actor) -> None:
        self.left -= 1
        if self.left >= 0:
            raise StaleActor
        confirm_actor(connection, actor)


@pytest.mark.parametrize(("times", "status"), [(0, 201), (2, 201), (100, 409)])
def test_a_caller_whose_role_changes_meanwhile_is_looked_for_anew(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, times: int, status: int
) -> None:
    user, service = stage.user(), stage.service()
    monkeypatch.setattr(gate, "confirm_actor", Unsure(times))
    assert create(user, service).status_code == status


@pytest.mark.parametrize(("before", "status"), [("root", 403), ("user", 204)])
def test_a_caller_whom_nobody_has_seen_has_the_rights_of_their_own_role(stage: Stage, before: str, status: int) -> None:
    service = stage.service()
    caller = stage.root if before == "root" else stage.user()
    conversation_id = id_of(begin(caller, service))
    new = stage.user(roles.USER if before == "root" else roles.ADMINISTRATOR)
    assert finish(new, conversation_id).status_code == status


def test_first_requests_of_many_users_read_one_role(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    service = stage.service()
    users = [stage.user() for _ in range(4)]
    loaded: list[str] = []
    find_role_of = storage.find_role_of

    def counting(connection: Connection, org_id: str, user_id: str, key_id: str = "") -> UserRole | None:
        loaded.append(user_id)
        return find_role_of(connection, org_id, user_id, key_id)

    monkeypatch.setattr(storage, "find_role_of", counting)
    for user in users:
        begin(user, service)
    assert len(loaded) <= 1


def test_a_caller_who_is_deleted_meanwhile_is_nobody(stage: Stage) -> None:
    user, service = stage.user(), stage.service()
    conversation_id = id_of(begin(user, service))
    assert stage.root.delete(f"/user/{user.user_id}").status_code == 204
    assert create(user, service).status_code == 401
    assert interact(user, conversation_id).status_code == 401
    assert finish(user, conversation_id).status_code == 401


def test_a_conversation_is_finished_as_who_the_caller_is_now(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    user = stage.user()
    conversation_id = id_of(begin(user, stage.service()))
    unsure = Unsure(1)
    monkeypatch.setattr(door, "confirm_actor", unsure)
    assert finish(user, conversation_id).status_code == 204
    assert unsure.left == -1


def test_a_turn_that_takes_too_long_as_a_whole_is_void_and_says_so(serve: Serve) -> None:
    switch = Switch()
    stage = Stage(serve(models=Models(switch), turn={"total_s": 0.2}), switch)
    puppet = stage.play(Puppet())
    puppet.hold()
    user, service = stage.user(), stage.service()
    [_, error] = lines(create(user, service, initial_message="Hello"))
    puppet.release(10)
    assert error == {
        "type": "error",
        "http_error_code": 503,
        "error_description": "The turn took longer than 0.2 seconds.",
    }
    stage.play(Puppet())
    assert create(user, service).status_code == 201
