"""The past that a model is shown: bounded in messages and characters, with the oldest left out first."""

import httpx2
import pytest

from support.puppet import Puppet
from support.samples import action, annotation, graph
from support.server import Serve
from support.stage import Stage, Switch
from support.talk import begin, go_on, id_of
from tertulia.providers.models.registry import Models

MESSAGES = 8
CHARS = 1000


@pytest.fixture(scope="module")
def stage(serve: Serve) -> Stage:
    switch = Switch()
    return Stage(serve(models=Models(switch), turn={"history": MESSAGES, "history_chars": CHARS}), switch)


@pytest.fixture
def user(stage: Stage) -> httpx2.Client:
    return stage.user()


def shown(stage: Stage, user: httpx2.Client, conversation_id: str, text: str) -> list[str]:
    """The past that the model is shown when a user says something."""
    puppet = stage.play(Puppet("Answer to ", text[:20]))
    go_on(user, conversation_id, text)
    return [turn.content for turn in puppet.prompts[-1].turns[:-1]]


def test_of_many_messages_the_newest_are_shown(stage: Stage, user: httpx2.Client) -> None:
    stage.play(Puppet("Hello."))
    conversation_id = id_of(begin(user, stage.service(), initial_message="Message 0"))
    turns = [shown(stage, user, conversation_id, f"Message {number}") for number in range(1, 10)]
    assert max(map(len, turns)) <= MESSAGES + 1  # with the line that says that the conversation begins
    assert [past[-1].partition(" ")[0] for past in turns] == ["Hello.", *["Answer"] * 8]
    assert "Message 8" in turns[-1]
    assert "Message 0" not in turns[-1]


def test_the_first_message_that_is_shown_stays_for_some_turns(stage: Stage, user: httpx2.Client) -> None:
    conversation_id = id_of(begin(user, stage.service(), initial_message="Message 0"))
    firsts = [shown(stage, user, conversation_id, f"Message {number}")[0] for number in range(1, 21)]
    assert len(set(firsts)) <= 1 + 20 * 2 / (MESSAGES / 4)


def test_of_long_messages_as_many_are_shown_as_the_bound_allows(stage: Stage, user: httpx2.Client) -> None:
    conversation_id = id_of(begin(user, stage.service(), initial_message="Message 0"))
    for number in range(1, 5):
        shown(stage, user, conversation_id, f"Message {number} " + "x" * 400)
    past = shown(stage, user, conversation_id, "And now?")
    assert sum(map(len, past)) <= CHARS
    assert past[-1].startswith("Answer to Message 4")


def test_what_is_longer_than_the_bound_is_never_shown_again(stage: Stage, user: httpx2.Client) -> None:
    conversation_id = id_of(begin(user, stage.service(), initial_message="Message 0"))
    shown(stage, user, conversation_id, "y" * (CHARS + 1))
    past = shown(stage, user, conversation_id, "And now?")
    assert past == ["(The conversation begins.)", "Answer to yyyyyyyyyyyyyyyyyyyy"]


def test_a_turn_tells_its_message_though_nothing_of_the_past_is_shown(stage: Stage, user: httpx2.Client) -> None:
    stage.play(Puppet("z" * (CHARS + 1)))
    conversation_id = id_of(begin(user, stage.service(), initial_message="Message 0"))
    stage.play(Puppet())
    assert next(event["type"] for event in go_on(user, conversation_id, "Hello")) == "user-message-available"


def test_thoughts_take_no_messages_place(stage: Stage, user: httpx2.Client) -> None:
    thoughtful = graph(
        action("start", "think"),
        *(annotation(f"think{n}" if n else "think", f"think{n + 1}") for n in range(6)),
        annotation("think6", "back"),
        action("back", "think"),
        action("end"),
    )
    conversation_id = id_of(begin(user, stage.service(thoughtful), initial_message="Message 0"))
    stage.play(Puppet(choice="exit-1"))
    go_on(user, conversation_id, "Message 1")
    puppet = stage.play(Puppet(choice="action-1"))
    go_on(user, conversation_id, "Message 2")
    prompt = puppet.prompts[-1]
    assert [turn.content for turn in prompt.turns if turn.role == "user"] == ["Message 0", "Message 1", "Message 2"]
    assert prompt.question.count("Thought of think") == 3
