"""Streams that are read again, by callers who may not see, or may not see any more, what an agent does."""

import httpx2
import pytest

from support.accounts import demote
from support.puppet import Puppet
from support.stage import Stage
from support.talk import begin, create, id_of, interact, lines, types

KEY = {"Idempotency-Key": "one"}


def resume(client: httpx2.Client, answer: httpx2.Response, after: int = 0) -> httpx2.Response:
    headers = answer.headers
    path = f"/conversation/{headers['X-Tertulia-Conversation-Id']}/interaction/{headers['X-Tertulia-Interaction-Id']}"
    return client.get(f"{path}/stream", params={"after": after})


@pytest.mark.parametrize("after", [1, 10, 150, 199, 250, 300])
def test_the_rest_of_a_long_stream_without_actions_is_whole(stage: Stage, after: int) -> None:
    admin, service = stage.user("DefaultAdministratorRole"), stage.service()
    conversation = id_of(begin(admin, service))
    stage.play(Puppet(*[f"word {number} {'x' * 500}" for number in range(300)]))
    told = interact(admin, conversation)
    demote(stage.server, admin.user_id)
    seen = resume(admin, told).content.splitlines(keepends=True)

    rest = resume(admin, told, after).content.splitlines(keepends=True)

    assert len(seen) > 300
    assert len(b"".join(seen)) > 150_000
    assert set(types(lines(resume(admin, told)))) == {
        "user-message-available",
        "new-message",
        "interaction-complete",
    }
    assert rest == seen[after:]


def test_a_replay_shows_no_actions_to_a_caller_who_may_not_see_them_any_more(stage: Stage) -> None:
    admin, service = stage.user("DefaultAdministratorRole"), stage.service()
    admin.headers.update(KEY)
    first = create(admin, service, initial_message="Hello")
    demote(stage.server, admin.user_id)

    again = create(admin, service, initial_message="Hello")

    assert again.headers["Idempotent-Replayed"] == "true"
    assert {"type": "current-agent-action"}.items() <= lines(first)[1].items()
    assert "current-agent-action" not in {event["type"] for event in lines(again)}
    assert lines(again)[-1] == lines(first)[-1]
