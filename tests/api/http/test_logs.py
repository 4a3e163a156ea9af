"""Logs: lines that must be there, and words that never are."""

import socket

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from support.live import address
from support.server import Serve


def test_the_access_log_has_neither_tokens_nor_queries(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve(log_level="info")
    answer = server.as_admin.get("/service/", params={"tags": "hush:hush"})
    logged = capsys.readouterr().err
    assert '"path":"/v1/demo/service/"' in logged
    assert f'"request_id":"{answer.headers["x-request-id"]}"' in logged
    assert "hush" not in logged
    assert server.as_admin.headers["authorization"].removeprefix("Bearer ") not in logged


def test_a_client_that_leaves_within_its_body_is_one_quiet_line(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(log_level="info")
    host, port = server.url.removeprefix("http://").split(":")
    path = f"/v1/demo/conversation/{'0' * 24}/interact"
    head = [
        f"POST {path}?request_format=text&response_format=text HTTP/1.1",
        f"Authorization: {server.as_user.headers['authorization']}",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Length: 100",
    ]
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall("\r\n".join([*head, "Host: x", "", "--x\r\n"]).encode())
    logged = ""
    for _ in range(1000):
        server.anonymous.get("/healthz")
        logged += capsys.readouterr().err
        if f'"path":"{path}"' in logged:
            break
    assert '"status":499' in logged
    assert "Traceback" not in logged
    assert '"level":"error"' not in logged


def test_a_live_conversation_that_is_refused_is_one_line(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve(log_level="info")
    capsys.readouterr()
    with pytest.raises(InvalidStatus), connect(address(server), proxy=None):
        pass
    server.anonymous.get(f"{server.url}/healthz")
    logged = [line for line in capsys.readouterr().err.splitlines() if "/healthz" not in line]
    assert [line for line in logged if '"level":"error"' in line or "handshake" in line] == []
    assert sum("websocket refused" in line for line in logged) == 1
