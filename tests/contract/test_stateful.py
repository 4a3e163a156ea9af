"""Requests that follow from each other: a state machine makes them from this server's own OpenAPI document.

Its links lead from an answer to a request about what the answer names, such as the identifier of what was just made.
They are found by schemathesis, in the names of fields and of parameters. Made-up bodies seldom make anything, so every
other request that follows from nothing has the body of an example.
"""

import itertools
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky, FlakyStrategyDefinition
from schemathesis import Case, Response
from schemathesis.generation.stateful import run_state_machine_as_test
from schemathesis.generation.stateful.state_machine import StepInput, StepOutput

from operations import BY_ID, Targets, filled
from support.server import Server
from support.targets import make_targets

pytestmark = pytest.mark.heavy

schemathesis.serializer.alias("application/gzip", "application/octet-stream")

CREDENTIALS = ("Authorization", "X-ORG-ID", "Sec-WebSocket-Protocol", "x-mongo-cluster-name")
"""Headers that are always those of the caller here."""

LEFT_OUT = ("assign-role", "delete-organization")
"""Operations after which the caller would be somebody else, or nowhere."""

CHAINS, STEPS = int(os.environ.get("STATEFUL_CHAINS", "12")), 12

PLAIN = settings(
    max_examples=2,
    stateful_step_count=STEPS,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    database=None,
    deadline=None,
)


@dataclass
class Seen:
    """The answers to all requests: their statuses, those to requests that followed, and failures of the server."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    followed: Counter[str] = field(default_factory=Counter[str])
    broken: set[str] = field(default_factory=set[str])


@pytest.mark.parametrize("who", ["as_user", "as_admin", "as_super"])
def test_no_chain_of_requests_breaks_the_server(tertulia: Server, who: str) -> None:
    client: httpx2.Client = getattr(tertulia, who)
    targets = make_targets(tertulia, tertulia.as_admin)
    seen = Seen()
    machine = machine_of(tertulia, client, targets, seen)

    for number in range(CHAINS):  # each for itself: what there is by then differs from one chain to the next
        with suppress(Flaky, FlakyStrategyDefinition):
            run_state_machine_as_test(hypothesis.seed(number)(machine), settings=PLAIN)

    assert not seen.broken, "\n".join(sorted(seen.broken))
    assert seen.followed or who == "as_user"  # a user makes hardly anything that a link leads from
    assert seen.statuses[200] > 10
    assert client.get("/service/").status_code == 200  # the caller was nobody else meanwhile


def machine_of(server: Server, client: httpx2.Client, targets: Targets, seen: Seen) -> type[Any]:
    """Make a machine whose requests are those of one caller, in the demo organization. Return it."""
    document = client.get(f"{server.url}/v1/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document).exclude(operation_id=list(LEFT_OUT))
    base: Any = schema.as_state_machine()
    numbers = itertools.count()

    class Chain(base):
        def step(self, input: StepInput) -> StepOutput:  # noqa: A002 - the base has this name
            operation = BY_ID[input.case.operation.definition.raw["operationId"]]
            if input.transition is None and next(numbers) % 2 and operation.json is not None:
                input.case.body = filled(operation.json, targets)
            made: StepOutput = super().step(input)
            if input.transition is not None and input.is_applied and made.response.status_code < 400:
                seen.followed[input.transition.id] += 1
            return made

        def before_call(self, case: Case) -> None:
            case.path_parameters["organization"] = server.demo.organization_id
            for name in CREDENTIALS:
                case.headers.pop(name, None)

        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"base_url": server.url, "headers": {"Authorization": client.headers["Authorization"]}}

        def validate_response(self, response: Response, case: Case, **_more: Any) -> None:
            seen.statuses[response.status_code] += 1
            if response.status_code >= 500:
                seen.broken.add(f"{response.status_code} {response.text[:200]} to {case.as_curl_command()[:600]}")

    return Chain
