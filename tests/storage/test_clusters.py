"""Several storage clusters, and which of them holds an organization."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tertulia.errors import NotFound
from tertulia.settings import DatabaseSettings, Settings
from tertulia.storage import clusters as module
from tertulia.storage import organization
from tertulia.storage.clusters import Clusters, put_entry

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def clusters(new_database: Callable[[], str], tmp_path: Path) -> AsyncIterator[Clusters]:
    """Two clusters: `listed` is in the directory and in `eu`; `new` is in `eu`, and the directory does not know it."""
    settings = Settings(
        data=tmp_path, database=DatabaseSettings(url=new_database(), pool_size=2), clusters={"eu": new_database()}
    )
    opened = Clusters(settings)
    await opened.default.write(put_entry, "listed", "eu")
    await opened.default.write(organization.insert_organization, "plain", "Plain")
    for org_id in ("listed", "new"):
        await opened.open("eu").write(organization.insert_organization, org_id, org_id)
    yield opened
    opened.close()


async def test_the_directory_says_where_an_organization_is(clusters: Clusters) -> None:
    assert await clusters.locate("listed", None) is clusters.open("eu")
    assert await clusters.locate("listed", "eu") is clusters.open("eu")


async def test_another_cluster_than_the_directorys_is_refused(clusters: Clusters) -> None:
    with pytest.raises(NotFound, match="The organization listed is not in the storage cluster default"):
        await clusters.locate("listed", "default")


async def test_an_organization_that_the_directory_does_not_know_is_looked_for_where_the_request_says(
    clusters: Clusters,
) -> None:
    assert await clusters.locate("new", "eu") is clusters.open("eu")
    assert await clusters.locate("plain", None) is clusters.default


@pytest.mark.parametrize(("org_id", "named"), [("new", None), ("new", "default"), ("nowhere", None), ("nowhere", "eu")])
async def test_an_organization_that_is_not_there_is_not_found(
    clusters: Clusters, org_id: str, named: str | None
) -> None:
    with pytest.raises(NotFound, match=f"There is no organization {org_id}"):
        await clusters.locate(org_id, named)


async def test_an_unknown_cluster_is_not_found(clusters: Clusters) -> None:
    for org_id in ("listed", "nowhere"):
        with pytest.raises(NotFound, match="There is no storage cluster moon"):
            await clusters.locate(org_id, "moon")


async def test_an_organization_that_has_moved_is_found_after_a_while(
    clusters: Clusters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_S", 0)
    await clusters.locate("listed", None)

    await clusters.default.write(put_entry, "listed", "default")

    assert await clusters.locate("listed", None) is clusters.default
