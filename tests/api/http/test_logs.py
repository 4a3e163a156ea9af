"""What is logged, and what never is."""

import pytest

from support.server import Serve


def test_the_access_log_has_neither_tokens_nor_queries(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    server = serve(log_level="info")
    answer = server.as_admin.get("/service/", params={"tags": "hush:hush"})
    logged = capsys.readouterr().err
    assert '"path":"/v1/demo/service/"' in logged
    assert f'"request_id":"{answer.headers["x-request-id"]}"' in logged
    assert "hush" not in logged
    assert server.as_admin.headers["authorization"].removeprefix("Bearer ") not in logged
