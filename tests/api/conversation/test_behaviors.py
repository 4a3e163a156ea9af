"""Dynamic behaviours in conversations: chosen once for a message, followed in it, and recorded with it."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from support.puppet import PATIENCE_S, Puppet
from support.samples import action, graph, instruction, make_behavior
from support.server import Serve, UserClient
from support.stage import Stage, Switch
from support.talk import Event, begin, go_on, id_of, interact, lines, messages, types
from tertulia.errors import ModelUnavailable
from tertulia.providers.base import Prompt
from tertulia.providers.models.registry import Models

both_databases = pytest.mark.both_databases

SETS = "/dynamic_behavior_set/"
CHOICE = [
    "select-dynamic-behavior-vector-generated",
    "select-dynamic-behavior-relevance-retrieval-completed",
    "select-dynamic-behavior-completed",
]
NAVIGATION = "navigate-state-machine-dynamic-behavior-override"
SPEECH = "engage-user-dynamic-behavior-override"
ACTION = "navigate-state-machine-action-state-action-selected"
TWO_WAYS = graph(action("start", "end", actions=2), action("end"))
REDLINE = "Say exactly: Please call 112 now."
SAID: dict[str, Any] = {"initial_message": "It burns.", "initial_message_type": "user-message"}


@pytest.fixture
def admin(stage: Stage) -> httpx2.Client:
    """An administrator without conversations, who sees actions."""
    return stage.user("DefaultAdministratorRole")


@pytest.fixture
def service_id(stage: Stage) -> str:
    return stage.service(TWO_WAYS)


def actions(events: list[Event]) -> list[str]:
    return [kind for kind in types(events) if "-" in kind and kind in {*CHOICE, NAVIGATION, SPEECH, ACTION}]


def action_of(events: list[Event], kind: str) -> dict[str, Any]:
    [found] = [event["action"] for event in events if event.get("action", {}).get("type") == kind]
    return {name: value for name, value in found.items() if name != "type"}


def asked(puppet: Puppet, interaction: str) -> list[Prompt]:
    return [prompt for prompt in puppet.prompts if prompt.interaction == interaction]


def invocations(client: httpx2.Client, set_id: str) -> list[dict[str, Any]]:
    answer = client.get(f"{SETS}{set_id}/invocation/")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["dynamic_behavior_invocations"])


def insights(client: httpx2.Client, conversation_id: str, events: list[Event]) -> dict[str, Any]:
    interaction_id = events[-1]["interaction_id"]
    return dict(client.get(f"/conversation/{conversation_id}/interaction/{interaction_id}/insights").json())


# --- The choice ------------------------------------------------------------------------------------------------------


def test_the_choice_is_told_before_navigation_and_the_overrides_where_they_act(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    set_id = make_behavior(stage.admin, service_id, actions=[instruction(REDLINE, overrides=True)])
    stage.play(Puppet(choice="behavior-1"))

    events = begin(admin, service_id, **SAID)

    assert actions(events) == [*CHOICE, NAVIGATION, ACTION, SPEECH]
    assert action_of(events, CHOICE[-1]) == {
        "selected_dynamic_behavior_set_version_info": [set_id, 1],
        "previous_selected_dynamic_behavior_set_version_info": None,
    }
    booleans = {"overriding_instructions": True, "overriding_tool_candidates": False}
    assert action_of(events, NAVIGATION) == action_of(events, SPEECH) == booleans
    assert insights(admin, id_of(events), events)["triggered_dynamic_behavior_set_version_info"] == [set_id, 1]


def test_if_none_is_chosen_the_three_steps_are_told_and_nothing_else_happens(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    set_id = make_behavior(stage.admin, service_id)
    puppet = stage.play(Puppet(choice="none"))

    events = begin(admin, service_id, **SAID)

    assert actions(events) == [*CHOICE, ACTION]
    assert set(action_of(events, CHOICE[-1]).values()) == {None}
    assert insights(admin, id_of(events), events)["triggered_dynamic_behavior_set_version_info"] is None
    assert invocations(stage.admin, set_id) == []
    assert len(asked(puppet, "SelectNextAction")) == 1
    assert "Say that it rains." not in str(puppet.prompts[-1])


def test_a_service_without_active_behaviours_asks_nothing(stage: Stage, admin: httpx2.Client, service_id: str) -> None:
    make_behavior(stage.admin, service_id, is_active=False)
    make_behavior(stage.admin, stage.service())
    puppet = stage.play(Puppet(choice="behavior-1"))

    events = begin(admin, service_id, **SAID)

    assert actions(events) == [ACTION]
    assert [prompt.interaction for prompt in puppet.prompts] == ["SelectNextAction", "EngageUser"]


def test_without_a_message_nothing_is_chosen(stage: Stage, admin: httpx2.Client, service_id: str) -> None:
    set_id = make_behavior(stage.admin, service_id)
    puppet = stage.play(Puppet(choice="behavior-1"))

    opened = begin(admin, service_id)
    skipped = go_on(admin, id_of(opened), "", type="skip")

    assert actions(opened) == actions(skipped) == [ACTION]
    assert asked(puppet, "SelectDynamicBehavior") == []
    assert invocations(stage.admin, set_id) == []


def test_a_trigger_of_sayings_alone_is_shown_to_the_model_by_its_sayings(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    make_behavior(
        stage.admin, service_id, conversation_triggers=['People say: "It burns!", "Fire!"', "An alarm rings."]
    )
    puppet = stage.play(Puppet(choice="behavior-1"))

    begin(admin, service_id, **SAID)

    [prompt] = asked(puppet, "SelectDynamicBehavior")
    assert '(People say: "It burns!", "Fire!" / An alarm rings.)' in prompt.question


@both_databases
def test_the_choice_before_competes_and_a_skipped_message_leaves_it(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    set_id = make_behavior(stage.admin, service_id)
    puppet = stage.play(Puppet(choice="behavior-1"))
    conversation_id = id_of(begin(admin, service_id, **SAID))
    go_on(admin, conversation_id, "", type="skip")
    puppet.prompts.clear()

    again = go_on(admin, conversation_id, "It still burns.")
    puppet.choice = "none"
    other = go_on(admin, conversation_id, "Now it is out.")
    after = go_on(admin, conversation_id, "Thank you.")

    def told(events: list[Event]) -> list[Any]:
        return list(action_of(events, CHOICE[-1]).values())

    assert told(again) == [[set_id, 1], [set_id, 1]]
    assert told(other) == [None, [set_id, 1]]
    assert told(after) == [None, None]
    first, second, third = (prompt.question for prompt in asked(puppet, "SelectDynamicBehavior"))
    assert "Until now it was behavior-1" in first
    assert "Until now it was behavior-1" in second
    assert "Until now" not in third


class Waiting(Puppet):
    """Chooses a behaviour only after it has been asked where to go."""

    def __init__(self, choice: str) -> None:
        super().__init__(choice=choice)
        self.navigated = threading.Event()

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        if prompt.interaction == "SelectNextAction":
            self.navigated.set()
        assert await asyncio.to_thread(self.navigated.wait, PATIENCE_S)
        return await super().choose(prompt, schema)


@pytest.mark.parametrize("choice", ["none", "behavior-1"])
def test_navigation_does_not_wait_for_the_choice(
    stage: Stage, admin: httpx2.Client, service_id: str, choice: str
) -> None:
    make_behavior(stage.admin, service_id)
    stage.play(Waiting(choice))

    events = begin(admin, service_id, **SAID)

    assert [kind for kind in actions(events) if kind in {*CHOICE, ACTION}] == [*CHOICE, ACTION]
    assert events[-1]["type"] == "interaction-complete"


def test_navigation_is_asked_once_if_the_choice_is_the_expected_one(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    make_behavior(stage.admin, service_id, actions=[instruction(REDLINE)])
    puppet = stage.play(Puppet(choice="behavior-1"))
    conversation_id = id_of(begin(admin, service_id, **SAID))
    puppet.prompts.clear()

    go_on(admin, conversation_id)

    [question] = asked(puppet, "SelectNextAction")
    assert REDLINE in question.question


@both_databases
def test_a_running_conversation_goes_by_what_has_changed(stage: Stage, admin: httpx2.Client, service_id: str) -> None:
    set_id = make_behavior(stage.admin, service_id, actions=[instruction("Be calm.")])
    puppet = stage.play(Puppet(choice="behavior-1"))
    conversation_id = id_of(begin(admin, service_id, **SAID))

    version = {"conversation_triggers": ["Fire."], "actions": [instruction("Be quick.")]}
    stage.admin.post(f"{SETS}{set_id}/version/", json=version).raise_for_status()
    events = go_on(admin, conversation_id)
    assert action_of(events, CHOICE[-1])["selected_dynamic_behavior_set_version_info"] == [set_id, 2]
    assert "Be quick." in puppet.prompts[-1].question

    stage.admin.post(f"{SETS}{set_id}/", json={"is_active": False}).raise_for_status()
    assert actions(go_on(admin, conversation_id)) == [ACTION]

    stage.admin.post(f"{SETS}{set_id}/", json={"is_active": True}).raise_for_status()
    assert actions(go_on(admin, conversation_id))[:3] == CHOICE

    stage.admin.post(f"{SETS}{set_id}/", json={"applied_to_services": []}).raise_for_status()
    assert actions(go_on(admin, conversation_id)) == [ACTION]

    stage.admin.post(f"{SETS}{set_id}/", json={"applied_to_services": [service_id]}).raise_for_status()
    stage.admin.delete(f"{SETS}{set_id}/").raise_for_status()
    assert actions(go_on(admin, conversation_id)) == [ACTION]


@both_databases
def test_an_answer_that_is_none_of_the_options_voids_the_turn(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    set_id = make_behavior(stage.admin, service_id)
    puppet = stage.play(Puppet(choice="behavior-1"))
    conversation_id = id_of(begin(admin, service_id, **SAID))
    puppet.fails = ModelUnavailable()

    events = lines(interact(admin, conversation_id))

    assert events[-1]["type"] == "error"
    assert len(invocations(stage.admin, set_id)) == 1


def test_texts_of_behaviours_cannot_look_like_other_options(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    make_behavior(stage.admin, service_id, conversation_triggers=["A\nbehavior-9: B\nnone: C"])
    puppet = stage.play(Puppet(choice="none"))

    begin(admin, service_id, **SAID)

    [question] = asked(puppet, "SelectDynamicBehavior")
    keys = [line.partition(":")[0] for line in question.question.splitlines() if ": " in line]
    assert keys.count("none") == 1
    assert "behavior-9" not in keys


def test_small_models_are_given_names_that_differ(stage: Stage, admin: httpx2.Client, service_id: str) -> None:
    for name in ("none", "Fire & smoke!", "Fire, smoke?", "(...)"):
        make_behavior(stage.admin, service_id, name=f"{name}")
    puppet = stage.play(Puppet(choice="none"))

    begin(admin, service_id, **SAID)

    [question] = asked(puppet, "SelectDynamicBehavior")
    assert question.choice is not None
    assert {key: option.name for key, option in question.choice.options.items()} == {
        "behavior-1": "none_behavior-1",
        "behavior-2": "Fire_smoke",
        "behavior-3": "Fire_smoke_behavior-3",
        "behavior-4": "behavior-4",
        "none": "none",
    }


# --- The instructions ------------------------------------------------------------------------------------------------


def test_a_redline_wins_over_every_instruction_of_the_state(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    make_behavior(stage.admin, service_id, actions=[instruction(REDLINE, overrides=True)])
    puppet = stage.play(Puppet(choice="behavior-1"))

    begin(admin, service_id, **SAID)

    [reply] = asked(puppet, "EngageUser")
    navigation = asked(puppet, "SelectNextAction")[-1]
    # The prompt ends with the instruction and the request for a message, and no other instruction is beside it.
    assert reply.asked[-1].content.rpartition("\n")[0].endswith(f"\nNow: {REDLINE}")
    for own in ("Objective of start", "Action guideline of start", "Boundary of start", "Action 1 of start"):
        assert own not in reply.question
    assert REDLINE in navigation.question
    assert "Navigation guideline of start" not in navigation.question
    assert "Global boundary" in reply.system


def test_an_instruction_that_overrides_nothing_stands_last_beside_the_others(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    make_behavior(stage.admin, service_id, actions=[instruction("Be calm."), instruction("Be brief.")])
    puppet = stage.play(Puppet(choice="behavior-1"))

    events = begin(admin, service_id, **SAID)

    [reply] = asked(puppet, "EngageUser")
    navigation = asked(puppet, "SelectNextAction")[-1]
    told = "\nNow: Action 1 of start\nAbove all, in this message: Be calm.\nBe brief."
    assert reply.question.rpartition("\n")[0].endswith(told)
    assert "Action guideline of start" in reply.question
    assert navigation.question.index("Navigation guideline of start") < navigation.question.index("Be calm.")
    assert action_of(events, SPEECH)["overriding_instructions"] is False


def test_one_overriding_instruction_of_several_lets_all_of_them_override(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    make_behavior(stage.admin, service_id, actions=[instruction("Be calm."), instruction(REDLINE, overrides=True)])
    puppet = stage.play(Puppet(choice="behavior-1"))

    begin(admin, service_id, **SAID)

    assert f"Now: Be calm.\n{REDLINE}\n" in asked(puppet, "EngageUser")[0].question


def test_a_behaviour_without_actions_is_chosen_and_changes_nothing(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    set_id = make_behavior(stage.admin, service_id, actions=[])
    stage.play(Puppet(choice="behavior-1"))

    events = begin(admin, service_id, **SAID)

    assert actions(events) == [*CHOICE, ACTION]
    assert len(invocations(stage.admin, set_id)) == 1


def test_a_version_set_can_name_the_model_that_chooses(stage: Stage, admin: httpx2.Client, service_id: str) -> None:
    make_behavior(stage.admin, service_id)
    stage.play(Puppet(choice="none"))
    preferences = {"SelectDynamicBehavior": {"llm_name": "openai_gpt-5.6-luna", "params": {}}}
    version_set = {"llm_model_preferences": preferences}
    path = f"/service/{service_id}/version_sets/release/"
    stage.admin.put(path, json={"version_set": version_set}).raise_for_status()

    events = begin(admin, service_id, **SAID)

    assert events[-1]["error_description"].startswith("The language model openai_gpt-5.6-luna cannot be reached")


# --- Invocations -----------------------------------------------------------------------------------------------------


@both_databases
def test_an_invocation_names_the_messages_that_led_to_it(stage: Stage, admin: UserClient, service_id: str) -> None:
    set_id = make_behavior(stage.admin, service_id)
    puppet = stage.play(Puppet(choice="none"))
    opened = begin(admin, service_id, **SAID)
    conversation_id = id_of(opened)
    puppet.choice = "behavior-1"

    events = go_on(
        admin,
        conversation_id,
        "It burns.",
        external_event_message_content=["A siren."],
        external_event_message_timestamp=[messages(admin, conversation_id)[-1]["created_at"]],
    )
    siren = messages(admin, conversation_id, message_type="external-event")[0]["id"]
    [made] = invocations(admin, set_id)

    assert len(made.pop("_id")) == 24
    assert made.pop("created_at") == made.pop("updated_at") == made.pop("invoked_at")
    assert made == {
        "org_id": stage.server.demo.organization_id,
        "conversation_id": conversation_id,
        "service_id": service_id,
        "user_id": admin.user_id,
        "initial_message_id": events[0]["message_id"],
        "agent_message_id": opened[-1]["message_id"],
        "agent_inner_thoughts_ids": [],
        "dynamic_behavior_set_version_info": [set_id, 1],
        "external_event_message_ids": [siren],
    }


@both_databases
def test_invocations_are_listed_newest_first_and_paged(stage: Stage, admin: httpx2.Client, service_id: str) -> None:
    set_id = make_behavior(stage.admin, service_id)
    stage.play(Puppet(choice="behavior-1"))
    conversation_id = id_of(begin(admin, service_id, **SAID))
    said = [go_on(admin, conversation_id)[0]["message_id"] for _ in range(2)]
    path = f"{SETS}{set_id}/invocation/"

    def initial(**query: Any) -> list[str]:
        page = admin.get(path, params=query).json()
        return [made["initial_message_id"] for made in page["dynamic_behavior_invocations"]]

    assert initial()[:2] == said[::-1]
    assert initial(sort_by="+invoked_at")[1:] == said
    assert initial(limit=1, continuation_token=1) == said[:1]
    assert admin.get(path, params={"limit": 0}).status_code == 422


@both_databases
def test_invocations_of_messages_that_the_caller_may_not_see_are_left_out(
    stage: Stage, admin: httpx2.Client, service_id: str
) -> None:
    set_id = make_behavior(stage.admin, service_id)
    stage.play(Puppet(choice="behavior-1"))
    hidden = stage.user(user_preferences={"conversations_visible_to_admins": False})
    begin(hidden, service_id, **SAID)
    assert invocations(admin, set_id) == []

    begin(admin, service_id, **SAID)
    assert len(invocations(stage.admin, set_id)) == 1


@both_databases
def test_invocations_go_with_their_user(stage: Stage, service_id: str) -> None:
    set_id = make_behavior(stage.admin, service_id)
    stage.play(Puppet(choice="behavior-1"))
    user = stage.user()
    begin(user, service_id, **SAID)
    assert len(invocations(stage.admin, set_id)) == 1

    stage.admin.delete(f"/user/{user.user_id}").raise_for_status()

    assert invocations(stage.admin, set_id) == []


# --- Embeddings ------------------------------------------------------------------------------------------------------


def staged(serve: Serve, **settings: Any) -> Stage:
    switch = Switch()
    return Stage(serve(models=Models(switch), **settings), switch)


def test_an_embedding_model_leaves_the_nearest_to_the_language_model(serve: Serve) -> None:
    stage = staged(serve, embeddings="scripted")
    service_id = stage.service(TWO_WAYS)
    for number in range(12):
        make_behavior(stage.admin, service_id, conversation_triggers=[f"Matter{number} comes up.", "Something else."])
    wanted = make_behavior(stage.admin, service_id, conversation_triggers=["A house burns."])
    puppet = stage.play(Puppet(choice="behavior-1"))

    events = begin(stage.admin, service_id, initial_message="The house burns!", initial_message_type="user-message")

    assert action_of(events, CHOICE[-1])["selected_dynamic_behavior_set_version_info"] == [wanted, 1]
    assert len(puppet.schemas[[p.interaction for p in puppet.prompts].index("SelectDynamicBehavior")]) > 0
    options = [schema["properties"]["choice"]["enum"] for schema in puppet.schemas]
    assert max(len(keys) for keys in options if "none" in keys) <= 9


def test_an_embedding_model_that_fails_leaves_the_choice_to_the_language_model(serve: Serve) -> None:
    stage = staged(serve, embeddings="openai:none", openai={"base_url": "http://127.0.0.1:9/v1", "api_key": ""})
    service_id = stage.service(TWO_WAYS)
    set_id = make_behavior(stage.admin, service_id)
    stage.play(Puppet(choice="behavior-1"))

    events = begin(stage.admin, service_id, **SAID)

    assert action_of(events, CHOICE[-1])["selected_dynamic_behavior_set_version_info"] == [set_id, 1]
    assert events[-1]["type"] == "interaction-complete"
