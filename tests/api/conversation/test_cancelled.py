"""Turns that are cancelled while the database is away."""

from typing import Any

import pytest

from support.puppet import Puppet
from support.stage import Stage
from support.talk import begin, id_of, interact
from tertulia.engine.turns import runner
from tertulia.errors import Unavailable
from tertulia.storage.turn.settle import abandon


class Away:
    """A database that is away for a number of attempts to abandon a turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
        self.left = attempts
        monkeypatch.setattr(runner, "SUPERVISION_S", 0.01)
        monkeypatch.setattr(runner, "abandon", self._abandon)

    def _abandon(self, *arguments: Any) -> bool:
        if self.left:
            self.left -= 1
            raise Unavailable("The database cannot be reached.")
        return abandon(*arguments)


def test_a_cancellation_waits_until_nothing_remains(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    user = stage.user()
    conversation = id_of(begin(user, stage.service()))
    stage.play(Puppet()).hold()
    away = Away(monkeypatch, 3)
    request: dict[str, Any] = {
        "params": {"request_format": "text", "response_format": "text"},
        "files": [("initial_message_type", (None, "user-message")), ("recorded_message", (None, "Hello"))],
    }

    with user.stream("POST", f"/conversation/{conversation}/interact", **request) as stream:
        interaction = stream.headers["X-Tertulia-Interaction-Id"]
        cancelled = user.post(f"/conversation/{conversation}/interaction/{interaction}/cancel")
        stream.read()

    assert cancelled.status_code == 204
    assert away.left == 0
    assert '"type":"error"' in stream.text.splitlines()[-1]
    assert user.get(f"/conversation/{conversation}/interaction/{interaction}/stream").status_code == 404
    stage.play(Puppet())
    assert interact(user, conversation).status_code == 200
