"""Post-processing of finished conversations: memories of the user, then models of the user made of them.

Each step is a job; its effect, its name in `completed_post_processings` and the next step are one transaction. A step
that fails is tried again by itself, and at once if the conversation is finished again.
"""

from collections.abc import Generator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.background.jobs import JobFailed, JobKind, Work, no_effect
from tertulia.engine.agent import learning
from tertulia.engine.agent.learning import NewMemory
from tertulia.engine.work import RecordedWork, WorkResources, on_finished
from tertulia.errors import InternalError, TertuliaError
from tertulia.ids import new_id
from tertulia.storage import memory as memories
from tertulia.storage import post_processing as steps
from tertulia.storage.memory import Meaning, Memory, UserModel
from tertulia.storage.post_processing import EXTRACT_MEMORIES, GENERATE_USER_MODELS, Followed
from tertulia.vocabulary import fold, stems

LIMIT_S = 900.0
"""The longest time of a step, in seconds: a long conversation is read in portions, and a small model reads slowly."""

KNOWN_NEWEST = 15
KNOWN_NEAR = 15
"""Earlier memories that a model is shown, which a new one may contradict: the newest, and those nearest in words."""

KNOWN_OF_MODEL = 150
"""Memories that the models of a user are made of, the newest."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Memories to be stored, each with the words and the meaning that find it, and those that they replace."""

    rows: Sequence[tuple[Memory, Sequence[str], Meaning | None]]
    replaced: Sequence[tuple[Memory, str]]
    """Pairs of a memory, as the model has read it, and the identifier of the one that replaces it."""


class PostProcessing:
    """The steps that follow the end of a conversation, with the models that they ask."""

    def __init__(self, recorded: RecordedWork) -> None:
        self._recorded = recorded

    @property
    def kinds(self) -> tuple[JobKind, ...]:
        """The kinds of jobs that the steps are."""
        return (
            JobKind(EXTRACT_MEMORIES, self._extract, limit_s=LIMIT_S),
            JobKind(GENERATE_USER_MODELS, self._generate, limit_s=LIMIT_S),
        )

    async def _extract(self, work: Work) -> None:
        """Remember what the user said in a conversation."""
        followed = await work.database.read(steps.find_followed, _conversation_id(work))
        if followed is None or followed.is_test or EXTRACT_MEMORIES in followed.completed_post_processings:
            await work.end(no_effect)
            return
        with _error_noted(work, followed):
            learned = await self._learn(work, followed)
        await work.end(_remember, followed, learned)

    async def _generate(self, work: Work) -> None:
        """Make the models of a user anew: after a conversation, or because a memory was corrected or forgotten."""
        followed = await work.database.read(steps.find_followed, _conversation_id(work))
        if followed is None or followed.is_test:
            await work.end(no_effect)
            return
        if work.job.payload.get("again"):
            await work.end(_put_models, followed, await self._describe(work, followed))
            return
        if GENERATE_USER_MODELS in followed.completed_post_processings:
            await work.end(no_effect)
            return
        with _error_noted(work, followed):
            made = await self._describe(work, followed)
        await work.end(_complete_models, followed, made)

    async def _learn(self, work: Work, followed: Followed) -> Learned:
        said = await work.database.read(steps.list_said, followed)
        dimensions = await work.database.read(steps.list_dimensions, followed.org_id)
        known = await work.database.read(_known, followed.user_id, [message.content for message in said])
        held = await work.database.read(memories.list_contents, followed.user_id)
        found: list[NewMemory] = []
        async with self._working(work, followed) as resources:
            for portion in learning.portions(said):
                if any(message.message_type != "agent-message" and message.content for message in portion):
                    found += await learning.extract_memories(resources.models, followed, portion, known, dimensions)
            unique = _unknown(found, held)
            meanings = await resources.meanings.of([memory.content for memory in unique])
        return _learned(followed, unique, known, meanings)

    async def _describe(self, work: Work, followed: Followed) -> list[UserModel]:
        known = await work.database.read(memories.list_newest, followed.user_id, KNOWN_OF_MODEL)
        dimensions = await work.database.read(steps.list_dimensions, followed.org_id)
        async with self._working(work, followed) as resources:
            return await learning.generate_user_models(resources.models, followed, known, dimensions)

    def _working(self, work: Work, followed: Followed) -> AbstractAsyncContextManager[WorkResources]:
        return self._recorded.begin(work.database, on_finished(followed, work.job.kind))


@contextmanager
def _error_noted(work: Work, followed: Followed) -> Generator[None]:
    """Run a step; if it fails, note why with its conversation, in words that its user may see.

    The note is written with the job's next time, so who reads it and has the step tried again finds the job waiting.
    """
    try:
        yield
    except Exception as error:
        text = error.detail if isinstance(error, TertuliaError) else InternalError().detail
        note = partial(steps.note_error, conversation_id=followed.id, error=f"{work.job.kind}: {text}")
        raise JobFailed(error, note) from error


def _conversation_id(work: Work) -> str:
    return str(work.job.payload["conversation_id"])


def _known(connection: Connection, user_id: str, texts: Sequence[str]) -> list[Memory]:
    """List earlier memories that a conversation may contradict: the newest, and those nearest in words."""
    near = memories.find_by_words(connection, user_id, stems(" ".join(texts)))[:KNOWN_NEAR]
    found = [*memories.list_newest(connection, user_id, KNOWN_NEWEST), *memories.list_by_id(connection, near)]
    return list({memory.id: memory for memory in found}.values())


def _unknown(found: Sequence[NewMemory], held: set[str]) -> list[NewMemory]:
    """Leave out what is remembered already. Return the rest, each content once."""
    known = {fold(content) for content in held}
    unique = {fold(memory.content): memory for memory in found}
    return [memory for key, memory in unique.items() if key not in known]


def _learned(
    followed: Followed, found: Sequence[NewMemory], known: Sequence[Memory], meanings: Sequence[Meaning | None]
) -> Learned:
    """Make the rows of new memories. Return them, with the memories that they replace, each by one of them."""
    replaced_by: dict[str, str] = {}
    rows: list[tuple[Memory, Sequence[str], Meaning | None]] = []
    for number, (memory, meaning) in enumerate(zip(found, meanings, strict=True)):
        row = _row(followed, memory, clock.now() + number * clock.MICROSECOND)
        contradicted = [memory_id for memory_id in memory.replaces if memory_id not in replaced_by]
        replaced_by |= dict.fromkeys(contradicted, row.id)
        rows.append((row, stems(f"{row.content} {memory.context}"), meaning))
    return Learned(rows, [(memory, replaced_by[memory.id]) for memory in known if memory.id in replaced_by])


def _row(followed: Followed, memory: NewMemory, created_at: datetime) -> Memory:
    kinds = {message.message_type for message in memory.references}
    return Memory(
        id=new_id(),
        org_id=followed.org_id,
        user_id=followed.user_id,
        conversation_id=followed.id,
        content=memory.content,
        context=memory.context,
        message_ids=[message.id for message in memory.references],
        cites_user="user-message" in kinds,
        cites_event="external-event" in kinds,
        replaced_by=None,
        created_at=created_at,
        corrected_at=None,
    )


def _remember(connection: Connection, followed: Followed, learned: Learned) -> None:
    """Store what was learned, unless the user is gone, or has been forgotten meanwhile, or the step was done before."""
    take = memories.count_change if learned.rows else memories.lock_owner
    is_there = take(connection, followed.user_id)  # the user first: see the order of locks
    now = steps.find_followed(connection, followed.id) if is_there else None
    if now is None or not steps.complete(connection, followed.id, EXTRACT_MEMORIES):
        return
    if now.memory_forgotten_at != followed.memory_forgotten_at:
        return
    there = {memory.id: memory for memory in memories.list_by_id(connection, [old.id for old, _ in learned.replaced])}
    replaced = [(old, by) for old, by in learned.replaced if there.get(old.id) == old]  # not corrected, nor forgotten
    for row, words, meaning in learned.rows:
        said_before = "; ".join(f'"{old.content}"' for old, by in replaced if by == row.id)
        told = replace(row, context=f"{row.context} Replaces: {said_before}".strip()) if said_before else row
        memories.insert_memory(connection, told, words, meaning)
    for old, by in replaced:
        memories.replace_memory(connection, followed.user_id, old.id, by)


def _complete_models(connection: Connection, followed: Followed, made: Sequence[UserModel]) -> None:
    """Store the models of a user as the last step, unless that was done before."""
    memories.lock_owner(connection, followed.user_id)
    if steps.complete(connection, followed.id, GENERATE_USER_MODELS):
        _put_models(connection, followed, made)


def _put_models(connection: Connection, followed: Followed, made: Sequence[UserModel]) -> None:
    """Store the models of a user, unless what is remembered has changed since they were asked for.

    Models of older memories are not to take the place of newer ones: they are made again, if there is anything to make
    them of.
    """
    memories.lock_owner(connection, followed.user_id)  # the user first: see the order of locks
    now = steps.find_followed(connection, followed.id)
    if now is None:
        return
    if now.memory_revision != followed.memory_revision:
        if now.memory_forgotten_at == followed.memory_forgotten_at:
            steps.enqueue_models(connection, followed.org_id, followed.id)
        return
    if not made and not memories.list_user_models(connection, followed.user_id):
        return  # nothing changes, so the user's next turns need not read anew
    memories.count_change(connection, followed.user_id)
    memories.put_user_models(connection, followed.org_id, followed.user_id, made)
