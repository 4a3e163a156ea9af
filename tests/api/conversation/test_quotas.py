"""Quotas: the bytes that the conversations of a user, and of an organization, may hold."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from support import samples, spoken, talk
from support.puppet import Puppet
from support.server import Server, UserClient
from support.stage import Stage, Switch
from tertulia.audio.pcm import RATE, wav
from tertulia.providers.models.registry import Models
from tertulia.storage.database import dialect
from tertulia.storage.tables import messages, organization_usage, recordings, users

pytestmark = pytest.mark.both_databases

MOST = 4000
WORDS = "x" * 1500


@pytest.fixture(scope="module")
def make(serve: Callable[..., Server]) -> Callable[..., Stage]:
    def made(**limit: int) -> Stage:
        switch = Switch()
        stage = Stage(serve(models=Models(switch), limit=limit), switch)
        stage.play(Puppet("Yes."))
        return stage

    return made


@pytest.fixture(scope="module")
def of_user(make: Callable[..., Stage]) -> Stage:
    return make(user_stored_bytes=MOST)


def counted(stage: Stage, user: UserClient) -> tuple[int, int]:
    """The bytes that are counted for a user, and those that are stored."""
    user_id = user.user_id
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    with engine.connect() as connection:
        count = connection.execute(sa.select(users.c.stored_bytes).where(users.c.id == user_id)).scalar_one()
        ids = [row["id"] for row in talk.conversations(user)]
        texts = connection.execute(sa.select(messages.c.content).where(messages.c.conversation_id.in_(ids))).scalars()
        sound = connection.execute(
            sa.select(sa.func.coalesce(sa.func.sum(recordings.c.size), 0)).where(recordings.c.conversation_id.in_(ids))
        ).scalar_one()
        stored = sum(len(text.encode()) for text in texts) + int(sound)
    engine.dispose()
    return count, stored


def organization_bytes(stage: Stage) -> int:
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    with engine.connect() as connection:
        found = connection.execute(sa.select(sa.func.sum(organization_usage.c.stored_bytes))).scalar_one()
    engine.dispose()
    return int(found)


def test_a_turn_begins_while_there_is_room_and_not_afterwards(of_user: Stage) -> None:
    user, service_id = of_user.user(), of_user.service()
    conversation_id = talk.id_of(talk.begin(user, service_id))
    for _ in range(3):
        talk.go_on(user, conversation_id, WORDS)
    held, stored = counted(of_user, user)
    assert held == stored >= MOST

    refused = talk.interact(user, conversation_id, "One more.")

    detail = f"The conversations of the user hold {held} bytes, and {MOST} is the most they may."
    assert (refused.status_code, refused.json()) == (400, {"detail": detail})
    assert len(talk.messages(user, conversation_id)) == 7
    assert talk.finish(user, conversation_id).status_code == 204
    assert talk.create(user, service_id).json() == {"detail": detail}
    assert talk.begin(of_user.user(), service_id)


def test_what_was_sent_before_is_replayed_though_there_is_no_room_now(of_user: Stage) -> None:
    user, service_id = of_user.user(), of_user.service()
    conversation_id = talk.id_of(talk.begin(user, service_id))
    user.headers["Idempotency-Key"] = "once"
    first = talk.interact(user, conversation_id, WORDS * 3)
    del user.headers["Idempotency-Key"]
    assert talk.interact(user, conversation_id, "More.").status_code == 400

    user.headers["Idempotency-Key"] = "once"
    again = talk.interact(user, conversation_id, WORDS * 3)

    assert (again.status_code, again.content) == (200, first.content)


def test_sound_takes_room_too(of_user: Stage) -> None:
    user = of_user.user()
    service_id = of_user.service(agent_id=samples.make_agent(of_user.admin, voice_config={"voice_id": "default"}))
    conversation_id = talk.id_of(talk.begin(user, service_id))
    said = wav(spoken.said("Is there a book about tea?"), RATE)
    assert spoken.send(user, conversation_id, said, spoken.BARE).status_code == 200

    held, stored = counted(of_user, user)

    assert held == stored > len(said)
    assert talk.interact(user, conversation_id, "More.").status_code == 400


def test_an_organization_has_a_quota_and_a_deleted_user_gives_room_back(make: Callable[..., Stage]) -> None:
    stage = make(organization_stored_bytes=MOST)
    heavy, light, service_id = stage.user(), stage.user(), stage.service()
    begun = talk.id_of(talk.begin(light, service_id))
    before = organization_bytes(stage)
    talk.go_on(heavy, talk.id_of(talk.begin(heavy, service_id)), WORDS * 3)
    assert organization_bytes(stage) == before + counted(stage, heavy)[0]

    refused = talk.interact(light, begun, "Hello")
    assert (refused.status_code, "of the organization hold" in refused.text) == (400, True)

    assert stage.admin.delete(f"/user/{heavy.user_id}").status_code == 204
    assert organization_bytes(stage) == before
    assert talk.go_on(light, begun, "Hello")


def test_without_a_quota_nothing_is_refused(make: Callable[..., Stage]) -> None:
    stage = make()
    user = stage.user()
    conversation_id = talk.id_of(talk.begin(user, stage.service()))
    for _ in range(4):
        assert talk.go_on(user, conversation_id, WORDS)
