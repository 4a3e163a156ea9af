"""Reading conversations back: lists, messages, insights, suggestions, tags."""

from typing import Any

import httpx2
import pytest

from support.puppet import Puppet
from support.samples import action, annotation, graph
from support.server import UserClient
from support.stage import Stage
from support.talk import begin, conversations, create, finish, go_on, id_of, lines, messages
from support.targets import make_role
from tertulia.api.conversation.lists import Conversations, Messages
from tertulia.api.http.pagination import PageModel

pytestmark = pytest.mark.both_databases

UNKNOWN = "f" * 24


@pytest.fixture
def user(stage: Stage) -> UserClient:
    return stage.user()


def test_conversations_are_listed_newest_first_and_paged(stage: Stage, user: httpx2.Client) -> None:
    made = [id_of(begin(user, stage.service())) for _ in range(3)]
    assert [item["id"] for item in conversations(user)] == made[::-1]
    assert [item["id"] for item in conversations(user, sort_by="+created_at")] == made
    assert [item["id"] for item in conversations(user, sort_by=" created_at")] == made
    first = user.get("/conversation/", params={"limit": 2}).json()
    assert ([item["id"] for item in first["conversations"]], first["has_more"]) == (made[:0:-1], True)
    rest = user.get("/conversation/", params={"limit": 2, "continuation_token": first["continuation_token"]}).json()
    assert [item["id"] for item in rest["conversations"]] == made[:1]
    assert (rest["has_more"], rest["continuation_token"]) == (False, None)


def test_pages_of_conversations_and_messages_are_written_as_their_models_would_be(
    stage: Stage, user: UserClient
) -> None:
    service = stage.service()
    preferred = {"SelectNextActionForDecisionState": {"llm_name": "scripted", "params": {"temperature": 0.7}}}
    version_set = {
        "agent_version_number": None,
        "service_hierarchical_state_machine_version_number": None,
        "llm_model_preferences": preferred,
    }
    chosen = stage.admin.put(f"/service/{service}/version_sets/release/", json={"version_set": version_set})
    assert chosen.is_success, chosen.text
    odd = 'Ä "quoted" \\ /\t\n\u0001\x7f\u2028 😀 <&>'
    conversation_id = id_of(begin(user, service, tags={"channel": "Ä", "pilot": None}))
    assert go_on(user, conversation_id, odd)
    finish(user, conversation_id)
    begin(user, service)
    listed = conversations(stage.admin, service_id=service)
    assert [item["version_set_info"]["llm_model_preferences"] for item in listed] == [preferred] * 2
    pages: list[tuple[str, type[PageModel]]] = [
        ("/conversation/", Conversations),
        ("/conversation/?limit=1", Conversations),
        (f"/conversation/{conversation_id}/messages/", Messages),
        (f"/conversation/{conversation_id}/messages/?limit=1", Messages),
    ]
    for reader in (user, stage.admin):
        for path, model in pages:
            answer = reader.get(path)
            assert answer.headers["content-type"] == "application/json"
            assert answer.content == model.model_validate_json(answer.content).model_dump_json().encode()


def test_conversations_are_filtered(stage: Stage, user: httpx2.Client) -> None:
    service = stage.service()
    first = id_of(begin(user, service, tags={"channel": "web: chat", "pilot": None, "a\tb": "c", "d\ne": None}))
    finish(user, first)
    second = id_of(begin(user, service))

    def found(**query: Any) -> list[str]:
        return [item["id"] for item in conversations(user, **query)]

    assert found(is_finished=True) == [first]
    assert found(is_finished=False) == [second]
    assert found(id=[first, UNKNOWN]) == [first]
    assert set(found(service_id=service)) == {first, second}
    assert found(service_id=UNKNOWN) == []
    assert found(user_id="nobody") == []
    for tag in ("channel:web: chat", "channel:*", "pilot:", "pilot:*", "a\tb:c", "a\tb:*", "d\ne:"):
        assert found(tag=tag) == [first], tag
    for tag in ("channel:", "channel:web", "pilot:x", "other:*"):
        assert found(tag=tag) == [], tag


def test_conversations_of_a_version_set_are_found_by_those_who_may_see_it(stage: Stage) -> None:
    service, other = stage.service(), stage.service()
    here = {"org_id": {"type": "Equals", "value": "{self_org_id}"}}
    names = [f"Conversation:{name}" for name in ("CreateConversation", "GetConversation", "GetMessage")]
    own = {**here, "conversation_user_id": {"type": "Equals", "value": "{self_user_id}"}}
    grants = [{"permission_name": name, "conditions": own} for name in names]
    grants.append({"permission_name": "Service:GetService", "conditions": here})
    get_set = {"permission_name": "Service:GetVersionSet", "conditions": here}
    in_part = {**get_set, "conditions": {**here, "version_set_name": {"type": "Equals", "value": "edge"}}}
    sees = {"all": [get_set], "edge": [in_part], "none": []}
    for seen, more in sees.items():
        user = stage.user(make_role(stage.root, *grants, *more))
        edge = id_of(begin(user, service, service_version_set_name="edge"))
        release = id_of(begin(user, other))

        def found(user: UserClient = user, **query: Any) -> list[str]:
            return [item["id"] for item in conversations(user, user_id=user.user_id, **query)]

        assert found() == [release, edge]
        assert found(version_set_name="edge") == ([] if seen == "none" else [edge])
        assert found(version_set_name="release") == ([release] if seen == "all" else [])
        assert found(version_set_name=["release", "edge"], service_id=[service, other]) == {
            "all": [release, edge], "edge": [edge], "none": []
        }[seen]  # fmt: skip
        assert found(version_set_name="another") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"tag": "no colon"}, "tag"),
        ({"tag": 'a"b:c'}, "tag"),
        ({"sort_by": "+title"}, "sort_by"),
        ({"sort_by": "created_at"}, "sort_by"),
        ({"limit": 0}, "limit"),
        ({"limit": 151}, "limit"),
        ({"continuation_token": -1}, "continuation_token"),
        ({"continuation_token": 2**40}, "continuation_token"),
        ({"id": "x"}, "id"),
        ({"is_finished": "maybe"}, "is_finished"),
    ],
)
def test_a_wrong_filter_is_named(user: httpx2.Client, query: dict[str, Any], field: str) -> None:
    answer = user.get("/conversation/", params=query)
    assert answer.status_code == 422
    assert field in answer.json()["detail"][0]["loc"]


def test_others_conversations_are_seen_by_administrators_where_their_owner_allows(stage: Stage) -> None:
    service = stage.service()
    open_, private = stage.user(), stage.user(user_preferences={"conversations_visible_to_admins": False})
    shown, hidden = id_of(begin(open_, service)), id_of(begin(private, service))
    assert [item["id"] for item in conversations(stage.admin, service_id=service)] == [shown]
    assert [item["id"] for item in conversations(private)] == [hidden]
    assert conversations(stage.user(), service_id=service) == []
    assert len(messages(stage.admin, shown)) == 1
    assert messages(stage.admin, hidden) == []
    assert messages(stage.user(), shown) == []


def test_a_conversation_is_listed_whole(stage: Stage, user: UserClient) -> None:
    service = stage.service()
    conversation_id = id_of(begin(user, service, initial_message="Hi"))
    (item,) = conversations(user)
    assert item["created_at"].endswith("Z")
    assert item["version_set_info"]["name"] == "release"
    assert item["last_message_at"] >= item["created_at"]
    del item["created_at"], item["last_message_at"], item["version_set_info"]
    assert item == {
        "id": conversation_id,
        "user_id": user.user_id,
        "is_finished": False,
        "is_analyzed": False,
        "completed_post_processings": [],
        "post_processing_error": None,
        "final_message": "Hello there.",
        "service_id": service,
        "num_messages": 2,
        "num_turns": 1,
        "state": None,
        "is_test": False,
        "tags": {},
    }


def test_messages_are_filtered_and_paged(stage: Stage, user: httpx2.Client) -> None:
    conversation_id = id_of(begin(user, stage.service(graph(action("start", "end"), action("end")))))  # one
    interaction = go_on(user, conversation_id, "two")[-1]
    path = f"/conversation/{conversation_id}/messages/"
    newest_first = user.get(path).json()["messages"]
    assert [message["message"] for message in newest_first] == ["Hello there.", "two", "Hello there."]
    assert len(messages(user, conversation_id, interaction_id=interaction["interaction_id"])) == 2
    assert len(messages(user, conversation_id, message_type="user-message")) == 1
    assert len(messages(user, conversation_id, id=interaction["message_id"])) == 1
    page = user.get(path, params={"limit": 2, "sort_by": ["+interaction_id", "-created_at"]}).json()
    assert [message["message"] for message in page["messages"]] == ["Hello there.", "Hello there."]
    assert (page["has_more"], page["continuation_token"]) == (True, 2)
    assert user.get(f"/conversation/{UNKNOWN}/messages/").status_code == 404


def test_users_statistics_count_their_conversations_and_messages(stage: Stage, user: UserClient) -> None:
    go_on(user, id_of(begin(user, stage.service(), initial_message="one")), "two")
    (shown,) = user.get("/user/", params={"user_id": user.user_id}).json()["users"]
    stats = shown["user_stats"]
    assert (stats["num_conversations"], stats["num_messages"]) == (1, 4)
    assert stats["last_message_time"] is not None


def test_insights_tell_how_the_agent_came_to_its_message(stage: Stage) -> None:
    admin = stage.user("DefaultAdministratorRole")
    stage.play(Puppet(choice="exit-1"))
    service = stage.service(graph(action("start", "think"), annotation("think", "talk"), action("talk"), action("end")))
    events = begin(admin, service, initial_message="Go on")
    conversation_id, interaction_id = id_of(events), events[-1]["interaction_id"]
    answer = admin.get(f"/conversation/{conversation_id}/interaction/{interaction_id}/insights")
    insights = answer.json()
    (thought,) = messages(admin, conversation_id, message_type="agent-inner-thought")
    first, second = insights.pop("state_transition_logs")
    assert insights == {
        "current_state_name": "talk",
        "current_state_action": "Action 1 of talk",
        "current_state_objective": "Objective of talk",
        "working_memory": [],
        "reflections": [],
        "pending_tool_calls": [],
        "reply_cut_short": None,
        "triggered_dynamic_behavior_set_version_info": None,
        "select_next_action_tool_call_logs": [],
        "engage_user_tool_call_logs": [],
    }
    assert (first["type"], first["previous_state"], first["next_state"]) == ("action", "start", "think")
    assert (first["previous_state_exit_condition_description"], first["tool_call_logs"]) == ("To think", [])
    assert (second["type"], second["inner_thought_message_id"]) == ("annotation", thought["id"])


def test_events_and_insights_leave_out_the_words_that_small_models_go_by(stage: Stage) -> None:
    admin = stage.user("DefaultAdministratorRole")
    stage.play(Puppet(choice="exit-1"))
    leave = {"description": 'It starts. People say: "Go on!", "so?".', "next_state": "talk"}
    talk = {**action("talk"), "actions": ['Chat. Begin with: "Well," People say: "Hm".']}
    service = stage.service(graph({**action("start"), "exit_conditions": [leave]}, talk, action("end")))
    events = lines(create(admin, service, {"current_agent_action_type": ".*"}, initial_message="Go on"))
    interaction = events[-1]["interaction_id"]
    insights = admin.get(f"/conversation/{id_of(events)}/interaction/{interaction}/insights").json()
    told = [event["action"] for event in events if event["type"] == "current-agent-action"]
    assert [action["exit_condition"] for action in told if "exit_condition" in action] == ["It starts."]
    assert [action["action"] for action in told if "action" in action] == ["Chat."]
    assert insights["current_state_action"] == "Chat."
    assert insights["state_transition_logs"][0]["previous_state_exit_condition_description"] == "It starts."


def test_insights_are_for_those_who_may_see_them(stage: Stage, user: httpx2.Client) -> None:
    events = begin(user, stage.service())
    path = f"/conversation/{id_of(events)}/interaction/{events[-1]['interaction_id']}/insights"
    assert user.get(path).status_code == 403
    assert stage.admin.get(path).status_code == 200
    assert stage.admin.get(f"/conversation/{id_of(events)}/interaction/{UNKNOWN}/insights").status_code == 404
    assert stage.admin.get(f"/conversation/{UNKNOWN}/interaction/{UNKNOWN}/insights").status_code == 404


class Suggester(Puppet):
    """A puppet that answers a schema of suggestions."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    async def choose(self, prompt: Any, schema: Any) -> Any:
        self.prompts.append(prompt)
        return self.answer


def test_responses_are_recommended_after_the_newest_interaction(stage: Stage, user: httpx2.Client) -> None:
    events = begin(user, stage.service())
    conversation_id, interaction_id = id_of(events), events[-1]["interaction_id"]
    puppet = stage.play(Suggester({"responses": ["Yes, please.", "No, thanks."]}))
    path = f"/conversation/{conversation_id}/interaction/{interaction_id}/recommend_responses"
    assert user.post(path).json() == {"recommended_responses": ["Yes, please.", "No, thanks."]}
    assert user.post(path, json={"context": " A shy person "}).status_code == 200
    assert "A shy person" in puppet.prompts[-1].question
    assert user.post(path, json={"context": " "}).status_code == 422
    assert user.post(path.replace(interaction_id, UNKNOWN)).status_code == 404
    assert stage.user().post(path).status_code == 403
    stage.play(Puppet())
    go_on(user, conversation_id, "More")
    assert user.post(path).status_code == 400
    finish(user, conversation_id)
    assert user.post(path).status_code == 400


def test_recommended_responses_hold_only_characters_that_can_be_stored(stage: Stage, user: httpx2.Client) -> None:
    events = begin(user, stage.service())
    stage.play(Suggester({"responses": ["a\0b", "c\ud83d", "\ud83d\ude00"]}))
    path = f"/conversation/{id_of(events)}/interaction/{events[-1]['interaction_id']}/recommend_responses"
    assert user.post(path).json() == {"recommended_responses": ["ab", "c\ufffd", "\U0001f600"]}


def test_a_model_that_recommends_nothing_usable_is_a_plain_error(stage: Stage, user: httpx2.Client) -> None:
    events = begin(user, stage.service())
    stage.play(Suggester("nonsense"))
    path = f"/conversation/{id_of(events)}/interaction/{events[-1]['interaction_id']}/recommend_responses"
    answer = user.post(path)
    assert (answer.status_code, answer.json()) == (500, {"detail": "The language model gave no usable answer."})


def _starters(client: httpx2.Client, service_id: str, **changes: Any) -> httpx2.Response:
    body = {
        "service_id": service_id,
        "facets": ["books", "music"],
        "min_count": 1,
        "max_count": 2,
        "generation_instructions": "Keep them short.",
        **changes,
    }
    return client.post("/conversation/conversation_starter", json=body)


def test_conversation_starters_name_their_facets(stage: Stage, user: httpx2.Client) -> None:
    answer = {"prompts": [{"prompt": "Which book?", "facets": ["facet-1"]}, {"prompt": "Hm?", "facets": ["facet-2"]}]}
    puppet = stage.play(Suggester(answer))
    service = stage.service()
    assert _starters(user, service).json() == {
        "prompts": [{"prompt": "Which book?", "facets": ["books"]}, {"prompt": "Hm?", "facets": ["music"]}]
    }
    assert "Keep them short." in puppet.prompts[-1].question
    assert _starters(user, UNKNOWN).status_code == 404
    assert _starters(user, service, service_version_set_name="missing").status_code == 404
    for wrong in ({"facets": []}, {"min_count": 0}, {"max_count": 11}, {"min_count": 3}, {"facets": [" "]}):
        assert _starters(user, service, **wrong).status_code == 422, wrong
    assert conversations(user) == []


def test_tags_are_added_changed_and_removed(stage: Stage, user: httpx2.Client) -> None:
    conversation_id = id_of(begin(user, stage.service(), tags={"a": "1", "b": "2"}))
    path = f"/conversation/{conversation_id}/tags/"

    def tags() -> dict[str, Any]:
        return conversations(user, id=conversation_id)[0]["tags"]

    answer = user.post(path, json={"updates": {"b": "3", "c": None}, "deletes": ["a", "unknown"]})
    assert (answer.status_code, answer.content, tags()) == (204, b"", {"b": "3", "c": None})
    too_many = {f"k{n}": "v" for n in range(20)}
    assert user.post(path, json={"updates": too_many}).status_code == 400
    assert user.post(path, json={"updates": {"k-1": "v"}}).status_code == 422
    assert user.post(path, json={"updates": {"k": "a: b"}}).status_code == 422
    assert tags() == {"b": "3", "c": None}
    assert user.post(f"/conversation/{UNKNOWN}/tags/", json={}).status_code == 404


def test_a_text_message_has_no_source(stage: Stage, user: httpx2.Client) -> None:
    events = begin(user, stage.service())
    path = f"/conversation/{id_of(events)}/messages/{{}}/source"
    assert user.get(path.format(events[-1]["message_id"])).status_code == 400
    assert user.get(path.format(UNKNOWN)).status_code == 404
    assert stage.user().get(path.format(events[-1]["message_id"])).status_code == 403


def test_messages_of_a_foreign_conversation_are_an_empty_list(stage: Stage, user: httpx2.Client) -> None:
    conversation = id_of(begin(user, stage.service()))
    answer = stage.user().get(f"/conversation/{conversation}/messages/")
    assert (answer.status_code, answer.json()["messages"], answer.json()["has_more"]) == (200, [], False)
    assert stage.user().get(f"/conversation/{UNKNOWN}/messages/").status_code == 404
