"""Requests that nobody would write, right and wrong ones, made from this server's own OpenAPI document."""

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode, Response
from schemathesis.core.result import Ok

from operations import BY_ID
from support import samples
from support.server import Server

pytestmark = pytest.mark.heavy

HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]

EXAMPLES = 8
"""Requests to each operation: so many right ones and so many wrong ones."""

MORE_EXAMPLES = {"create-conversation": 50, "interact-with-conversation": 30}
"""The heart of the server, where few requests get far."""

CREDENTIALS = ("Authorization", "X-ORG-ID", "Sec-WebSocket-Protocol")
"""Headers that are always those of the callers here."""

NOT_SUPER = {"delete-organization"}
"""Operations after which a super administrator would have nothing more to ask about."""

MADE = {
    "create-dynamic-behavior-set": "dynamic_behavior_set_id",
    "create-invited-user": "requested_user_id",
    "create-tool": "tool_id",
}
"""Operations that make something, and the parameter of later ones that names it."""

TEXT = {"response_format": "text"}

schemathesis.serializer.alias("application/gzip", "application/octet-stream")


@pytest.fixture
def known(tertulia: Server) -> dict[str, str]:
    """Identifiers of what there is, and may be harmed, by the names of parameters."""
    admin = tertulia.as_admin
    person = {"first_name": "A", "last_name": "B", "email": "fuzz@example.com", "role_name": "DefaultUserRole"}
    user_id = admin.post("/user/", json=person).json()["user_id"]
    agent_id, graph_id = samples.make_agent(admin), samples.make_graph(admin, samples.short_graph())
    service_id = samples.make_service(admin, agent_id=agent_id)
    tool = {"name": "fuzzed", "description": "A tool that requests are about.", "tags": {}}
    stream = admin.post("/conversation/", params=TEXT, json={"service_id": tertulia.demo.service_id}).text
    events = [json.loads(line) for line in stream.splitlines()]
    return {
        "organization": tertulia.demo.organization_id,
        "agent_id": agent_id,
        "service_hierarchical_state_machine_id": graph_id,
        "state_machine_id": graph_id,
        "service_id": service_id,
        "version_set_name": "release",
        "service_version_set_name": "release",
        "role_name": "DefaultUserRole",
        "requested_user_id": user_id,
        "user_id": user_id,
        "conversation_id": events[0]["conversation_id"],
        "interaction_id": events[-1]["interaction_id"],
        "message_id": events[-1]["message_id"],
        "tool_id": admin.post("/tool/", json=tool).json()["id"],
    }


@pytest.fixture
def callers(tertulia: Server) -> Iterator[list[requests.Session]]:
    """An administrator, a user and a super administrator, who take turns."""
    sessions: list[requests.Session] = []
    for client in (tertulia.as_admin, tertulia.as_user, tertulia.as_super):
        session = requests.Session()
        session.trust_env = False
        session.headers["Authorization"] = client.headers["Authorization"]
        sessions.append(session)
    yield sessions
    for session in sessions:
        session.close()


def test_no_request_breaks_the_server(tertulia: Server, known: dict[str, str], callers: list[requests.Session]) -> None:
    schema = schemathesis.openapi.from_dict(tertulia.anonymous.get(f"{tertulia.url}/v1/openapi.json").json())
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    operations.sort(key=when)
    statuses: dict[str, set[int]] = {}
    broken: set[str] = set()
    made: set[str] = set()

    for operation in operations:
        name = operation.definition.raw["operationId"]
        answers = statuses[name] = set()
        able = callers[:2] if name in NOT_SUPER else callers
        cases = [case for mode in GenerationMode for case in cases_of(operation, mode, known)]
        for number, case in enumerate(cases):
            answer = case.call(tertulia.url, able[number % len(able)])
            answers.add(answer.status_code)
            if answer.status_code == 201 and b"conversation-created" in answer.content:
                finish(tertulia, answer)
            elif answer.status_code in {200, 201} and name in MADE:
                told = answer.json()
                known[MADE[name]] = told.get("user_id") or told.get("id") or told[MADE[name]]
                made.add(name)
            broken.update(f"{operation.label}: {wrong}" for wrong in problems(answer, case))

    assert not broken, "\n".join(sorted(broken))
    assert {name for name, answers in statuses.items() if answers} == BY_ID.keys()
    here = f"{tertulia.base}/service/"
    assert [caller.get(here).status_code for caller in callers] == [200, 200, 200]  # they were nobody else meanwhile
    assert made  # later requests were about what earlier ones had made


def when(operation: APIOperation) -> int:
    """Order the operations. Return a rank: what makes things comes first, and what deletes them last."""
    name = operation.definition.raw["operationId"]
    return 0 if name in MADE else 2 if operation.method == "delete" else 1


def finish(tertulia: Server, answer: Response) -> None:
    """End the conversation of a stream: the next request can begin another."""
    created = json.loads(answer.content.split(b"\n", 1)[0])
    tertulia.as_admin.post(f"/conversation/{created['conversation_id']}/finish/")


def cases_of(operation: APIOperation, mode: GenerationMode, known: dict[str, str]) -> list[Case]:
    """The same requests each time; about half of them are about something that exists."""
    names = {parameter.name for parameter in operation.path_parameters}
    here = {name: value for name, value in known.items() if name in names}
    anywhere = {"organization": known["organization"]}
    cases: list[Case] = []

    @settings(
        max_examples=MORE_EXAMPLES.get(operation.definition.raw["operationId"], EXAMPLES),
        phases=[Phase.generate],
        suppress_health_check=HEALTH,
        database=None,
        deadline=None,
        derandomize=True,
    )
    @given(
        st.one_of(
            operation.as_strategy(mode, path_parameters=here), operation.as_strategy(mode, path_parameters=anywhere)
        ),
        st.booleans(),
    )
    def make(case: Case, exists: bool) -> None:
        for header in CREDENTIALS:
            case.headers.pop(header, None)
        if exists:
            case.headers.pop("x-mongo-cluster-name", None)
            if isinstance(case.body, dict):
                case.body.update({name: known[name] for name in case.body.keys() & known.keys()})
        cases.append(case)

    with suppress(Unsatisfiable):  # of some requests there are no wrong ones
        make()
    return cases


def problems(answer: Response, case: Case) -> Iterator[str]:
    """Yield what is wrong with an answer whatever was asked."""
    sent = case.as_curl_command()[:400]
    if answer.status_code >= 500:
        yield f"{answer.status_code} {answer.text[:200]} to {sent}"
    elif answer.status_code >= 400:
        detail = answer.json().get("detail")
        if not isinstance(detail, list if answer.status_code == 422 else str):
            yield f"{answer.status_code} {answer.text[:200]} to {sent}"
