"""Recall: what is remembered of a user reaches the agent's prompt, in the turn and in those that follow."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from support import jobs
from support.puppet import Puppet
from support.samples import action, graph, recall
from support.server import Serve, UserClient
from support.stage import Stage, Switch
from support.talk import Event, begin, finish, go_on, id_of
from tertulia import runtime
from tertulia.providers.models.registry import Models

pytestmark = pytest.mark.both_databases

Json = dict[str, Any]

ADMINISTRATOR = "DefaultAdministratorRole"  # sees the agent's steps
ACTIVE = ("check-if-active-memory-needed-completed", "extract-active-memories-completed")
BERLIN, TEA = "The user lives in Berlin.", "They like green tea."


@pytest.fixture(scope="module")
def _stage(serve: Serve) -> Iterator[Stage]:
    """A server that looks for jobs all the time, and compares meanings."""
    switch = Switch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "POLL_S", 0.05)
        yield Stage(serve(models=Models(switch), embeddings="scripted"), switch)


@pytest.fixture
def puppet(stage: Stage) -> Puppet:
    return stage.play(Puppet(choice="action-1"))


@pytest.fixture
def user(stage: Stage, puppet: Puppet) -> UserClient:
    """A user of whom two things are remembered, and one more in a model."""
    stage.admin.post("/organization/", json={"user_dimensions": [{"description": "Home", "tags": []}]})
    person = stage.user(ADMINISTRATOR)
    puppet.answers["ExtractMemories"] = {
        "memories": [
            {"content": BERLIN, "context": "", "references": [{"message": "m1", "quote": "I live in Berlin"}]},
            {"content": TEA, "context": "", "references": [{"message": "m1", "quote": "I like green tea"}]},
        ]
    }
    model = {"dimension": "dimension-1", "content": "Lives in Berlin.", "memories": ["memory-1", "memory-2"]}
    puppet.answers["GenerateUserModels"] = {"models": [model]}
    conversation_id = id_of(begin(person, stage.service(), initial_message="I live in Berlin. I like green tea."))
    assert finish(person, conversation_id).status_code == 204
    jobs.wait_until_done(stage.server)
    puppet.answers["ExtractMemories"] = {"memories": []}
    puppet.prompts.clear()
    return person


def steps(events: list[Event]) -> list[Json]:
    return [event["action"] for event in events if event["type"] == "current-agent-action"]


def active(events: list[Event]) -> list[Json]:
    return [step for step in steps(events) if step["type"] in ACTIVE]


def reply_prompt(puppet: Puppet) -> str:
    """Find what the model was asked for its last reply. Return the question."""
    return next(prompt.question for prompt in reversed(puppet.prompts) if prompt.interaction == "EngageUser")


def insights(user: httpx2.Client, conversation_id: str, events: list[Event]) -> Json:
    path = f"/conversation/{conversation_id}/interaction/{events[-1]['interaction_id']}/insights"
    return user.get(path).raise_for_status().json()


# --- Active memory ---------------------------------------------------------------------------------------------------


def test_what_is_remembered_of_the_messages_matter_is_in_the_prompt_of_the_same_turn(
    stage: Stage, puppet: Puppet, user: httpx2.Client
) -> None:
    conversation_id = id_of(begin(user, stage.service()))

    events = go_on(user, conversation_id, "Which green tea would suit me today?")

    checked, extracted = active(events)
    assert checked["queries"] == ["Which green tea would suit me today?"]
    [(query, answer)] = extracted["queries_and_responses"]
    assert query == "Which green tea would suit me today?"
    assert answer.startswith(TEA)
    assert TEA in reply_prompt(puppet)
    assert insights(user, conversation_id, events)["working_memory"][0]["content"] == TEA
    assert [prompt.interaction for prompt in puppet.prompts].count("EngageUser") == 2  # and no other question


def test_what_was_recalled_stays_in_mind_for_the_conversation(
    stage: Stage, puppet: Puppet, user: httpx2.Client
) -> None:
    conversation_id = id_of(begin(user, stage.service()))
    go_on(user, conversation_id, "Which green tea would suit me today?")

    events = go_on(user, conversation_id, "Well, the weather forecast promises sunshine.")

    assert TEA in reply_prompt(puppet)
    assert TEA in [memory["content"] for memory in insights(user, conversation_id, events)["working_memory"]]


def test_a_message_that_says_nothing_needs_no_memory(stage: Stage, user: httpx2.Client) -> None:
    stage.play(Puppet("Yes?", choice="action-1"))
    conversation_id = id_of(begin(user, stage.service()))

    events = go_on(user, conversation_id, "No, not that.")

    assert active(events) == [{"type": ACTIVE[0], "queries": []}]


def test_a_short_message_is_looked_up_with_the_agents_words_before_it(stage: Stage, user: httpx2.Client) -> None:
    stage.play(Puppet("Where do you live, Berlin?", choice="action-1"))
    conversation_id = id_of(begin(user, stage.service()))

    events = go_on(user, conversation_id, "Correct!")

    assert active(events)[0]["queries"] == ["Where do you live, Berlin? Correct!"]
    assert active(events)[1]["queries_and_responses"][0][1].startswith(BERLIN)


def test_a_state_can_go_without_active_memory(stage: Stage, puppet: Puppet, user: httpx2.Client) -> None:
    service_id = stage.service(graph(action("start", "end", skip_active_memory_retrieval=True), action("end")))
    conversation_id = id_of(begin(user, service_id))

    assert active(go_on(user, conversation_id, "Which green tea would suit me today?")) == []
    assert TEA not in reply_prompt(puppet)


@pytest.mark.usefixtures("puppet")
def test_a_user_of_whom_nothing_is_remembered_costs_nothing(stage: Stage) -> None:
    person = stage.user(ADMINISTRATOR)
    conversation_id = id_of(begin(person, stage.service()))

    assert active(go_on(person, conversation_id, "Which green tea would suit me today?")) == []


def test_nothing_is_recalled_of_another_user(stage: Stage, puppet: Puppet, user: httpx2.Client) -> None:
    other = stage.user(ADMINISTRATOR)
    conversation_id = id_of(begin(other, stage.service()))

    go_on(other, conversation_id, "Which green tea would suit me today?")

    assert TEA not in reply_prompt(puppet)
    assert "Lives in Berlin." not in puppet.prompts[-1].system


def test_models_of_the_user_are_in_every_prompt(stage: Stage, puppet: Puppet, user: httpx2.Client) -> None:
    begin(user, stage.service())

    assert "- Lives in Berlin." in puppet.prompts[-1].system


def test_a_forgotten_memory_leaves_the_working_memory_and_the_insights(
    stage: Stage, puppet: Puppet, user: UserClient
) -> None:
    conversation_id = id_of(begin(user, stage.service()))
    before = go_on(user, conversation_id, "Which green tea would suit me today?")
    assert user.delete(f"/user/{user.user_id}/memory").status_code == 204

    go_on(user, conversation_id, "Well?")

    assert TEA not in reply_prompt(puppet)
    assert "Lives in Berlin." not in puppet.prompts[-1].system
    assert insights(user, conversation_id, before)["working_memory"] == []


# --- Recall states ---------------------------------------------------------------------------------------------------


@pytest.fixture
def asking(stage: Stage) -> str:
    """A service whose conversations look something up whenever they leave the first state."""
    there_and_back = graph(
        action("start", "static"),
        recall("static", "dynamic", "green tea", "Green TEA!"),
        recall("dynamic", "start", wants="Where the user lives"),
        action("end"),
    )
    return stage.service(there_and_back)


def test_recall_states_look_up_static_and_dynamic_queries_each_once_in_a_conversation(
    stage: Stage, user: httpx2.Client, asking: str
) -> None:
    puppet = stage.play(Puppet(choice="exit-1"))
    puppet.answers["GenerateRecallQueries"] = {"queries": ["home  Berlin", "", "green tea?", 7]}
    conversation_id = id_of(begin(user, asking))

    first = go_on(user, conversation_id, "Hm.")
    again = go_on(user, conversation_id, "Hm.")

    found = [step["queries_and_responses"] for step in steps(first) if "recall-state-active" in step["type"]]
    assert [[query for query, _ in pairs] for pairs in found] == [["green tea"], ["home Berlin"]]
    assert [pairs[0][1].split(" (")[0] for pairs in found] == [TEA, BERLIN]
    [generated] = [step for step in steps(first) if "dynamic-queries" in step["type"]]
    assert generated["dynamic_queries"] == ["home Berlin", "green tea?"]
    assert [step["queries_and_responses"] for step in steps(again) if "recall-state-active" in step["type"]] == [[], []]
    logs = insights(user, conversation_id, first)["state_transition_logs"]
    assert [log["performed_queries"] for log in logs if log["type"] == "recall"] == [["green tea"], ["home Berlin"]]
    assert "Where the user lives" in puppet.learned[0].question


@pytest.mark.parametrize("fields", [{"queries": ["What?"], "wants": "Something"}, {"queries": [], "wants": None}])
def test_a_recall_state_has_either_queries_or_a_wish(stage: Stage, fields: Json) -> None:
    body = graph(action("start", "ask"), recall("ask", "end", *fields["queries"], wants=fields["wants"]), action("end"))
    created = stage.admin.post(
        "/organization/service_hierarchical_state_machine", json={"state_machine_name": f"Recall {fields}"}
    )

    answer = stage.admin.post(f"/organization/service_hierarchical_state_machine/{created.json()['id']}/", json=body)

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "states", 1, "requested_information"]
