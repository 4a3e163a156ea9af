"""The erasing of deleted users: portion by portion, so that other writers wait for one portion at most.

If a proof is wanted, the audit log says nothing of the person at the end but how much was erased.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.engine import Connection

from tertulia.background.jobs import JobKind, Work
from tertulia.mail import remove_mails_to
from tertulia.storage import audit, erasure, person
from tertulia.storage.audit import AuditEntry, ErasedPerson


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """A wish for an erasure with a proof, as its job keeps it: whose it is, who asked, and how much there was."""

    org_id: str
    user_id: str
    email: str
    counts: Mapping[str, int]
    actor_org_id: str
    actor_user_id: str
    api_key_id: str
    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class ErasureProof:
    """A proof of an erasure: what was erased, the line of the audit log that says so, and a digest of both."""

    person: str
    counts: Mapping[str, int]
    digest: str
    audit_line: int


@dataclass(frozen=True, slots=True)
class Eraser:
    """An eraser of users; `key` is the one that chains audit logs, and `outbox` has mails that were not sent."""

    key: bytes
    outbox: Path

    @property
    def kind(self) -> JobKind:
        """The kind of job that removes the rest of a deleted user."""
        return JobKind(erasure.ERASE_USER, self._do)

    async def _do(self, work: Work) -> None:
        await self.erase(work)

    async def erase(self, work: Work) -> ErasureProof | None:
        """Remove all that is left of a deleted user. Return the proof, if one is wanted."""
        org_id, user_id = work.job.org_id, str(work.job.payload["user_id"])
        proof = work.job.payload.get("proof")
        wanted = None if proof is None else ErasureRequest(**proof)
        # First, while it is known which conversations were theirs.
        erased, reached = (0, -1) if wanted is None else await self._erase_lines(work, wanted)
        while await work.database.write(erasure.erase_portion, org_id, user_id):
            pass
        if wanted is None:
            await work.end(erasure.erase_rest, org_id, user_id)
            return None
        counts = dict(wanted.counts)
        counts["mails"] = await asyncio.to_thread(remove_mails_to, self.outbox, org_id, wanted.email)
        counts["audit_lines"] = erased
        proofs: list[ErasureProof] = []
        await work.end(self._prove, wanted, counts, reached, proofs.append)
        return proofs[0]

    async def _erase_lines(self, work: Work, wanted: ErasureRequest) -> tuple[int, int]:
        """Take a person out of the audit log. Return how many lines were changed, and the last one that was seen."""
        conversation_ids: set[str] = set()
        while more := await work.database.read(
            person.list_conversation_ids, wanted.org_id, wanted.user_id, max(conversation_ids, default="")
        ):
            conversation_ids.update(more)
        named = ErasedPerson(wanted.user_id, [wanted.email], conversation_ids)
        erased, before, after = 0, -1, 0
        while before != after:
            before = after
            changed, after = await work.database.write(audit.erase_content, self.key, wanted.org_id, named, before)
            erased += changed
        return erased, after

    def _prove(
        self,
        connection: Connection,
        wanted: ErasureRequest,
        counts: dict[str, int],
        reached: int,
        told: Callable[[ErasureProof], object],
    ) -> None:
        """Remove the last of a person, see that nothing is left, and write the proof into the audit log."""
        org_id, user_id = wanted.org_id, wanted.user_id
        name = audit.pseudonym(self.key, org_id, user_id)
        erasure.erase_rest(connection, org_id, user_id)
        counts["jobs"] = person.remove_jobs(connection, org_id, [user_id, wanted.email])
        counts["authorships"] = person.unname_author(connection, org_id, user_id, name)
        left = {table: number for table, number in person.count_rows(connection, org_id, user_id).items() if number}
        if left:
            raise RuntimeError(f"an erasure has left something in {', '.join(left)}")
        # Lines that have come since: of things that the person had asked for before they were deleted.
        changed, _ = audit.erase_content(connection, self.key, org_id, ErasedPerson(user_id, [wanted.email]), reached)
        counts["audit_lines"] += changed
        digest = audit.digest_of_proof(self.key, org_id, name, sorted(counts.items()))
        line = audit.append_line(connection, self.key, _entry(name, wanted, counts, digest))
        told(ErasureProof(name, counts, digest, line.number))


def _entry(name: str, wanted: ErasureRequest, counts: Mapping[str, int], digest: str) -> AuditEntry:
    by_themselves = wanted.actor_user_id == wanted.user_id
    return AuditEntry(
        org_id=wanted.org_id,
        action="erase-user",
        object_kind="user",
        object_id=name,
        actor_org_id=wanted.actor_org_id,
        actor_user_id=name if by_themselves else wanted.actor_user_id,
        api_key_id="" if by_themselves else wanted.api_key_id,
        address="" if by_themselves else wanted.address,
        request_id="" if by_themselves else wanted.request_id,
        change=msgspec.json.encode({"erased": dict(counts), "digest": digest}, order="sorted").decode(),
    )


def payload_of(wanted: ErasureRequest) -> dict[str, Any]:
    """Return what the job of an erasure with a proof keeps beside the user."""
    return {"proof": asdict(wanted)}
