"""Odd requests, to which every endpoint owes an answer, and the questions of operators."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest

from support import talk
from support.postgres import Postgres
from support.samples import a_name, make_agent
from support.server import Serve, Server
from tertulia.ids import new_id

AGENTS = "/organization/agent"
JSON = {"content-type": "application/json"}


def is_problem_list(answer: httpx2.Response) -> bool:
    return answer.status_code == 422 and all({"type", "loc", "msg"} <= set(item) for item in answer.json()["detail"])


def test_text_that_only_looks_like_an_escape_is_fine(as_admin: httpx2.Client) -> None:
    name = rf"{a_name()} \u0000"
    agent_id = as_admin.post(AGENTS, json={"agent_name": name}).json()["id"]
    assert as_admin.get(AGENTS, params={"id": agent_id}).json()["agents"][0]["name"] == name


def test_what_was_sent_is_not_repeated_in_a_refusal(as_admin: httpx2.Client) -> None:
    answer = as_admin.post(AGENTS, json={"agent_name": {"secret": "hush-hush"}})
    assert is_problem_list(answer)
    assert "hush-hush" not in answer.text


def test_unknown_fields_are_ignored(as_admin: httpx2.Client) -> None:
    assert as_admin.post(AGENTS, json={"agent_name": a_name(), "more": [1]}).status_code == 201


def test_both_slash_forms_take_a_body(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin)
    for path in (f"{AGENTS}/{agent_id}", f"{AGENTS}/{agent_id}/"):
        assert as_admin.post(path, json={}).status_code == 201
    for path in (f"{AGENTS}/{agent_id}/version", f"{AGENTS}/{agent_id}/version/"):
        assert as_admin.get(path).status_code == 200


def test_two_slashes_are_not_one(as_admin: httpx2.Client) -> None:
    assert as_admin.get("/service//").status_code == 404


@pytest.mark.parametrize("query", ["?version=%00", "?version=1%00", "?limit=1e9", "?limit=", "?sort_by=%00"])
def test_a_query_of_nonsense_is_refused(as_admin: httpx2.Client, query: str) -> None:
    assert is_problem_list(as_admin.get(f"{AGENTS}/{make_agent(as_admin)}/version{query}"))


@pytest.mark.parametrize(
    ("organization", "status"), [("nobody", 404), ("DEMO", 404), ("..%2Fdemo", 404), ("d%20emo", 404), ("d%00", 422)]
)
def test_an_organization_that_is_not_there_is_not_found(tertulia: Server, organization: str, status: int) -> None:
    answer = tertulia.as_admin.get(f"{tertulia.url}/v1/{organization}/service/")
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "path", ["/service/%00", "/organization/agent/x%00y/", "/user/%00", "/conversation/%00/messages/"]
)
def test_a_nul_in_a_path_is_refused_whether_or_not_the_path_has_the_method(as_admin: httpx2.Client, path: str) -> None:
    assert is_problem_list(as_admin.get(path))


def test_an_unknown_organization_comes_before_bad_credentials_and_those_before_a_wrong_field(tertulia: Server) -> None:
    bad = {"authorization": "Bearer nonsense"}
    assert tertulia.anonymous.get(f"{tertulia.url}/v1/nobody/service/", headers=bad).status_code == 404
    assert tertulia.anonymous.get("/service/?limit=99", headers=bad).status_code == 401
    assert tertulia.anonymous.get("/service/?limit=99").status_code == 401
    assert tertulia.anonymous.post(AGENTS, content=b"{", headers=JSON).status_code == 401
    assert tertulia.as_admin.get("/service/?limit=99").status_code == 422


def test_a_path_that_is_not_there_is_not_found_and_a_method_not_allowed(tertulia: Server) -> None:
    for answer, status in (
        (tertulia.as_admin.get("/nothing"), 404),
        (tertulia.as_admin.get(f"{tertulia.url}/nothing"), 404),
        (tertulia.as_admin.patch("/service/"), 405),
    ):
        assert answer.status_code == status
        assert isinstance(answer.json()["detail"], str)


def test_a_refused_method_is_told_all_that_are_allowed(tertulia: Server) -> None:
    for path in ("/service/", "/service"):
        assert tertulia.as_admin.options(path).headers["allow"] == "GET, POST"
    assert tertulia.anonymous.post(f"{tertulia.url}/healthz").headers["allow"] == "GET, HEAD"


# --- Bodies that are too large or never arrive -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(serve: Serve) -> Server:
    """A server with tight bounds on bodies."""
    return serve(limit={"body_bytes": 2048, "body_stall_s": 0.2})


def test_a_body_that_says_it_is_too_large_is_refused(strict: Server) -> None:
    answer = strict.as_admin.post(AGENTS, content=b" " * 2049, headers=JSON)
    assert answer.status_code == 413
    assert "2048" in answer.json()["detail"]
    assert strict.as_admin.post(AGENTS, content=b" " * 2048, headers=JSON).status_code == 422


def test_a_body_that_turns_out_too_large_is_refused(strict: Server) -> None:
    answer = strict.as_admin.post(AGENTS, content=(b" " * 1000 for _ in range(5)), headers=JSON)
    assert answer.status_code == 413
    assert "2048" in answer.json()["detail"]


def begin_a_post(server: Server, authorization: str) -> socket.socket:
    """A connection that has sent a request's head, and the first byte of a body of 100."""
    host, port = server.url.removeprefix("http://").split(":")
    head = "\r\n".join(
        [
            "POST /v1/demo/organization/agent HTTP/1.1",
            f"Host: {host}:{port}",
            f"Authorization: {authorization}",
            "Content-Type: application/json",
            "Content-Length: 100",
        ]
    )
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(f"{head}\r\n\r\n{{".encode())
    return connection


def test_a_body_that_stalls_is_answered_with_a_timeout(strict: Server) -> None:
    with begin_a_post(strict, strict.as_admin.headers["authorization"]) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_drips_is_answered_with_a_timeout(serve: Serve) -> None:
    patient = serve(limit={"body_stall_s": 20, "body_s": 0.3})
    with begin_a_post(patient, patient.as_admin.headers["authorization"]) as connection:
        connection.settimeout(0.05)
        answer = b""
        for _ in range(90):
            connection.sendall(b" ")
            try:
                answer = connection.recv(4096)
            except TimeoutError:
                continue
            break
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_speech_over_a_slow_link_is_waited_for_as_long_as_it_comes(serve: Serve) -> None:
    patient = serve(limit={"body_bytes": 4096, "body_s": 0.4})
    clock = threading.Event()

    def drips() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="initial_message_type"\r\n\r\nuser-message'
        yield b'\r\n--x\r\nContent-Disposition: form-data; name="recorded_message"; filename="a.wav"\r\n\r\n'
        for _ in range(12):
            yield bytes(4096)
            clock.wait(0.1)
        yield b"\r\n--x--\r\n"

    path = f"/conversation/{talk.id_of(talk.begin(patient.as_user, patient.demo.service_id))}/interact"
    audio = json.dumps({"type": "pcm", "frame_rate": 16_000, "n_channels": 1, "sample_width": 2})
    query = {"request_format": "voice", "response_format": "text", "request_audio_config": audio}
    form = {"content-type": "multipart/form-data; boundary=x"}
    answer = patient.as_user.post(path, params=query, content=drips(), headers=form)
    assert answer.status_code == 400
    assert "no speech" in answer.json()["detail"]


@pytest.mark.parametrize("authorization", ["", "Bearer nonsense"])
def test_a_body_is_not_waited_for_before_its_caller_is_known(serve: Serve, authorization: str) -> None:
    with begin_a_post(serve(), authorization) as connection:
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_a_form_that_is_too_large_is_refused(strict: Server) -> None:
    path = f"/conversation/{new_id()}/interact?request_format=text&response_format=text"
    parts: dict[str, Any] = {"recorded_message": ("m.txt", b"x" * 4000), "initial_message_type": (None, "user-message")}
    assert strict.as_admin.post(path, files=parts).status_code == 413


# --- Operators -------------------------------------------------------------------------------------------------------


def test_a_running_server_is_alive_and_ready(tertulia: Server) -> None:
    for path in ("/healthz", "/readyz"):
        answer = tertulia.anonymous.get(tertulia.url + path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_server_whose_database_is_gone_is_alive_but_not_ready(serve: Serve, postgres_server: Postgres) -> None:
    url = postgres_server.create()
    server = serve(clusters={"eu": url})
    assert server.anonymous.get(f"{server.url}/readyz").status_code == 200
    postgres_server.drop(url)
    assert server.anonymous.get(f"{server.url}/healthz").status_code == 200
    answer = server.anonymous.get(f"{server.url}/readyz")
    assert answer.status_code == 503
    assert "eu" in answer.json()["detail"]
    elsewhere = server.anonymous.get(f"{server.url}/v1/other/service/", headers={"x-mongo-cluster-name": "eu"})
    assert (elsewhere.status_code, elsewhere.headers["retry-after"]) == (503, "1")
    assert url not in elsewhere.text


def test_an_error_that_nobody_foresaw_says_nothing_of_itself(serve: Serve, postgres_server: Postgres) -> None:
    url = postgres_server.create()
    server = serve(database={"url": url})
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE agents RENAME TO elsewhere")
    answer = server.as_admin.get(AGENTS)
    assert (answer.status_code, answer.json()) == (500, {"detail": "Internal error."})
    assert answer.headers["x-request-id"]
    assert server.as_admin.get("/service/").status_code == 200


def test_requests_are_counted_by_route_not_by_path(tertulia: Server) -> None:
    agent_id = make_agent(tertulia.as_admin)
    tertulia.as_admin.get(f"{AGENTS}/{agent_id}/version")
    tertulia.as_admin.get("/nothing/at/all")
    text = tertulia.anonymous.get(f"{tertulia.url}/metrics").text
    route = "/v1/{organization}/organization/agent/{agent_id}/version"
    assert f'tertulia_http_requests_total{{method="GET",route="{route}",status="200"}}' in text
    assert 'tertulia_http_requests_total{method="GET",route="unmatched",status="404"}' in text
    assert f'tertulia_http_request_duration_seconds_count{{method="GET",route="{route}"}}' in text
    assert "tertulia_open_streams" in text
    assert agent_id not in text


def test_a_request_has_an_id_of_its_own_or_the_callers(tertulia: Server) -> None:
    first, second = (tertulia.as_admin.get("/service/").headers["x-request-id"] for _ in range(2))
    assert first != second
    given = tertulia.as_admin.get("/service/", headers={"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    hostile = tertulia.as_admin.get("/service/", headers={"x-request-id": "x" * 65})
    assert len(hostile.headers["x-request-id"]) == 16


def test_the_openapi_document_names_the_ways_to_sign_in(tertulia: Server) -> None:
    document = tertulia.anonymous.get(f"{tertulia.url}/v1/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert {"Bearer-Authorization", "Bearer-Authorization-Organization", "Basic"} <= set(schemes)
    operation = document["paths"]["/v1/{organization}/service/"]["get"]
    assert {"Bearer-Authorization": []} in operation["security"]
    assert {"Basic": []} in operation["security"]


def test_the_page_of_the_api_loads_nothing_from_elsewhere(tertulia: Server) -> None:
    page = tertulia.anonymous.get(f"{tertulia.url}/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert "https://" not in page.text
    served = [address for address in loaded if address.startswith("/docs/")]
    assert len(served) == 2
    for address in served:
        assert tertulia.anonymous.get(f"{tertulia.url}{address}").status_code == 200


def test_many_callers_at_once_are_all_answered(tertulia: Server) -> None:
    statuses: list[int] = []

    def call() -> None:
        with tertulia.client(tertulia.as_admin.headers["authorization"].removeprefix("Bearer ")) as client:
            statuses.extend(client.get("/service/").status_code for _ in range(5))

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 80
