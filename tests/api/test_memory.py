"""Memory: what was said is remembered, nothing else is, and what is to be forgotten is gone with all made of it."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from support import jobs
from support.puppet import Puppet
from support.server import Serve, UserClient
from support.stage import Stage, Switch
from support.talk import begin, conversations, finish, go_on, id_of, messages
from tertulia import runtime
from tertulia.background import jobs as background_jobs
from tertulia.errors import ModelUnavailable
from tertulia.providers.base import Prompt
from tertulia.providers.models.registry import Models
from tertulia.storage import tables
from tertulia.storage.database import dialect

pytestmark = pytest.mark.both_databases

Json = dict[str, Any]

DIMENSIONS = [{"description": "Where they live", "tags": ["home"]}, {"description": "What they eat", "tags": []}]


def told(content: str, quote: Any, message: Any = "m1", **fields: Any) -> Json:
    """A memory as a model tells it."""
    return {"content": content, "context": "", "references": [{"message": message, "quote": quote}], **fields}


def learn(puppet: Puppet, *memories: Json) -> None:
    puppet.answers["ExtractMemories"] = {"memories": list(memories)}


def said_and_finished(stage: Stage, user: UserClient, text: str, **body: Any) -> str:
    """Hold a conversation with one message of the user. Return its identifier when it has been processed."""
    conversation_id = id_of(begin(user, stage.service(), initial_message=text, **body))
    assert finish(user, conversation_id).status_code == 204
    jobs.wait_until_done(stage.server)
    return conversation_id


def remembered(client: httpx2.Client, user: UserClient, **query: Any) -> list[Json]:
    answer = client.get(f"/user/{user.user_id}/memory", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["memories"]


def models_of(user: UserClient) -> list[Json]:
    answer = user.get(f"/user/{user.user_id}/user_model")
    assert answer.status_code == 200, answer.text
    return answer.json()["user_models"]


def contents(client: httpx2.Client, user: UserClient) -> list[str]:
    return [memory["content"] for memory in remembered(client, user)]


@pytest.fixture(scope="module")
def _stage(serve: Serve) -> Iterator[Stage]:
    """A server that looks for jobs all the time."""
    switch = Switch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "POLL_S", 0.05)
        yield Stage(serve(models=Models(switch)), switch)


@pytest.fixture
def puppet(stage: Stage) -> Puppet:
    return stage.play(Puppet())


@pytest.fixture
def user(stage: Stage) -> UserClient:
    return stage.user()


@pytest.fixture
def dimensions(stage: Stage) -> None:
    stage.admin.post("/organization/", json={"user_dimensions": DIMENSIONS}).raise_for_status()


# --- After a conversation --------------------------------------------------------------------------------------------


def test_a_finished_conversation_is_remembered_with_the_messages_that_said_so(
    stage: Stage, puppet: Puppet, user: UserClient
) -> None:
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin", context="They talked about homes."))

    conversation_id = said_and_finished(stage, user, "Hello, I live  in BERLIN!")

    (memory,) = remembered(user, user)
    (first, _) = messages(user, conversation_id)
    assert (memory["conversation_id"], memory["references"]) == (conversation_id, [first["id"]])
    assert (memory["content"], memory["replaced_by"]) == ("The user lives in Berlin.", None)
    (listed,) = conversations(user, id=conversation_id)
    assert listed["is_analyzed"] is True
    assert listed["completed_post_processings"] == ["extract-memories", "generate-user-models"]


def test_a_conversation_that_ends_by_itself_is_remembered_too(stage: Stage, user: UserClient) -> None:
    puppet = stage.play(Puppet(choice="exit-1"))
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"))
    conversation_id = id_of(begin(user, stage.service()))

    *_, last = go_on(user, conversation_id, "I live in Berlin.")
    jobs.wait_until_done(stage.server)

    assert last["conversation_completed"] is True
    assert contents(user, user) == ["The user lives in Berlin."]


def test_nothing_is_remembered_of_a_test(stage: Stage, puppet: Puppet, user: UserClient) -> None:
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"))

    conversation_id = said_and_finished(stage, user, "I live in Berlin.", is_test=True)

    (listed,) = conversations(user, id=conversation_id)
    assert (listed["is_analyzed"], listed["completed_post_processings"]) == (False, [])
    assert remembered(user, user) == []
    assert puppet.learned == []


@pytest.mark.parametrize(
    "invented",
    [
        pytest.param(told("The user lives in Berlin.", "I have three cats"), id="a quote that nobody said"),
        pytest.param(told("The user has diabetes.", "I live in Berlin"), id="another matter than the quote"),
        pytest.param(told("The user lives in Berlin near Anna.", "I live in Berlin"), id="a name"),
        pytest.param(told("The user lives in Berlin since 1999.", "I live in Berlin"), id="a number"),
        pytest.param(told("The user lives in Berlin.", "I live in Berlin", "m7"), id="a message that there is not"),
        pytest.param(told("The user lives in Berlin.", "  ?! "), id="no words at all"),
        pytest.param(told("The user lives in Berlin.", "live in Berl"), id="a part of a word"),
        pytest.param({"content": "The user lives in Berlin.", "context": "", "references": []}, id="no reference"),
        pytest.param("The user lives in Berlin.", id="another form than was asked for"),
    ],
)
def test_a_memory_that_a_model_invents_is_dropped(
    stage: Stage, puppet: Puppet, user: UserClient, invented: Any
) -> None:
    learn(puppet, invented, told("They like green tea.", "I like green tea."))

    said_and_finished(stage, user, "I live in Berlin. I like green tea.")

    assert contents(user, user) == ["They like green tea."]


def test_the_words_of_a_short_answer_may_be_those_of_the_agents_question(stage: Stage, user: UserClient) -> None:
    puppet = stage.play(Puppet("Do you have allergies", " to penicillin?"))
    learn(puppet, told("The user is allergic to penicillin.", "Yes, badly"))
    conversation_id = id_of(begin(user, stage.service()))
    go_on(user, conversation_id, "Yes, badly!")

    finish(user, conversation_id)
    jobs.wait_until_done(stage.server)

    assert contents(user, user) == ["The user is allergic to penicillin."]


def test_the_agents_words_alone_are_no_memory(stage: Stage, user: UserClient) -> None:
    puppet = stage.play(Puppet("You live in", " Berlin."))
    learn(puppet, told("The user lives in Berlin.", "You live in Berlin"))

    said_and_finished(stage, user, "Hello.")

    assert contents(user, user) == []


def test_what_is_remembered_already_is_not_remembered_twice(stage: Stage, puppet: Puppet, user: UserClient) -> None:
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"), told("the user lives in BERLIN", "Berlin"))

    said_and_finished(stage, user, "I live in Berlin.")
    said_and_finished(stage, user, "As you know, I live in Berlin.")

    assert len(contents(user, user)) == 1


def test_a_contradiction_replaces_what_it_contradicts_and_says_so(
    stage: Stage, puppet: Puppet, user: UserClient
) -> None:
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"))
    said_and_finished(stage, user, "I live in Berlin.")
    (before,) = remembered(user, user)
    learn(puppet, told("The user lives in Rome.", "I live in Rome", replaces=["memory-1", "memory-1", "memory-9"]))

    said_and_finished(stage, user, "I live in Rome now.")

    (after,) = remembered(user, user)
    (old,) = remembered(user, user, id=before["id"])
    assert after["content"] == "The user lives in Rome."
    assert '"The user lives in Berlin."' in after["context"]
    assert old["replaced_by"] == after["id"]
    assert "memory-1: The user lives in Berlin." in puppet.learned[-1].question


def test_a_long_conversation_is_read_whole_in_portions(stage: Stage, puppet: Puppet, user: UserClient) -> None:
    conversation_id = id_of(begin(user, stage.service(), initial_message="I live in Berlin. " + "Well... " * 450))
    for number in range(4):
        go_on(user, conversation_id, f"Number {number}. " + "So... " * 600)
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"))

    finish(user, conversation_id)
    jobs.wait_until_done(stage.server)

    shown = [prompt.question for prompt in puppet.learned]
    assert len(shown) > 1
    assert max(map(len, shown)) < 12_000
    assert [sum(f"Number {number}." in text for text in shown) for number in range(4)] == [1, 1, 1, 1]
    assert contents(user, user) == ["The user lives in Berlin."]


# --- Failures --------------------------------------------------------------------------------------------------------


def test_a_failure_is_seen_and_finishing_again_repeats_the_step(
    stage: Stage, puppet: Puppet, user: UserClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_jobs, "FIRST_PAUSE_S", 3600.0)
    puppet.answers["ExtractMemories"] = ModelUnavailable("no")
    conversation_id = id_of(begin(user, stage.service(), initial_message="I live in Berlin."))
    assert finish(user, conversation_id).status_code == 204
    failed = jobs.wait_for(lambda: conversations(user, id=conversation_id)[0]["post_processing_error"])
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"))

    again = finish(user, conversation_id)
    jobs.wait_until_done(stage.server)

    (listed,) = conversations(user, id=conversation_id)
    assert failed.startswith("extract-memories: ")
    assert again.status_code == 204
    assert (listed["is_analyzed"], listed["post_processing_error"]) == (True, None)
    assert contents(user, user) == ["The user lives in Berlin."]


def test_a_conversation_that_was_processed_cannot_be_finished_again(
    stage: Stage, puppet: Puppet, user: UserClient
) -> None:
    conversation_id = said_and_finished(stage, user, "Hello.")

    assert finish(user, conversation_id).status_code == 409
    assert len(puppet.learned) == 1


# --- Models of users -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dimensions")
def test_the_models_of_a_user_say_what_memories_tell_of_each_dimension(
    stage: Stage, puppet: Puppet, user: UserClient
) -> None:
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"))
    puppet.answers["GenerateUserModels"] = {
        "models": [
            {"dimension": "dimension-1", "content": "They live in Berlin.", "memories": ["memory-1"]},
            {"dimension": "dimension-2", "content": "They eat nothing but rice.", "memories": ["memory-1"]},
            {"dimension": "dimension-3", "content": "They live in Berlin.", "memories": ["memory-1"]},
            {"dimension": "dimension-1", "content": "They live in Berlin twice.", "memories": ["memory-1"]},
        ]
    }

    said_and_finished(stage, user, "I live in Berlin.")

    (memory,) = remembered(user, user)
    assert models_of(user) == [
        {"content": "They live in Berlin.", "insight_ids": [memory["id"]], "dimensions": DIMENSIONS[:1]}
    ]
    assert "dimension-1: Where they live (home)" in puppet.learned[-1].question
    assert "- What they eat" in puppet.learned[0].question


@pytest.mark.usefixtures("dimensions")
def test_without_memories_no_model_of_the_user_is_asked_for(stage: Stage, puppet: Puppet, user: UserClient) -> None:
    conversation_id = said_and_finished(stage, user, "Hello.")

    assert [prompt.interaction for prompt in puppet.learned] == ["ExtractMemories"]
    assert conversations(user, id=conversation_id)[0]["is_analyzed"] is True
    assert models_of(user) == []


# --- Who may see -----------------------------------------------------------------------------------------------------


def test_memories_are_shown_to_those_who_may_read_their_messages(stage: Stage, puppet: Puppet) -> None:
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"))
    open_ = stage.user()
    private = stage.user(user_preferences={"conversations_visible_to_admins": False})
    for person in (open_, private):
        said_and_finished(stage, person, "I live in Berlin.")

    assert len(remembered(stage.admin, open_)) == 1
    assert remembered(stage.admin, private) == []
    assert len(remembered(private, private)) == 1
    assert remembered(private, open_) == []


def test_a_memory_that_an_administrator_may_not_read_cannot_be_corrected_by_them(stage: Stage, puppet: Puppet) -> None:
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"))
    private = stage.user(user_preferences={"conversations_visible_to_admins": False})
    said_and_finished(stage, private, "I live in Berlin.")
    (memory,) = remembered(private, private)
    path = f"/user/{private.user_id}/memory/{memory['id']}"

    assert stage.admin.post(path, json={"content": "Something else."}).status_code == 403
    assert contents(private, private) == ["The user lives in Berlin."]


def test_memories_are_filtered_sorted_and_paged(stage: Stage, puppet: Puppet, user: UserClient) -> None:
    learn(puppet, told("They like tea.", "I like tea"), told("They like rice.", "I like rice"))
    first = said_and_finished(stage, user, "I like tea. I like rice.")
    learn(puppet, told("They like bread.", "I like bread"))
    said_and_finished(stage, user, "I like bread.")

    page = user.get(f"/user/{user.user_id}/memory", params={"limit": 2}).json()
    rest = remembered(user, user, limit=2, continuation_token=page["continuation_token"])

    assert contents(user, user) == ["They like bread.", "They like rice.", "They like tea."]
    assert ([item["content"] for item in page["memories"]], page["has_more"]) == (contents(user, user)[:2], True)
    assert [item["content"] for item in rest] == ["They like tea."]
    assert {item["conversation_id"] for item in remembered(user, user, conversation_id=first)} == {first}
    oldest = remembered(user, user, sort_by=["+conversation_id", "+created_at"])
    assert [item["content"] for item in oldest] == ["They like tea.", "They like rice.", "They like bread."]


# --- Correct and forget ----------------------------------------------------------------------------------------------


@pytest.fixture
def known(stage: Stage, puppet: Puppet, user: UserClient, dimensions: None) -> Json:
    """A memory of the user, of which a model is made."""
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"))
    model = {"dimension": "dimension-1", "content": "They live in Berlin.", "memories": ["memory-1"]}
    puppet.answers["GenerateUserModels"] = {"models": [model]}
    said_and_finished(stage, user, "I live in Berlin.")
    assert len(models_of(user)) == 1
    (memory,) = remembered(user, user)
    return memory


def test_a_memory_is_corrected_and_what_was_made_of_it_is_made_again(
    stage: Stage, puppet: Puppet, user: UserClient, known: Json
) -> None:
    model = {"dimension": "dimension-1", "content": "They live in Rome.", "memories": ["memory-1"]}
    puppet.answers["GenerateUserModels"] = {"models": [model]}

    answer = user.post(
        f"/user/{user.user_id}/memory/{known['id']}",
        json={"content": " I live in Rome. ", "context": "Corrected by them."},
    )
    jobs.wait_until_done(stage.server)

    (memory,) = remembered(user, user)
    assert answer.status_code == 204
    assert (memory["content"], memory["context"]) == ("I live in Rome.", "Corrected by them.")
    assert memory["references"] == known["references"]
    assert memory["corrected_at"] > memory["created_at"]
    assert [model["content"] for model in models_of(user)] == ["They live in Rome."]


@pytest.mark.parametrize("body", [{}, {"content": "  "}, {"content": "x" * 1001}, {"content": None}])
def test_a_correction_says_something(user: UserClient, known: Json, body: Json) -> None:
    answer = user.post(f"/user/{user.user_id}/memory/{known['id']}", json=body)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "content"]


def left(stage: Stage, user: UserClient) -> dict[str, int]:
    """Count the rows that the database has of the memory of a user."""
    engine = dialect.create_engine(stage.server.settings.cluster_urls["default"], 1)
    own = (tables.memories, tables.memory_words, tables.memory_vectors, tables.user_models)
    with engine.connect() as connection:
        counts = {
            table.name: connection.execute(
                sa.select(sa.func.count()).where(table.c.user_id == user.user_id)
            ).scalar_one()
            for table in own
        }
    engine.dispose()
    return counts


NOTHING = {"memories": 0, "memory_words": 0, "memory_vectors": 0, "user_models": 0}


def test_a_forgotten_memory_is_gone_with_those_it_replaced_and_with_what_was_made_of_it(
    stage: Stage, puppet: Puppet, user: UserClient, known: Json
) -> None:
    learn(puppet, told("The user lives in Rome.", "I live in Rome", replaces=["memory-1"]))
    said_and_finished(stage, user, "I live in Rome.")
    (memory,) = remembered(user, user)

    answer = user.delete(f"/user/{user.user_id}/memory/{memory['id']}")
    jobs.wait_until_done(stage.server)

    assert answer.status_code == 204
    assert remembered(user, user, id=[known["id"], memory["id"]]) == []
    assert models_of(user) == []
    assert left(stage, user) == NOTHING


@pytest.mark.usefixtures("known")
def test_a_forgotten_user_is_not_remembered_again_by_what_they_said_before(
    stage: Stage, puppet: Puppet, user: UserClient
) -> None:
    conversation_id = id_of(begin(user, stage.service(), initial_message="I live in Berlin."))

    answer = user.delete(f"/user/{user.user_id}/memory")
    go_on(user, conversation_id, "I like green tea.")
    learn(puppet, told("The user lives in Berlin.", "I live in Berlin"), told("They like green tea.", "green tea"))
    finish(user, conversation_id)
    jobs.wait_until_done(stage.server)

    assert answer.status_code == 204
    assert contents(user, user) == ["They like green tea."]
    assert models_of(user) == []
    assert "Berlin" not in puppet.learned[-1].question


@pytest.mark.usefixtures("known")
def test_a_deleted_users_memory_goes_too(stage: Stage, user: UserClient) -> None:
    assert left(stage, user) != NOTHING

    assert stage.admin.delete(f"/user/{user.user_id}").status_code == 204

    assert left(stage, user) == NOTHING


# --- While a model is asked ------------------------------------------------------------------------------------------


class Waiting(Puppet):
    """A model that waits for `release` with its answer to one kind of question."""

    def __init__(self, about: str) -> None:
        super().__init__(choice="action-1")
        self._about = about
        self._released = threading.Event()

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        answer = await super().choose(prompt, schema)
        if prompt.interaction == self._about:
            self.asked.set()
            await asyncio.to_thread(self._released.wait, jobs.PATIENCE_S)
        return answer

    def release(self, pieces: int = 1) -> None:
        self._released.set()


BERLIN, ROME, OSLO = "I live in Berlin.", "I live in Rome.", "I live in Oslo."


@pytest.mark.parametrize(
    ("change", "held"),
    [
        ("forget it", {BERLIN: ""}),
        ("correct it", {BERLIN: "", OSLO: ""}),
        ("forget all", {}),
        ("finish again", {BERLIN: f'Replaces: "{ROME}"'}),
    ],
)
def test_a_memory_that_changes_while_a_contradiction_is_looked_for_is_not_replaced_by_it(
    stage: Stage, puppet: Puppet, user: UserClient, change: str, held: dict[str, str]
) -> None:
    learn(puppet, told(ROME, ROME))
    said_and_finished(stage, user, ROME)
    [rome] = remembered(user, user)
    waiting = Waiting("ExtractMemories")
    learn(waiting, told(BERLIN, BERLIN, replaces=["memory-1"]))
    conversation_id = id_of(begin(user, stage.service(), initial_message=BERLIN))
    stage.play(waiting)
    waiting.asked.clear()
    assert finish(user, conversation_id).status_code == 204
    assert waiting.asked.wait(jobs.PATIENCE_S)
    path = f"/user/{user.user_id}/memory"

    match change:
        case "forget it":
            user.delete(f"{path}/{rome['id']}").raise_for_status()
        case "correct it":
            user.post(f"{path}/{rome['id']}", json={"content": OSLO}).raise_for_status()
        case "forget all":
            user.delete(path).raise_for_status()
        case _:
            assert finish(user, conversation_id).status_code == 409
    waiting.release()
    jobs.wait_until_done(stage.server)

    assert {memory["content"]: memory["context"] for memory in remembered(user, user)} == held


def test_models_of_memories_that_change_meanwhile_do_not_take_the_place_of_newer_ones(
    stage: Stage, puppet: Puppet, user: UserClient
) -> None:
    stage.admin.post("/organization/", json={"user_dimensions": DIMENSIONS})
    learn(puppet, told(ROME, ROME))
    waiting = Waiting("GenerateUserModels")
    waiting.answers |= {
        "ExtractMemories": puppet.answers["ExtractMemories"],
        "GenerateUserModels": {
            "models": [{"dimension": "dimension-1", "content": "Lives in Rome.", "memories": ["memory-1"]}]
        },
    }
    conversation_id = id_of(begin(user, stage.service(), initial_message=ROME))
    stage.play(waiting)
    waiting.asked.clear()
    assert finish(user, conversation_id).status_code == 204
    assert waiting.asked.wait(jobs.PATIENCE_S)
    newer = stage.play(Puppet(choice="action-1"))
    newer.answers["GenerateUserModels"] = {
        "models": [{"dimension": "dimension-1", "content": "Lives in Oslo.", "memories": ["memory-1"]}]
    }
    [rome] = remembered(user, user)
    path = f"/user/{user.user_id}/memory/{rome['id']}"

    user.post(path, json={"content": OSLO}).raise_for_status()
    jobs.wait_for(lambda: models_of(user))
    waiting.release()
    jobs.wait_until_done(stage.server)

    assert [model["content"] for model in models_of(user)] == ["Lives in Oslo."]


@pytest.mark.parametrize("about", ["ExtractMemories", "GenerateUserModels"])
def test_a_step_whose_user_is_deleted_meanwhile_ends_and_leaves_nothing(
    stage: Stage, puppet: Puppet, user: UserClient, about: str
) -> None:
    stage.admin.post("/organization/", json={"user_dimensions": DIMENSIONS}).raise_for_status()
    waiting = Waiting(about)
    learn(waiting, told(BERLIN, BERLIN))
    conversation_id = id_of(begin(user, stage.service(), initial_message=BERLIN))
    stage.play(waiting)
    waiting.asked.clear()
    assert finish(user, conversation_id).status_code == 204
    assert waiting.asked.wait(jobs.PATIENCE_S)

    stage.admin.delete(f"/user/{user.user_id}").raise_for_status()
    waiting.release()
    jobs.wait_until_done(stage.server)

    assert left(stage, user) == NOTHING


def test_what_a_model_writes_besides_memories_is_passed_over(stage: Stage, puppet: Puppet, user: UserClient) -> None:
    odd: list[Any] = [None, 7, "memory", [], {}, {"content": ["x"]}, {"content": BERLIN, "references": BERLIN}]
    odd += [told(BERLIN, BERLIN, message=message) for message in ([], {"m1": 1}, None)]
    odd += [told(ROME, BERLIN, replaces=[["memory-1"], None, {}]), told(BERLIN, ["I"])]
    odd += [told(says_nothing, BERLIN) for says_nothing in ("\ufeff", "?!", "The user is.")]
    learn(puppet, *odd, told(BERLIN, BERLIN, context={"a": []}, replaces="memory-1"))

    said_and_finished(stage, user, BERLIN)

    assert contents(user, user) == [BERLIN]
