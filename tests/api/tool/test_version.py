"""Versions of tools: numbers, constraints, archives, folders and repositories, and what cannot be published."""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import sqlalchemy as sa

from support import samples
from support.server import Serve, Server
from support.targets import write
from support.tools import ECHO, MANIFEST, Publish, a_tool_name, an_archive, an_echo
from tertulia import clock
from tertulia.storage import tool_version as tool_versions
from tertulia.storage.tables import organization_usage
from tertulia.tools import fingerprint


def listed(client: httpx2.Client, tool_id: str, **query: Any) -> list[str]:
    """List the versions of a tool. Return their numbers."""
    page = client.get(f"/tool/{tool_id}/version", params=query).raise_for_status().json()
    return [
        ".".join(str(found["version"][part]) for part in ("major", "minor", "patch")) for found in page["tool_versions"]
    ]


def test_versions_count_up_from_the_greatest_and_the_first_is_major(
    as_admin: httpx2.Client, tool: str, publish: Publish
) -> None:
    assert publish(tool, "minor").status_code == 400
    assert publish(tool).json() == {"new_version": "1.0.0"}
    assert publish(tool, "patch").json() == {"new_version": "1.0.1"}
    assert publish(tool, "minor").json() == {"new_version": "1.1.0"}
    full = publish(tool)
    assert (full.status_code, "3 versions" in full.json()["detail"]) == (400, True)

    assert as_admin.delete(f"/tool/{tool}/version/{quote('==1.0.*', safe='')}").status_code == 204
    assert publish(tool).json() == {"new_version": "2.0.0"}
    assert listed(as_admin, tool) == ["1.0.0", "1.0.1", "1.1.0", "2.0.0"]
    assert listed(as_admin, tool, deprecated=False) == ["1.1.0", "2.0.0"]
    assert listed(as_admin, tool, versions=">=1.0.1,<2") == ["1.0.1", "1.1.0"]
    assert listed(as_admin, tool, sort_by=["-version.minor", "+version.patch"], limit=2) == ["1.1.0", "1.0.0"]
    assert listed(as_admin, tool, limit=0) == []


def test_a_version_shows_its_fields_as_the_contract_has_them(
    tertulia: Server, as_admin: httpx2.Client, tool: str, publish: Publish
) -> None:
    publish(tool).raise_for_status()
    author = {"user_org_id": tertulia.demo.organization_id, "user_id": tertulia.demo.admin_user_id}

    page = as_admin.get(f"/tool/{tool}/version").json()

    (found,) = page["tool_versions"]
    assert (found["creator"], found["updated_by"], page["filter_values"]) == (author, author, {"creators": [author]})
    assert (found["lambda_version"], found["project_directory"]) == (1, "")
    assert found["tool_commit_hash"] == fingerprint.of_project(
        {"tool.py": ECHO.encode(), "tool.toml": MANIFEST.format(plain=[], secret=[]).encode()}
    )
    assert found["input_schema"]["required"] == ["say"]
    mine = ",".join((author["user_org_id"], author["user_id"]))
    assert listed(as_admin, tool, creator=mine) == ["1.0.0"]
    assert listed(as_admin, tool, creator="another,user") == []
    assert as_admin.get(f"/tool/{tool}/version", params={"creator": "user"}).status_code == 422


@pytest.mark.parametrize("constraint", ["1.0.0", "^1", "latest", ">=", "==1." + "0" * 300])
def test_what_is_no_constraint_is_refused_and_one_without_matches_is_fine(
    as_admin: httpx2.Client, tool: str, constraint: str
) -> None:
    assert as_admin.delete(f"/tool/{tool}/version/{quote(constraint, safe='')}").status_code == 422
    assert as_admin.get(f"/tool/{tool}/version", params={"versions": constraint}).status_code == 422
    assert as_admin.delete(f"/tool/{tool}/version/%3E9").status_code == 204


def test_a_version_needs_its_variables_on_the_tool(as_admin: httpx2.Client, tool: str, publish: Publish) -> None:
    needy = an_echo(plain=("REGION",), secret=("API_KEY",))
    insert = {"name": "API_KEY", "value": "k", "is_secret": False}

    def insert_and_publish(name: str, *, is_secret: bool) -> int:
        change = {"inserts": [{**insert, "name": name, "is_secret": is_secret}]}
        as_admin.post(f"/tool/{tool}/envvar", json=change).raise_for_status()
        return publish(tool, archive=needy).status_code

    assert publish(tool, archive=needy).status_code == 400
    assert insert_and_publish("API_KEY", is_secret=True) == 400
    assert insert_and_publish("REGION", is_secret=False) == 201
    (found,) = as_admin.get(f"/tool/{tool}/version").json()["tool_versions"]
    assert (found["required_envvars"], found["required_secret_envvars"]) == (["REGION"], ["API_KEY"])


BAD: dict[str, bytes] = {
    "empty": b"",
    "no archive": b"hello",
    "cut off": an_echo()[:100],
    "no manifest": an_archive({"tool.py": ECHO}),
    "no module": an_archive({"tool.toml": MANIFEST.format(plain=[], secret=[])}),
    "a manifest that is none": an_archive({"tool.toml": "name = ", "tool.py": ECHO}),
    "a schema that is none": an_archive(
        {"tool.toml": 'name = "x"\n[input_schema]\ntype = "object"\nproperties = 3', "tool.py": ECHO}
    ),
    "a schema that is elsewhere": an_archive(
        {"tool.toml": 'name = "x"\n[input_schema]\ntype = "object"\n"$ref" = "http://127.0.0.1:1/"', "tool.py": ECHO}
    ),
    "a schema with NUL": an_archive(
        {"tool.toml": 'name = "x"\n[input_schema]\ntype = "object"\ntitle = "a\\u0000b"', "tool.py": ECHO}
    ),
    "a schema with half a character": an_archive(
        {"tool.toml": 'name = "x"', "input_schema.json": '{"type": "object", "title": "\\ud800"}', "tool.py": ECHO}
    ),
    "a path that leads out": an_archive({"../tool.toml": "", "tool.py": ECHO}),
    "a lock without hashes": an_archive(
        {"tool.toml": MANIFEST.format(plain=[], secret=[]), "tool.py": ECHO, "requirements.lock": "requests==2.0"}
    ),
}


@pytest.mark.parametrize("archive", BAD.values(), ids=BAD.keys())
def test_what_is_no_project_is_refused_and_leaves_the_tool_free(tool: str, publish: Publish, archive: bytes) -> None:
    refused = publish(tool, archive=archive)

    assert refused.status_code == 400, refused.text
    assert publish(tool).status_code == 201


# --- From a folder ---------------------------------------------------------------------------------------------------


def publish_path(client: httpx2.Client, tool_id: str, path: str, bump: str = "major") -> httpx2.Response:
    """Publish a project of the server's folder. Return the answer."""
    return client.post(f"/tool/{tool_id}/version", json={"project_path": path, "bump_type": bump})


def test_code_takes_room_of_its_organization_until_it_is_removed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(limit={"organization_stored_bytes": 1})
    admin = server.as_admin
    tool_id = str(admin.post("/tool/", json=samples.tool(a_tool_name())).raise_for_status().json()["id"])
    path, kind = f"/tool/{tool_id}/version/archive", {"content-type": "application/gzip"}

    def publish() -> httpx2.Response:
        return admin.post(path, params={"bump_type": "major"}, content=an_echo(), headers=kind)

    publish().raise_for_status()
    held = organization_bytes(server)
    refused = publish()
    admin.delete(f"/tool/{tool_id}/version/{quote('==1.*', safe='')}").raise_for_status()
    write(server, lambda connection: tool_versions.purge_snapshot(connection, clock.now() + timedelta(days=1)))

    detail = f"The conversations and tools of the organization hold {held} bytes, and 1 is the most they may."
    assert held > 0
    assert (refused.status_code, refused.json()) == (400, {"detail": detail})
    assert organization_bytes(server) == 0
    assert publish().json() == {"new_version": "2.0.0"}


def organization_bytes(server: Server) -> int:
    """Return the bytes that the server's organizations hold together."""
    found: list[int] = []
    total = sa.select(sa.func.sum(organization_usage.c.stored_bytes))
    write(server, lambda connection: found.append(int(connection.execute(total).scalar_one())))
    return found[0]


def test_a_project_is_published_from_the_folder_of_tools(as_admin: httpx2.Client, tool: str) -> None:
    assert publish_path(as_admin, tool, "//calculator/").json() == {"new_version": "1.0.0"}
    (found,) = as_admin.get(f"/tool/{tool}/version").json()["tool_versions"]
    assert found["project_directory"] == "calculator"
    assert publish_path(as_admin, tool, "absent").status_code == 404
    assert publish_path(as_admin, tool, "calculator/tool").status_code == 404
    assert publish_path(as_admin, tool, "../secrets").status_code == 422
    assert publish_path(as_admin, tool, "/").status_code == 400


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with one project and a link, on the branch main."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    write_echo(folder / "tools" / "echo")
    (folder / "out").symlink_to("/etc")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "First")
    return folder


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder. Return its output."""
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write_echo(folder: Path, comment: str = "") -> None:
    """Write the project of a tool into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tool.toml").write_text(MANIFEST.format(plain=[], secret=[]), "utf-8")
    (folder / "tool.py").write_text(f"{ECHO}\n# {comment}\n", "utf-8")


def test_a_project_is_published_from_the_tip_of_a_branch_that_only_goes_forward(serve: Serve, repository: Path) -> None:
    admin = serve(tools={"source": repository.as_uri()}).as_admin
    tool_id = admin.post("/tool/", json=samples.tool(a_tool_name())).json()["id"]
    first = git(repository, "rev-parse", "main")
    write_echo(repository / "tools" / "echo", "second")
    git(repository, "commit", "--quiet", "--all", "--message", "Second")
    second = git(repository, "rev-parse", "main")

    assert publish_path(admin, tool_id, "tools/echo").status_code == 201
    git(repository, "reset", "--quiet", "--hard", first)
    older = publish_path(admin, tool_id, "tools/echo", "minor")
    git(repository, "reset", "--quiet", "--hard", second)

    assert (older.status_code, "older" in older.json()["detail"]) == (400, True)
    assert publish_path(admin, tool_id, "tools/echo", "minor").status_code == 201
    assert publish_path(admin, tool_id, "tools/absent", "minor").status_code == 404
    assert publish_path(admin, tool_id, "out", "minor").status_code == 404
    assert publish_path(admin, tool_id, "/", "minor").status_code == 400
    versions = admin.get(f"/tool/{tool_id}/version").json()["tool_versions"]
    assert [found["tool_commit_hash"] for found in versions] == [second, second]
    absent = admin.post("/tool/test", json=samples.tool_test("tools/echo", {"say": "a"}, commit_branch="absent"))
    odd = admin.post("/tool/test", json=samples.tool_test("tools/echo", {"say": "a"}, commit_branch="--upload-pack=x"))
    assert (absent.status_code, odd.status_code) == (404, 404)


def test_a_folder_that_a_link_leads_out_of_is_none_of_the_tools(serve: Serve, tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    write_echo(outside)
    inside.mkdir()
    (inside / "way_out").symlink_to(outside)
    write_echo(inside / "linked")
    (inside / "linked" / "passwd").symlink_to("/etc/passwd")
    admin = serve(tools={"source": str(inside)}).as_admin
    tool_id = admin.post("/tool/", json=samples.tool(a_tool_name())).json()["id"]

    assert publish_path(admin, tool_id, "way_out").status_code == 404
    assert publish_path(admin, tool_id, "linked").status_code == 400


# --- Operations of HTTP APIs -----------------------------------------------------------------------------------------


def test_an_operation_of_an_api_needs_the_variables_that_it_names(as_admin: httpx2.Client, tool: str) -> None:
    definition = {"url": "https://api.example/now", "authorization": {"bearer": "API_KEY"}}
    body = {"definition": definition, "input_schema": {"type": "object"}, "bump_type": "major"}
    insert = {"name": "API_KEY", "value": "k", "is_secret": True}

    assert as_admin.post(f"/tool/{tool}/version/http", json=body).status_code == 400
    as_admin.post(f"/tool/{tool}/envvar", json={"inserts": [insert]}).raise_for_status()
    assert as_admin.post(f"/tool/{tool}/version/http", json=body).status_code == 201
    (found,) = as_admin.get(f"/tool/{tool}/version").json()["tool_versions"]
    assert (found["required_envvars"], found["required_secret_envvars"]) == ([], ["API_KEY"])
    wrong = {**body, "definition": {"url": "file:///etc/passwd"}}
    assert as_admin.post(f"/tool/{tool}/version/http", json=wrong).status_code == 422
    wrong = {**body, "input_schema": {"type": "string"}}
    assert as_admin.post(f"/tool/{tool}/version/http", json=wrong).status_code == 422
