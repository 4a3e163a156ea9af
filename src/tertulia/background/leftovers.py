"""The files of this host that are nobody's any more: copies of tools' code, and mails of organizations in the outbox.

So a deleted organization goes from the disk as well. A project that is only tried is never stored: its copy stays for a
while, for it may be tried again.
"""

import asyncio
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tertulia.storage.database.units import Database
from tertulia.storage.organization import list_existing
from tertulia.storage.tool_version import list_digests

LOOK_S = 3600.0
"""The time between two looks, in seconds."""

KEPT_S = 86_400.0
"""The time for which a copy of code stays at least, in seconds."""

AT_ONCE = 500
"""Names that one statement asks for."""


async def remove_leftovers(data: Path, databases: Sequence[Database]) -> None:
    """Remove what no cluster knows any more from the data folder of an installation."""
    await remove_copies(data / "tools" / "projects", databases)
    await remove_mails(data / "outbox", databases)


async def remove_copies(folder: Path, databases: Sequence[Database]) -> None:
    """Remove the copies in a folder that are old, and that no version of a tool in any cluster is run from."""
    names = await asyncio.to_thread(_list_old, folder, time.time() - KEPT_S)
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        needed = [await database.read(list_digests, some) for database in databases]
        for name in set(some).difference(*needed):
            await asyncio.to_thread(shutil.rmtree, folder / name, ignore_errors=True)


async def remove_mails(folder: Path, databases: Sequence[Database]) -> None:
    """Remove the mails in a folder that are of organizations which are in no cluster."""
    mails = await asyncio.to_thread(lambda: sorted(folder.glob("*.*.eml")))
    org_ids = sorted({mail.name.partition(".")[0] for mail in mails})
    gone: set[str] = set()
    for start in range(0, len(org_ids), AT_ONCE):
        some = org_ids[start : start + AT_ONCE]
        there = [await database.read(list_existing, some) for database in databases]
        gone |= set(some).difference(*there)
    for mail in mails:
        if mail.name.partition(".")[0] in gone:
            await asyncio.to_thread(mail.unlink, missing_ok=True)


def _list_old(folder: Path, before: float) -> list[str]:
    found: list[str] = []
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # another process was faster
                if path.stat().st_mtime < before:
                    found.append(path.name)
    return sorted(found)
