"""Sessions that outlast a request: a database that is away keeps no session of another one alive."""

from datetime import timedelta
from pathlib import Path

import pytest

from support.server import Serve, Server
from tertulia import clock
from tertulia.auth.sessions import USER_GONE, Sessions
from tertulia.auth.tokens import Claims
from tertulia.errors import Unavailable
from tertulia.storage.database.units import Database, open_database


def opened(server: Server) -> Database:
    return open_database(server.settings.cluster_urls["default"], 2)


def claims_of(server: Server) -> Claims:
    return Claims(server.demo.organization_id, server.demo.user_id, clock.now() + timedelta(hours=1))


@pytest.fixture(scope="module")
def servers(serve: Serve) -> tuple[Server, Server]:
    """Two servers with a database each, whose super administrators have signed in."""
    made = serve(), serve()
    assert all(server.as_super for server in made)
    return made


def take_away(server: Server) -> None:
    """Remove the database of a server."""
    Path(server.settings.cluster_urls["default"].removeprefix("sqlite:///")).unlink()


async def test_a_session_ends_although_the_database_of_another_cannot_be_reached(
    servers: tuple[Server, Server],
) -> None:
    away, here = servers
    first, second = opened(away), opened(here)
    sessions = Sessions()
    ended: list[str] = []
    async with (
        sessions.watch(first, claims_of(away), ended.append),
        sessions.watch(second, claims_of(here), ended.append),
    ):
        take_away(away)
        assert here.as_super.delete(f"/user/{here.demo.user_id}").status_code == 204
        with pytest.raises(Unavailable):
            await sessions.look()
    assert ended == [USER_GONE]
    first.close()
    second.close()
