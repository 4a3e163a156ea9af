"""Users who are forgotten while a turn of theirs runs: it ends as any other, and tells nobody what was remembered."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from support import jobs
from support.puppet import PATIENCE_S, Puppet
from support.server import Serve, Server, UserClient
from support.stage import Stage, Switch
from support.talk import Event, begin, create, finish, go_on, id_of, interact, lines, messages
from tertulia import runtime
from tertulia.errors import ModelUnavailable
from tertulia.providers.models.registry import Models
from tertulia.storage.database import dialect
from tertulia.storage.tables import conversations, streams, traces

pytestmark = pytest.mark.both_databases

TEA = "They like green tea."
ASKED = "Which green tea would suit me today?"
FINISHED = "action-2"


@pytest.fixture(scope="module")
def _stage(serve: Serve) -> Iterator[Stage]:
    """A server that looks for jobs all the time, compares meanings, and keeps prompts."""
    switch = Switch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "POLL_S", 0.05)
        yield Stage(serve(models=Models(switch), embeddings="scripted", trace="prompts"), switch)


@pytest.fixture
def puppet(stage: Stage) -> Puppet:
    return stage.play(Puppet(choice="action-1"))


@pytest.fixture
def user(stage: Stage, puppet: Puppet) -> UserClient:
    """A user of whom one thing is remembered."""
    person = stage.user()
    reference = {"message": "m1", "quote": "I like green tea"}
    puppet.answers["ExtractMemories"] = {"memories": [{"content": TEA, "context": "", "references": [reference]}]}
    conversation_id = id_of(begin(person, stage.service(), initial_message="I like green tea."))
    assert finish(person, conversation_id).status_code == 204
    jobs.wait_until_done(stage.server)
    puppet.answers["ExtractMemories"] = {"memories": []}
    return person


def forgotten_meanwhile(puppet: Puppet, user: UserClient, conversation_id: str, text: str = ASKED) -> list[Event]:
    """Send a message, and forget all that is remembered of the user while it is answered. Return its events."""
    puppet.prompts.clear()
    puppet.asked.clear()
    puppet.hold()
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(interact, user, conversation_id, text)
        assert puppet.asked.wait(PATIENCE_S)
        forget(user)
        puppet.release(20)
        answer = turn.result(PATIENCE_S)
    assert TEA in "".join(prompt.question for prompt in puppet.prompts)
    return lines(answer)


def forget(user: UserClient) -> None:
    assert user.delete(f"/user/{user.user_id}/memory").status_code == 204


def left(server: Server, conversation_id: str) -> tuple[object, ...]:
    """Read what the database keeps that may tell memories. Return the working memory, streams and traces."""
    engine = dialect.create_engine(server.settings.cluster_urls["default"], 1)
    mine = conversations.c.id == conversation_id
    with engine.connect() as connection:
        kept = connection.execute(sa.select(conversations.c.working_memory).where(mine)).scalar()
        counts = [
            connection.execute(
                sa.select(sa.func.count()).select_from(table).where(table.c.conversation_id == conversation_id)
            ).scalar()
            for table in (streams, traces)
        ]
    engine.dispose()
    return kept, *counts


def test_a_turn_leaves_its_messages_and_nothing_that_tells_memories(
    stage: Stage, puppet: Puppet, user: UserClient
) -> None:
    conversation_id = id_of(begin(user, stage.service()))

    events = forgotten_meanwhile(puppet, user, conversation_id)

    assert events[-1]["type"] == "interaction-complete"
    said = [(message["message_type"], message["message"]) for message in messages(user, conversation_id)]
    assert said[1:] == [("user-message", ASKED), ("agent-message", "Hello there.")]
    assert left(stage.server, conversation_id) == (None, 0, 0)
    puppet.prompts.clear()
    after = go_on(user, conversation_id, "And now?")
    assert not any(TEA in prompt.question for prompt in puppet.prompts)
    assert left(stage.server, conversation_id) == (None, 1, 1)
    assert after[-1]["type"] == "interaction-complete"


def test_a_turn_that_finishes_its_conversation_leaves_nothing_either_and_its_reply_is_not_remembered(
    stage: Stage, puppet: Puppet, user: UserClient
) -> None:
    puppet.answers["ExtractMemories"] = {
        "memories": [{"content": TEA, "context": "", "references": [{"message": "m1", "quote": "Hello there"}]}]
    }
    conversation_id = id_of(begin(user, stage.service()))
    puppet.choice = FINISHED
    puppet.learned.clear()

    events = forgotten_meanwhile(puppet, user, conversation_id)
    if not events[-1]["conversation_completed"]:
        assert finish(user, conversation_id).status_code == 204
    jobs.wait_until_done(stage.server)

    assert left(stage.server, conversation_id) == (None, 0, 0)
    assert user.get(f"/user/{user.user_id}/memory").json()["memories"] == []
    assert puppet.learned == []


def test_a_turn_that_fails_leaves_no_trace(stage: Stage, puppet: Puppet, user: UserClient) -> None:
    conversation_id = id_of(begin(user, stage.service()))
    puppet.fails = ModelUnavailable("the server is away")

    events = forgotten_meanwhile(puppet, user, conversation_id)

    assert events[-1]["type"] == "error"
    assert left(stage.server, conversation_id) == (None, 0, 0)


def test_a_first_turn_that_fails_leaves_no_trace(stage: Stage, puppet: Puppet, user: UserClient) -> None:
    puppet.fails = ModelUnavailable("the server is away")
    puppet.asked.clear()
    puppet.hold()
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(create, user, stage.service(), initial_message=ASKED)
        assert puppet.asked.wait(PATIENCE_S)
        forget(user)
        puppet.release(20)
        answer = turn.result(PATIENCE_S)

    assert lines(answer)[-1]["type"] == "error"
    assert left(stage.server, answer.headers["x-tertulia-conversation-id"]) == (None, 0, 0)


def test_turns_after_that_leave_what_turns_leave(stage: Stage, puppet: Puppet, user: UserClient) -> None:
    forget(user)
    conversation_id = id_of(begin(user, stage.service()))

    go_on(user, conversation_id, ASKED)

    assert left(stage.server, conversation_id) == (None, 2, 2)
