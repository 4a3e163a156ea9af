"""The order in which a request is refused: who asks comes before what is wrong with the query."""

import pytest

from support.stage import Stage

TOO_OFTEN = "&".join(["id=" + "a" * 24] * 502)


@pytest.mark.parametrize("query", [TOO_OFTEN, "id=%00"])
def test_a_caller_without_credentials_hears_of_those_first(stage: Stage, query: str) -> None:
    assert stage.server.anonymous.get(f"/conversation/?{query}").status_code == 401
    assert stage.server.anonymous.get(f"{stage.server.url}/v1/nowhere/conversation/?{query}").status_code == 404
    assert stage.user().get(f"/conversation/?{query}").status_code == 422
