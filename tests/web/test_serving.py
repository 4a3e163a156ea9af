"""The interface as files: their addresses, how long they may be kept, what they may load, and a page in their place."""

import gzip
import re
from pathlib import Path

import httpx2
import pytest

from support.server import Server
from tertulia.web import pages

FIRST_LOAD_BYTES = 80_000


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of built files, in the place of the real ones."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Tertulia</title>")
    (tmp_path / "assets" / "index-abc123.js").write_text("console.log(1);" * 200)
    (tmp_path.parent / "secret.txt").write_text("secret")
    monkeypatch.setattr(pages, "BUILT", tmp_path)
    return tmp_path


@pytest.fixture
def page(tertulia: Server, files: Path) -> httpx2.Client:
    assert files.is_dir()
    return httpx2.Client(base_url=tertulia.url, trust_env=False)


@pytest.mark.parametrize("path", ["/", "/ui"])
def test_the_root_leads_to_the_interface(page: httpx2.Client, path: str) -> None:
    answer = page.get(path)
    assert (answer.status_code, answer.headers["location"]) == (307, "/ui/")


@pytest.mark.parametrize(
    "path", ["/ui/", "/ui/conversations", "/ui/conversations/6b055e65298508193adb62fc", "/ui/" + 300 * "a"]
)
def test_every_view_is_an_address_of_the_one_page(page: httpx2.Client, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code == 200
    assert "<title>Tertulia</title>" in answer.text
    assert answer.headers["cache-control"] == "no-cache"


def test_a_policy_allows_nothing_but_this_server_and_nothing_inline(page: httpx2.Client) -> None:
    policy = page.get("/ui/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_an_asset_may_be_kept_for_ever_and_comes_compressed(page: httpx2.Client) -> None:
    answer = page.get("/ui/assets/index-abc123.js")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == "console.log(1);" * 200
    assert page.get("/ui/assets/index-abc123.js", headers={"accept-encoding": "identity"}).text == answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/ui/assets/index-old.js",
        "/ui/assets/..%2f..%2fsecret.txt",
        "/ui/..%2fsecret.txt",
        "/ui/nothing.js",
        "/ui/assets/" + 300 * "a" + ".js",
        "/ui/assets/",
    ],
)
def test_what_is_not_there_is_404_and_no_page(page: httpx2.Client, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code == 404 or "<title>Tertulia</title>" in answer.text
    assert "secret" not in answer.text
    if path.endswith((".js", ".txt")):
        assert answer.json() == {"detail": "There is no such file."}


def test_without_a_build_the_page_says_how_to_build_it(page: httpx2.Client, files: Path) -> None:
    (files / "index.html").unlink()
    answer = page.get("/ui/")
    assert answer.status_code == 200
    assert "make ui" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.skipif(not pages.is_built(), reason="the interface is not built: make ui")
def test_the_first_load_is_small() -> None:
    """The page and the playground with all that they import at once; libraries come when they are needed."""
    assets = pages.BUILT / "assets"
    html = (pages.BUILT / "index.html").read_text("utf-8")
    wanted = {*re.findall(r"/ui/assets/([\w.-]+)", html), *(path.name for path in assets.glob("Playground-*"))}
    assert {name.rpartition(".")[2] for name in wanted} == {"css", "js"}
    whole: dict[str, bytes] = {"index.html": html.encode()}
    while wanted:
        name = wanted.pop()
        whole[name] = (assets / name).read_bytes()
        if name.endswith(".js"):
            text = whole[name].decode()
            found = set(re.findall(r"""(?:from|import)\s*["']\./([\w.-]+)["']""", text))
            beside = {path.name for other in found for path in assets.glob(f"{other.rpartition('-')[0]}-*.css")}
            wanted |= (found | beside) - whole.keys()
    assert sum(len(gzip.compress(content, 9)) for content in whole.values()) <= FIRST_LOAD_BYTES
