"""`/ui/`: the built files of the web interface. `/` leads there.

Every view of the interface is an address below `/ui/`, and each answers with the one page that shows them all. Files in
`assets/` have the hash of their content in their name, so a browser may keep them for ever.
"""

import gzip
import mimetypes
import re
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tertulia.errors import NotFound
from tertulia.web import watched

BUILT = Path(__file__).parent / "built"
"""The folder that `ui/build.py` fills."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; media-src 'self' blob:; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy: no script, style or request but this server's own, and no frame around the page."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}

FOR_EVER = "public, max-age=31536000, immutable"
ASK_FIRST = "no-cache"

NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Tertulia</title>
<h1>The interface is not built</h1>
<p>The server runs, and its API answers; the page of the API is at <a href="/docs">/docs</a>.</p>
<p>To build the interface, run <code>make ui</code> in the folder of Tertulia's source, and load this page again.
It takes half a minute, and fetches packages from npm's registry. No node has to be installed.</p>
</html>
"""

WATCHED = b'<meta name="tertulia-watched">'
"""The mark that tells a page that a folder is watched here."""

COMPRESSED = frozenset({".css", ".html", ".js", ".json", ".svg"})
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")  # no file system takes names of more than 255 bytes

router = APIRouter(include_in_schema=False)


def is_built() -> bool:
    """Look for the built interface. Return True if there is one."""
    return (BUILT / "index.html").is_file()


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/ui", methods=["GET", "HEAD"])
def lead_to_interface() -> RedirectResponse:
    """Lead to the interface; a browser carries the fragment of the address, with a token in it, along."""
    return RedirectResponse("/ui/", 307, {"Cache-Control": ASK_FIRST})


@router.api_route("/ui/assets/{name}", methods=["GET", "HEAD"])
def get_asset(request: Request, name: str) -> Response:
    """Send a file whose name has the hash of its content. Return it, to be kept for ever."""
    path = BUILT / "assets" / name
    if not _FILE.fullmatch(name) or not path.is_file():
        raise NotFound("There is no such file.")
    return _send(request, path, FOR_EVER)


@router.api_route("/ui/{path:path}", methods=["GET", "HEAD"])
def get_page(request: Request, path: str) -> Response:
    """Send the page that shows every view, or a file beside it. Return it, to be asked for again each time."""
    if not is_built():
        return HTMLResponse(NOT_BUILT, 200, {**HEADERS, "Cache-Control": ASK_FIRST})
    beside = BUILT / path
    if _FILE.fullmatch(path) and beside.is_file():
        return _send(request, beside, ASK_FIRST)
    if "." in path.rsplit("/", 1)[-1]:
        raise NotFound("There is no such file.")
    if watched.read(request.app.state.runtime.settings.data) is not None:
        return _marked()
    return _send(request, BUILT / "index.html", ASK_FIRST)


def _marked() -> Response:
    """Mark the page of a server that watches a folder: it asks for news. Return it."""
    html = (BUILT / "index.html").read_bytes().replace(b"</head>", WATCHED + b"</head>")
    return Response(html, 200, {**HEADERS, "Cache-Control": ASK_FIRST}, "text/html")


def _send(request: Request, path: Path, cache: str) -> Response:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers = {**HEADERS, "Cache-Control": cache}
    if path.suffix in COMPRESSED and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(_compressed(path, path.stat().st_mtime_ns), 200, headers, kind)
    return Response(path.read_bytes(), 200, headers, kind)


@lru_cache(maxsize=256)
def _compressed(path: Path, _changed_at_ns: int) -> bytes:
    return gzip.compress(path.read_bytes(), 9, mtime=0)
