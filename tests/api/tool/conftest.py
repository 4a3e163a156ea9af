"""Tools made by the API alone, as a client of the contract makes them."""

import httpx2
import pytest

from support import samples
from support.tools import Publish, a_tool_name, an_echo


@pytest.fixture
def tool(as_admin: httpx2.Client) -> str:
    """A tool without a version. Its identifier."""
    body = samples.tool(a_tool_name())
    return str(as_admin.post("/tool/", json=body).raise_for_status().json()["id"])


@pytest.fixture
def publish(as_admin: httpx2.Client) -> Publish:
    """Publishes an archive as a version of a tool."""

    def send(tool_id: str, bump: str = "major", archive: bytes | None = None) -> httpx2.Response:
        sent = an_echo() if archive is None else archive
        path, kind = f"/tool/{tool_id}/version/archive", {"content-type": "application/gzip"}
        return as_admin.post(path, params={"bump_type": bump}, content=sent, headers=kind)

    return send
