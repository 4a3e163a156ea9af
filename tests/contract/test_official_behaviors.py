"""Dynamic behaviours as the official client's generated types have them: requests made of them, answers read."""

from typing import Any

import httpx2
from amigo_sdk import AsyncAmigoClient
from amigo_sdk.generated import model

from contract.test_official_client import options_of
from support import samples
from support.server import Server

SETS = "/dynamic_behavior_set/"


def sent(body: Any) -> dict[str, Any]:
    """A request's body as the client writes it: without what is null."""
    return body.model_dump(mode="json", exclude_none=True, by_alias=True)


def make(client: httpx2.Client, service_id: str) -> str:
    body = samples.behavior(service_id, tags={"kind": "safety"}, conversation_triggers=["A siren is heard."])
    request = model.DynamicBehaviorSetCreateDynamicBehaviorSetRequest.model_validate(body)
    answer = client.post(SETS, json=sent(request))
    assert answer.status_code == 201, answer.text
    return model.DynamicBehaviorSetCreateDynamicBehaviorSetResponse.model_validate(
        answer.json()
    ).dynamic_behavior_set_id


async def test_the_client_reads_a_conversation_with_behaviours(tertulia: Server, as_admin: httpx2.Client) -> None:
    service_id = samples.make_service(as_admin)
    set_id = make(as_admin, service_id)
    request = model.ConversationCreateConversationRequest(
        service_id=service_id, initial_message="A siren!", initial_message_type="user-message"
    )
    async with AsyncAmigoClient(**options_of(tertulia)) as client:
        query = model.CreateConversationParametersQuery(response_format="text")
        events = [event.root async for event in await client.conversations.create_conversation(request, query)]
        insights = await client.conversations.get_interaction_insights(
            events[0].conversation_id, events[-1].interaction_id
        )
    answer = as_admin.get(f"{SETS}{set_id}/invocation/")
    page = model.DynamicBehaviorSetGetDynamicBehaviorInvocationsResponse.model_validate(answer.json())

    assert insights.triggered_dynamic_behavior_set_version_info.root == (set_id, 1)
    assert [made.conversation_id for made in page.dynamic_behavior_invocations] == [events[0].conversation_id]


def test_the_clients_types_read_sets_and_versions(as_admin: httpx2.Client) -> None:
    set_id = make(as_admin, samples.make_service(as_admin))
    change = model.DynamicBehaviorSetUpdateDynamicBehaviorSetRequest(is_active=False)
    as_admin.post(f"{SETS}{set_id}/", json=sent(change)).raise_for_status()
    version = model.DynamicBehaviorSetCreateDynamicBehaviorSetVersionRequest.model_validate(
        {"conversation_triggers": ["It rings."], "actions": [samples.instruction()]}
    )
    made = as_admin.post(f"{SETS}{set_id}/version/", json=sent(version))

    listed = as_admin.get(SETS, params={"id": set_id})
    found = as_admin.get(f"{SETS}search", params={"query": "rings"})
    versions = as_admin.get(f"{SETS}{set_id}/version/")

    number = model.DynamicBehaviorSetCreateDynamicBehaviorSetVersionResponse.model_validate(made.json())
    sets = model.DynamicBehaviorSetGetDynamicBehaviorSetsResponse.model_validate(listed.json())
    best = model.DynamicBehaviorSetSearchDynamicBehaviorSetsResponse.model_validate(found.json())
    page = model.DynamicBehaviorSetGetDynamicBehaviorSetVersionsResponse.model_validate(versions.json())
    assert number.new_version_number == 2
    assert [each.is_active for each in sets.dynamic_behavior_sets] == [False]
    assert [each.id for each in best.dynamic_behavior_sets] == [set_id]
    assert [each.version for each in page.dynamic_behavior_set_versions] == [1, 2]
