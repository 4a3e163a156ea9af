"""A person's data: all of it as a file, and its erasure with a proof. Extensions of the contract."""

import asyncio
import zipfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, aclosing, nullcontext, suppress
from dataclasses import dataclass
from typing import IO, Annotated, Any, Concatenate, ParamSpec, TypeVar, cast

import msgspec
from fastapi import Depends, Path, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from sqlalchemy.engine import Connection
from starlette.types import Receive, Scope, Send

from tertulia.api.http.audit import Recorder
from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization, make_recorder
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.zips import Sink
from tertulia.api.user_rules import refuse_higher_rank
from tertulia.auth.actor import Actor
from tertulia.auth.limits import Limiter
from tertulia.auth.permissions import Permission
from tertulia.auth.places import Places
from tertulia.background import erasing
from tertulia.background.erasing import ErasureProof, ErasureRequest
from tertulia.background.jobs import Work, renewed
from tertulia.errors import NotFound, TertuliaError
from tertulia.storage import person, recording
from tertulia.storage import user as users
from tertulia.storage.database.units import Database
from tertulia.storage.job import Job, StaleJob
from tertulia.storage.person import PersonTable

P = ParamSpec("P")
T = TypeVar("T")

router = contract_router("/user", "User")

SOUND_BYTES = 1 << 20
"""Bytes of a recording that are read at once."""

EXPORTS_AT_ONCE = 2
"""Exports of one caller that are made at once, in a process."""

# --- Export ----------------------------------------------------------------------------------------------------------


class Archive(StreamingResponse):
    media_type = "application/zip"


class PlacedArchive(Archive):
    """A zip that is made while its reader takes it, in one of the reader's places, which it gives back."""

    def __init__(self, content: AsyncGenerator[bytes], place: AbstractContextManager[object]) -> None:
        super().__init__(content, headers={"Content-Disposition": 'attachment; filename="user.zip"'})
        self._content = content
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._place:
            async with aclosing(self._content):  # of a reader who has left, too
                await super().__call__(scope, receive, send)


@router.get(
    "/{user_id}/export",
    operation_id="export-user",
    summary="Export a user's data",
    response_class=Archive,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string"}}}}},
    dependencies=[Depends(rate_limit(5))],
)
async def export_user(
    request: Request,
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    user_id: Annotated[str, Path()],
) -> Archive:
    """Export all that there is of a person. Return a zip of JSON Lines, a file for each kind, and of recordings."""
    recorder = make_recorder(request, organization.org_id)
    with ExitStack() as places:
        places.enter_context(_place(runtime.limiter, actor))  # one too many leaves no line in the audit log
        await organization.storage.write(_begin_export, actor, user_id, recorder)
        export = _Export(organization.storage, organization.org_id, user_id, runtime.places)
        return PlacedArchive(_zip(export), places.pop_all())


def _place(limiter: Limiter | None, actor: Actor) -> AbstractContextManager[None]:
    """Make a place for one of the caller's exports. Return it, to be taken."""
    if limiter is None:
        return nullcontext()
    refusal = f"You have {EXPORTS_AT_ONCE} exports already: take one to its end."
    return limiter.place(EXPORTS_AT_ONCE, refusal, "export-user", actor.org_id, actor.user_id)


def _begin_export(connection: Connection, actor: Actor, user_id: str, recorder: Recorder) -> None:
    user = users.get_user(connection, actor.org_id, user_id)
    if user.id != actor.user_id:  # what is known of oneself may be asked without a permission
        actor.require(Permission.USER_EXPORT_USER, user.attributes)
        refuse_higher_rank(connection, actor, user)
    recorder.write(connection, "export-user", "user", user.id, "{}")


@dataclass(frozen=True, slots=True)
class _Export:
    """A person whose data are read, a portion in each unit. Exports of an organization share one user's places."""

    database: Database
    org_id: str
    user_id: str
    places: Places

    async def read(self, unit: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read a portion. Return it."""
        async with self.places.place((self.org_id, "export-user")):
            return await self.database.read(unit, *args, **kwargs)

    async def rows(self, part: PersonTable) -> AsyncGenerator[list[Mapping[str, Any]]]:
        """Read the rows of a table. Yield them in portions."""
        if part.leads != "conversation_id":
            async for rows in self._within(part, None):
                yield rows
            return
        last = ""
        while some := await self.read(person.list_conversation_ids, self.org_id, self.user_id, last):
            async for rows in self._within(part, list(some)):
                yield rows
            last = some[-1]

    async def recordings(self) -> AsyncGenerator[Mapping[str, Any]]:
        """Read the rows of the person's recordings. Yield each."""
        for part in person.PARTS:
            if part.table.name == "recordings":
                async for rows in self.rows(part):
                    for row in rows:
                        yield row

    async def _within(self, part: PersonTable, some: list[str] | None) -> AsyncGenerator[list[Mapping[str, Any]]]:
        last = ""
        whose = self.org_id, self.user_id
        while portions := await self.read(person.list_portions, part, *whose, some, last):
            for keys in portions:
                yield list(await self.read(person.list_rows_of, part, self.org_id, keys))
            last = portions[-1][-1]


async def _zip(export: _Export) -> AsyncGenerator[bytes]:
    """Write a person's data into a zip, portion by portion. Yield its bytes as they come."""
    sink = Sink()
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w", zipfile.ZIP_DEFLATED) as archive:
        for part in person.PARTS:
            async with aclosing(_write_rows(export, archive, part)) as portions:
                async for _ in portions:
                    yield sink.take()
        async with aclosing(export.recordings()) as recordings:
            async for row in recordings:
                async with aclosing(_write_sound(export, archive, row)) as portions:
                    async for _ in portions:
                        yield sink.take()
    yield sink.take()


async def _write_rows(export: _Export, archive: zipfile.ZipFile, part: PersonTable) -> AsyncGenerator[None]:
    """Write the rows of a table into a zip, a portion at a time. Yield after each."""
    with archive.open(f"{part.table.name}.jsonl", "w", force_zip64=True) as file:
        async for rows in export.rows(part):
            await asyncio.to_thread(_write_lines, file, rows)
            yield


def _write_lines(file: IO[bytes], rows: Sequence[Mapping[str, Any]]) -> None:
    file.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


async def _write_sound(export: _Export, archive: zipfile.ZipFile, row: Mapping[str, Any]) -> AsyncGenerator[None]:
    """Write a recording into a zip, a portion at a time. Yield after each."""
    message_id, kind = str(row["message_id"]), str(row["content_type"])
    with suppress(NotFound):  # it has gone meanwhile
        if row["size"] is None:
            await export.database.write(recording.split_whole, message_id)
        place = (export.org_id, str(row["conversation_id"]), message_id)
        found = await export.read(recording.find_recording, *place)
        size = 0 if found is None else found.size
        entry = zipfile.ZipInfo(f"recordings/{message_id}.{'mp3' if kind == 'audio/mpeg' else 'wav'}")
        with archive.open(entry, "w", force_zip64=True) as file:
            for first in range(0, size, SOUND_BYTES):
                last = min(first + SOUND_BYTES, size) - 1
                sound = await export.read(recording.read_range, message_id, first, last)
                await asyncio.to_thread(file.write, sound)  # a megabyte takes a twentieth of a second to pack
                yield


# --- Erase -----------------------------------------------------------------------------------------------------------


class Erasure(BaseModel):
    """A proof of an erasure. `person` stands for the user in the audit log from now on.

    Until `is_complete`, the rest is being removed; then the audit log has the proof, in a line of the person's.
    """

    is_complete: bool
    person: str | None
    erased: dict[str, int]
    digest: str | None
    audit_line: int | None


@router.delete(
    "/{requested_user_id}/data",
    operation_id="erase-user",
    summary="Erase a user's data",
    dependencies=[Depends(rate_limit(50))],
)
async def erase_user(
    request: Request,
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    requested_user_id: str,
) -> Erasure:
    """Delete a user, and erase all that there is of the person, in the audit log too. Return the proof."""
    recorder = make_recorder(request, organization.org_id)
    begun = await organization.storage.write(_begin_erasure, actor, requested_user_id, recorder)
    work = Work(organization.storage, begun)
    proof: ErasureProof | None = None
    with suppress(TertuliaError, StaleJob):  # the user is gone; what fails here is done again as the job
        async with renewed(work):
            proof = await runtime.eraser.erase(work)
    if proof is None:
        erased = begun.payload["proof"]["counts"]
        return Erasure(is_complete=False, person=None, erased=erased, digest=None, audit_line=None)
    return Erasure(
        is_complete=True,
        person=proof.person,
        erased=dict(proof.counts),
        digest=proof.digest,
        audit_line=proof.audit_line,
    )


def _begin_erasure(connection: Connection, actor: Actor, user_id: str, recorder: Recorder) -> Job:
    user = users.lock_user(connection, actor.org_id, user_id)
    actor.require(Permission.USER_DELETE_USER, user.attributes)
    refuse_higher_rank(connection, actor, user)
    who = recorder.entry("erase-user", "user", user.id, "{}")
    wanted = ErasureRequest(
        org_id=user.org_id,
        user_id=user.id,
        email=user.email,
        counts=person.count_rows(connection, user.org_id, user.id),
        actor_org_id=who.actor_org_id,
        actor_user_id=who.actor_user_id,
        api_key_id=who.api_key_id,
        address=who.address,
        request_id=who.request_id,
    )
    return users.delete_user(connection, user, erasing.payload_of(wanted))
