"""The lock of a tool's dependencies: `requirements.lock`, in the form that `uv pip compile --generate-hashes` writes.

Each line is one package, at one version, with the SHA-256 of its files; whatever else pip understands is refused: other
files, addresses, indexes, options.
"""

import re

from tertulia.errors import BadTool

FILE = "requirements.lock"
MOST_PACKAGES = 200
_PIN = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])? ?== ?[A-Za-z0-9][A-Za-z0-9.!+_-]*"
    r"( ?; ?[A-Za-z0-9_.<>=!'\"() -]+?)?"
    r"(?P<hashes>( +--hash=sha256:[0-9a-f]{64})+)",
    re.ASCII,
)


def check(text: str) -> list[str]:
    """Check a lock. Return its lines, each a package with its hashes; none if nothing is needed.

    Raises:
        BadTool: a line is not a pinned package with hashes.
    """
    lines: list[str] = []
    pending = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if line.endswith("\\"):
            pending += line[:-1].strip() + " "
            continue
        line = (pending + line).strip()
        pending = ""
        if not line:
            continue
        if not _PIN.fullmatch(line):
            raise BadTool(f"{FILE}: line {number}: must be NAME==VERSION with --hash=sha256:..., and nothing else.")
        lines.append(line)
    if pending:
        raise BadTool(f"{FILE}: ends within a line.")
    if len(lines) > MOST_PACKAGES:
        raise BadTool(f"{FILE}: has {len(lines)} packages, of at most {MOST_PACKAGES}.")
    return lines
