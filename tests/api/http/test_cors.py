"""Pages of other origins: preflight requests, and the headers of every answer."""

from typing import Any

import httpx2
import pytest

from support.server import Serve, Server
from tertulia.api.http import cors
from tertulia.settings import Settings

PAGE = "https://app.example"
ASKING = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


@pytest.fixture(scope="module")
def open_server(serve: Serve) -> Server:
    """A server that pages of one origin may call, with the contract's limits."""
    return serve(cors_origins=(PAGE,), rate_limits="contract", limit={"body_bytes": 2048})


def readable(answer: httpx2.Response) -> bool:
    """Tell if a page may read an answer and our headers of it."""
    exposed = answer.headers.get("access-control-expose-headers", "").split(", ")
    return answer.headers.get("access-control-allow-origin") == PAGE and set(exposed) == set(cors.EXPOSED)


def test_a_preflight_is_answered_without_credentials_and_is_not_counted(open_server: Server) -> None:
    # Five conversations a minute are allowed.
    *others, answer = (open_server.anonymous.options("/conversation/", headers=ASKING) for _ in range(20))
    assert {one.status_code for one in (*others, answer)} == {204}
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "x-ratelimit-limit" not in answer.headers


def test_a_preflight_of_another_origin_is_refused(open_server: Server) -> None:
    answer = open_server.anonymous.options("/conversation/", headers={**ASKING, "origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["detail"]) == (403, "Pages of this origin may not call this server.")
    assert "access-control-allow-origin" not in answer.headers


def test_answers_of_every_kind_can_be_read(open_server: Server) -> None:
    page = {"origin": PAGE}
    user = open_server.as_user
    stream = user.post(
        "/conversation/?response_format=text", json={"service_id": open_server.demo.service_id}, headers=page
    )
    answers = [
        (200, user.get("/service/", headers=page)),
        (201, stream),
        (401, open_server.anonymous.get("/service/", headers=page)),
        (404, user.get("/nothing", headers=page)),
        (405, user.patch("/service/", headers=page)),
        (413, user.post("/user/", content=b"x" * 5000, headers=page)),
        (422, user.get("/service/?limit=x", headers=page)),
        (429, [user.get("/organization/agent", headers=page) for _ in range(21)][-1]),
    ]
    assert [answer.status_code for _, answer in answers] == [status for status, _ in answers]
    assert [status for status, answer in answers if not readable(answer)] == []


def test_an_error_that_nobody_foresaw_can_be_read(open_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("tertulia.background.maintenance.Maintenance.refuse", fail)
    answer = open_server.as_admin.get("/service/", headers={"origin": PAGE})
    assert answer.status_code == 500
    assert readable(answer)


def test_an_answer_to_another_origin_or_to_none_says_nothing_but_that_it_depends(open_server: Server) -> None:
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {}):
        answer = open_server.as_user.get("/organization/", headers=headers)
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"


def test_no_origin_is_allowed_by_default(tertulia: Server) -> None:
    answer = tertulia.as_user.get("/organization/", headers={"origin": PAGE})
    assert "access-control-allow-origin" not in answer.headers
    assert tertulia.anonymous.options("/conversation/", headers=ASKING).status_code == 405


@pytest.mark.parametrize(
    "origins",
    [
        "app.example",
        "https://app.example/",
        "https://app.example/x",
        "https://a b",
        "**",
        "null",
        "https://App.example",
        "https://app.example:443",
        "http://app.example:80",
        "http://app.example:0080",
        "http://app.example:65536",
        "http://app.example:",
        "https://:8443",
        "https://a..example",
        "http://[::1",
        "http://[0:0:0:0:0:0:0:1]",
    ],
)
def test_what_is_no_origin_is_no_setting(origins: str) -> None:
    wrong: dict[str, Any] = {"cors_origins": origins}
    with pytest.raises(ValueError, match="write origins as browsers do"):
        Settings(**wrong)


@pytest.mark.parametrize(
    "origin", ["*", "https://app.example:80", "http://my_app:443", "capacitor://localhost", "http://[fd00::1]"]
)
def test_each_form_that_browsers_send_is_a_setting(origin: str) -> None:
    allowed: dict[str, Any] = {"cors_origins": origin}
    assert Settings(**allowed).cors_origins == (origin,)


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_CORS_ORIGINS", "https://a.example, http://localhost:3000,http://[::1]:8080")
    assert Settings().cors_origins == ("https://a.example", "http://localhost:3000", "http://[::1]:8080")
