"""`tertulia init`: an installation that is there, whoever asks and however often."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import func, select

from support.commands import PATIENCE_S, TERTULIA, Command, Start
from tertulia.demo import organization as demo
from tertulia.demo.organization import KEPT_KEYS, Demo
from tertulia.storage.database import dialect
from tertulia.storage.tables import api_keys

FIELDS = {"organization_id", "user_id", "admin_user_id", "super_user_id", "api_key_id", "api_key", "service_id"}


def test_a_first_init_prints_what_scripts_need_and_nothing_else(program: Command, data: Path) -> None:
    done = program("init", "--data", data, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    made = json.loads(done.stdout)
    assert made.keys() == FIELDS
    assert made["organization_id"] == "demo"
    assert done.stdout.count("\n") == 1


def test_a_second_init_finds_everything_and_issues_another_key(command: Command, data: Path) -> None:
    first = json.loads(command("init", "--data", data, "--json").stdout)
    second = json.loads(command("init", "--data", data, "--json").stdout)
    same = FIELDS - {"api_key", "api_key_id"}
    assert {name: first[name] for name in same} == {name: second[name] for name in same}
    assert first["api_key"] != second["api_key"]
    assert first["api_key_id"] != second["api_key_id"]


def test_an_empty_organization_has_an_administrator_and_a_key_and_no_demo(
    start: Start, command: Command, data: Path
) -> None:
    done = command("init", "--data", data, "--organization", "acme", "--empty", "--json")
    made = json.loads(done.stdout)
    assert made.keys() == FIELDS - {"user_id", "service_id"}
    url = start("serve", "--data", data, "--port", "0").url
    keys = {"x-api-key": made["api_key"], "x-api-key-id": made["api_key_id"], "x-user-id": made["admin_user_id"]}
    with httpx2.Client(base_url=f"{url}/v1/acme", trust_env=False) as client:
        token = client.post("/user/signin_with_api_key", headers=keys).json()["id_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.get("/organization/").json()["org_name"] == "acme"
        assert [user["user_id"] for user in client.get("/user/").json()["users"]] == [
            made["admin_user_id"],
            made["super_user_id"],
        ]
        assert client.get("/service/").json()["services"] == []
        assert client.get("/organization/agent").json()["agents"] == []
    done = command("chat", "--data", data, "--url", url, "--organization", "acme", "--admin")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "There is no active service" in done.stderr


def test_a_demo_can_be_made_in_an_empty_organization_later(command: Command, data: Path) -> None:
    empty = json.loads(command("init", "--data", data, "--empty", "--json").stdout)
    full = json.loads(command("init", "--data", data, "--json").stdout)
    assert full.keys() == FIELDS
    assert full["admin_user_id"] == empty["admin_user_id"]


def test_a_secret_key_is_for_its_owner_alone(command: Command, data: Path) -> None:
    command("init", "--data", data)
    assert stat.S_IMODE((data / "secret.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


@pytest.mark.parametrize("arguments", [["init"], ["serve", "--port", "0"], ["token"], ["keys", "rotate"]])
def test_another_secret_key_than_the_database_s_is_refused(
    command: Command, data: Path, made: dict[str, str], arguments: list[str]
) -> None:
    other = {"TERTULIA_SECRET_KEY": "another key, of at least thirty-two characters"}
    done = command(*arguments, "--data", data, **other)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tertulia: The secret key is not the one that this database was made with:")


def test_a_person_reads_names_and_values(command: Command, data: Path) -> None:
    done = command("init", "--data", data)
    assert done.returncode == 0
    assert set(done.stdout.split()) >= FIELDS


@pytest.mark.both_databases
def test_several_inits_at_once_make_one_organization(
    tmp_path: Path, database_kind: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("empty_database_url")
    start = [TERTULIA, "init", "--data", str(tmp_path / "data"), "--json"]
    environment = {"TERTULIA_DATABASE_URL": url, "PATH": str(Path(sys.executable).parent)}
    together = [
        subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=PATIENCE_S) for process in together]
    assert [process.returncode for process in together] == [0] * 4, (database_kind, outputs)
    made = [json.loads(output) for output, _errors in outputs]
    assert len({(one["user_id"], one["admin_user_id"], one["service_id"]) for one in made}) == 1
    assert len({one["api_key_id"] for one in made}) == 4


def test_a_new_organization_goes_to_the_cluster_that_is_named_and_stays_there(
    command: Command, data: Path, tmp_path: Path
) -> None:
    eu = {"TERTULIA_CLUSTERS_EU": f"sqlite:///{tmp_path / 'eu.db'}"}
    made = command("init", "--data", data, "--organization", "far-away", "--cluster", "eu", "--json", **eu)
    assert json.loads(made.stdout)["organization_id"] == "far-away"
    again = command("init", "--data", data, "--organization", "far-away", "--json", **eu)
    assert json.loads(again.stdout)["user_id"] == json.loads(made.stdout)["user_id"]
    moved = command("init", "--data", data, "--organization", "far-away", "--cluster", "default", **eu)
    assert (moved.returncode, moved.stdout) == (2, "")
    assert moved.stderr == "tertulia: The organization far-away is in the storage cluster eu.\n"


def test_a_key_of_long_ago_makes_room(database_url: str, tmp_path: Path) -> None:
    engine = dialect.create_engine(database_url, 1)

    def bootstrap() -> Demo:
        with engine.begin() as connection:
            return demo.bootstrap(connection)

    *_, newest = (bootstrap() for _ in range(KEPT_KEYS + 3))
    with engine.begin() as connection:
        kept = connection.execute(select(func.count()).select_from(api_keys)).scalar_one()
        ids = connection.execute(select(api_keys.c.key_id)).scalars().all()
    engine.dispose()
    assert kept == KEPT_KEYS
    assert newest.api_key_id in ids
