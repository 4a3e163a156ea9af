"""The names of contents of versions, by which two versions are the same; not by how they are compressed."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from tertulia.tools.archive import Files


def of_project(files: Files) -> str:
    """Name the files of a project by their paths and bytes. Return a SHA-256 in hex."""
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    return _digest(hashes)


def of_remote(kind: str, definition: Mapping[str, Any], input_schema: Mapping[str, Any]) -> str:
    """Name the content of a version without code. Return a SHA-256 in hex."""
    return _digest([kind, definition, input_schema])


def _digest(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
