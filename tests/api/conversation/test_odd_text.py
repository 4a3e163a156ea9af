"""Characters of a model that no database takes: they are gone before anybody sees them."""

import pytest

from support.puppet import Puppet
from support.stage import Stage
from support.talk import begin, go_on, id_of, messages

pytestmark = pytest.mark.both_databases


@pytest.mark.parametrize(
    ("pieces", "stored"),
    [
        (("Hello", " a\0b", "."), "Hello ab."),
        (("Hello", "\0", "."), "Hello."),
        (("Hello ", "a\ud83db", "\udc00."), "Hello a\ufffdb\ufffd."),
        (("Hello ", "\ud83d", "\ude00", "\n"), "Hello \U0001f600\n"),
        (("Hello ", "\ud83d\ude00"), "Hello \U0001f600"),
        (("Hello ", "\ud83d"), "Hello \ufffd"),
        (("\ud83d", "a"), "\ufffda"),
    ],
    ids=ascii,
)
def test_a_reply_is_stored_as_it_was_streamed(stage: Stage, pieces: tuple[str, ...], stored: str) -> None:
    user, service_id = stage.user(), stage.service()
    stage.play(Puppet(*pieces))
    events = begin(user, service_id)
    assert "".join(event["message"] for event in events if event["type"] == "new-message") == stored
    assert [message["message"] for message in messages(user, id_of(events))] == [stored]
    stage.play(Puppet())
    assert go_on(user, id_of(events))[-1]["type"] == "interaction-complete"
