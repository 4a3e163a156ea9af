"""Attributes of rows and columns of lists: permissions name the same ones, whichever of them is asked."""

from datetime import datetime

from tertulia import clock
from tertulia.storage import conversation, message, user
from tertulia.storage.conversation import Conversation, HeldLease, ListedConversation, Owner, UserProfile
from tertulia.storage.turn.values import Opening

NOW: datetime = clock.EPOCH

OWNER = Owner("org", "user", "role", model_visible_to_admins=True, conversations_visible_to_admins=True)
CONVERSATION = Conversation(
    id="conversation",
    org_id="org",
    service_id="service",
    owner=OWNER,
    profile=UserProfile("Test", "Person", {}, ()),
    agent=("agent", 1),
    graph=("graph", 1),
    llm_model_preferences={},
    tags={},
    is_finished=False,
    position=[],
    num_interactions=1,
    last_interaction_id="interaction",
    last_message_time=NOW,
    lease=HeldLease(1, None, None),
)
LISTED = ListedConversation(
    id="conversation",
    org_id="org",
    user_id="user",
    service_id="service",
    version_set_name="release",
    agent_id="agent",
    agent_version=1,
    context_graph_id="graph",
    context_graph_version=1,
    llm_model_preferences={},
    tags={},
    is_finished=False,
    is_analyzed=False,
    completed_post_processings=(),
    num_messages=1,
    created_at=NOW,
    conversations_visible_to_admins=True,
    final_message="Bye",
    final_message_type="agent-message",
)


def test_a_conversation_has_the_attributes_of_its_columns_alone_and_in_a_list() -> None:
    assert CONVERSATION.attributes == LISTED.attributes
    assert CONVERSATION.attributes.keys() == conversation.COLUMNS.keys()


def test_a_message_has_the_attributes_of_its_columns() -> None:
    assert message.attributes(CONVERSATION, "user-message").keys() == message.COLUMNS.keys()


def test_the_owner_of_a_conversation_has_the_attributes_of_a_user() -> None:
    assert OWNER.attributes.keys() == user.COLUMNS.keys()


def test_a_conversation_that_is_about_to_begin_lacks_its_identifier_alone() -> None:
    opening = Opening("org", "user", "service", "release", {}, is_test=False)
    assert opening.attributes == {
        name: value for name, value in CONVERSATION.attributes.items() if name != "conversation_id"
    }
