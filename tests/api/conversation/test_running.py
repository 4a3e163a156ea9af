"""The turns that run now: whoever may see the conversation sees its turn, and nobody else."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2

from support.puppet import Puppet
from support.stage import Stage
from support.talk import begin, id_of
from tertulia.cli import installation

SAID: dict[str, Any] = {
    "params": {"request_format": "text", "response_format": "text"},
    "files": [("initial_message_type", (None, "user-message")), ("recorded_message", (None, "Hello"))],
}


@contextmanager
def speaking(user: httpx2.Client, conversation: str) -> Generator[str]:
    """Have a turn of a conversation run while the block does. Yield its interaction."""
    with user.stream("POST", f"/conversation/{conversation}/interact", **SAID) as stream:
        interaction = stream.headers["X-Tertulia-Interaction-Id"]
        yield interaction
        user.post(f"/conversation/{conversation}/interaction/{interaction}/cancel").raise_for_status()
        stream.read()


def running(client: httpx2.Client, **filters: Any) -> list[str]:
    answer = client.get("/conversation/running", params=filters)
    assert answer.status_code == 200, answer.text
    return [each["interaction_id"] for each in answer.json()["running_interactions"]]


def of_another_organization(stage: Stage) -> httpx2.Client:
    other = installation.make_demo(stage.server.settings, "other", None)
    token = installation.issue_token(stage.server.settings, "other", other.super_user_id, administrator=True).token
    client = stage.server.client(token)
    client.base_url = f"{stage.server.url}/v1/other"
    return client


def test_a_running_turn_is_listed_for_whoever_may_see_its_conversation(stage: Stage) -> None:
    user, neighbour = stage.user(), stage.user()
    private = stage.user(user_preferences={"conversations_visible_to_admins": False})
    foreigner = of_another_organization(stage)
    service = stage.service()
    conversations = [id_of(begin(each, service)) for each in (user, private)]
    stage.play(Puppet()).hold()

    with ExitStack() as turns:
        shown, hidden = (
            turns.enter_context(speaking(each, conversation))
            for each, conversation in zip((user, private), conversations, strict=True)
        )
        assert running(user) == [shown]
        assert running(private) == [hidden]
        assert running(stage.admin) == [shown]
        for stranger in (neighbour, foreigner):
            assert running(stranger) == []
            assert running(stranger, conversation_id=conversations) == []
            assert running(stranger, user_id=[user.user_id, private.user_id]) == []
            assert running(stranger, service_id=service) == []
        assert running(stage.admin, conversation_id=conversations, user_id=private.user_id) == []
        grant = {
            "user_id": stage.server.demo.admin_user_id,
            "duration": "PT1M",
            "permission_grant": {"permission_name": "Conversation:GetConversation", "conditions": {}},
            "tags": {},
            "justification": "To see what runs.",
        }
        stage.root.post("/role/temporary_permission_grant/", json=grant).raise_for_status()
        assert running(stage.admin) == [shown, hidden]

    assert running(user) == []
