"""Tool code gets nowhere and uses no more than its share: as root, as a user, and under a container's rules."""

import asyncio
import os
import platform
import socket
import subprocess
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from support import sandboxes
from tertulia.tools import running
from tertulia.tools.host import Host
from tertulia.tools.sandbox import Room
from tertulia.tools.values import ToolFailed, ToolOutcome

pytestmark = pytest.mark.heavy

ATTACKER = Path(__file__).parent / "attacker"
SECRET = "a-secret-of-the-victim"
LEVELS = sandboxes.levels()

HELD = {"PermissionError", "FileNotFoundError", "OSError", "NotADirectoryError", "ProcessLookupError"}
"""Errors by which a tool sees a wall."""
GROWN_BYTES = 40_000_000

REFUSED = """
    read_shadow read_passwd_upwards read_database write_database truncate_database open_with_truncation delete_database
    rename_database link_database symlink_to_database symlink_to_root list_root list_data watch_data read_server
    write_project write_pth write_beside_the_project write_tmp read_other_calls plant_in_other_calls shared_memory_file
    open_disk open_kernel_log open_memory_device make_device make_socket_file handle_of_file set_attribute
    environment_of_parent environment_of_victim memory_of_victim root_of_victim files_of_victim trace_victim
    read_memory_of_victim kill_victim kill_parent kill_group kill_all kill_thread_of_victim kill_task_of_victim
    queue_signal_for_victim hold_victim have_victim_signalled slow_victim_down limit_victim pin_victim fork spawn
    execute_shell execute_memory raw_clone new_session new_group hide_from_server outlive_parent new_namespaces
    clone_into_namespaces enter_namespace mount change_root become_root take_capabilities ring bpf keys
    performance_events page_faults personality shared_memory message_queue kernel_module restart_host set_clock
    name_host raise_limits unknown_system_call tcp udp raw_socket netlink unix_socket abstract_socket
    connect_a_pair_elsewhere datagram_to_unix_socket virtual_machine_socket resolve
""".split()  # noqa: SIM905 - a table
"""Attempts that the walls refuse at once; the tool may go on."""

ENDED = {
    "other_calling_convention": {"ToolDied"}
    if platform.machine() == "x86_64"
    else {"PermissionError"},  # there is none
    "allocate": {"MemoryError"},
    "map_shared": {"OSError"},
    "many_allocations": {"MemoryError", "ToolDied", "TimeLimitExceeded"},  # each fails, and it tries on
    "recurse": {"RecursionError"},
    "threads": {"RuntimeError", "ThreadsExceeded"},
    "small_threads": {"ThreadsExceeded"},
    "one_large_file": {"OSError", "DiskExceeded"},
    "many_large_files": {"DiskExceeded"},
    "many_small_files": {"DiskExceeded", "CpuTimeExceeded", "TimeLimitExceeded"},  # as slow as the file system is
    "removed_files": {"DiskExceeded"},
    "print_a_gigabyte": {"OutputTooLarge"},
    "answer_ten_megabytes": {"ValueError"},
    "claim_a_long_answer": {"AnswerTooLarge"},
    "write_a_long_answer": {"AnswerBroken"},
    "write_junk": {"AnswerBroken"},
    "write_deep_json": {"AnswerBroken"},
    "write_wrong_fields": {"AnswerBroken"},
    "write_too_little": {"ToolDied"},
    "close_everything": {"ToolDied", "TimeLimitExceeded"},
    "hang": {"TimeLimitExceeded"},
    "hang_against_signals": {"TimeLimitExceeded"},
    "burn": {"CpuTimeExceeded", "TimeLimitExceeded"},  # on a busy machine the wall comes first
    "burn_against_signals": {"ToolDied", "TimeLimitExceeded"},
    "stop": {"ToolDied"},
    "leave": {"SystemExit"},
    "crash": {"ToolDied"},
    "abort": {"ToolDied"},
    "interrupt": {"KeyboardInterrupt"},
    "answer_an_object": {"TypeError"},
    "answer_no_number": {"TypeError"},
    "answer_itself": {"TypeError"},
    "raise_a_bad_error": {"Bad"},
    "raise_a_long_error": {"ValueError"},
    "raise_with_paths": {"ValueError"},
}
"""Attempts that end a call, each with the types of its failure."""

ANSWERED = {
    "change_mode_of_database": "null",
    "change_owner_of_database": "null",
    "change_time_of_database": "null",
    "change_mode_of_python": "null",
    "deep_folders": "made",
    "closed_folders": "made",
    "hang_at_exit": "answered",
    "answer_odd_characters": "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c",
}
"""Attempts that are answered as if nothing were wrong."""


@dataclass(frozen=True)
class Aftermath:
    """The outcomes of all attempts at one level of confinement, and the state of the rest afterwards."""

    outcomes: dict[str, ToolOutcome]
    grown_bytes: int
    left: list[int]
    victim_lives: bool
    database: tuple[bytes, os.stat_result]
    before: os.stat_result
    places: list[str]


@pytest.fixture(scope="module", params=sorted(LEVELS))
def aftermath(request: pytest.FixtureRequest) -> Aftermath:
    return asyncio.run(attack(LEVELS[request.param]))


async def attack(host: Host) -> Aftermath:
    archive, program = sandboxes.packed({path.name: path.read_text() for path in ATTACKER.iterdir() if path.is_file()})
    names = [*REFUSED, *ENDED, *ANSWERED]
    with sandboxes.open_folder() as data, victim(data, host.user(0)) as given:
        database = Path(str(given["database"]))
        _, before = look_at(database)
        async with sandboxes.opened(host, archive, room=Room(at_once=6)) as sandbox:
            await sandbox.call(program, sandboxes.arguments(attack="answer_odd_characters", **given))
            memory = psutil.Process().memory_info().rss
            calls = [sandbox.call(program, sandboxes.arguments(attack=name, **given)) for name in names]
            outcomes = dict(zip(names, await asyncio.gather(*in_portions(calls)), strict=True))
            grown = psutil.Process().memory_info().rss - memory
        lives = psutil.Process(int(given["victim"])).status() != psutil.STATUS_ZOMBIE
        places = ["/cache/", host.stdlib]
        return Aftermath(outcomes, grown, sandboxed_processes(), lives, look_at(database), before, places)


def look_at(database: Path) -> tuple[bytes, os.stat_result]:
    return database.read_bytes(), database.stat()


def in_portions(calls):
    """Let no call wait so long for room that it gives up."""
    room = asyncio.Semaphore(6)

    async def one(call):
        async with room:
            return await call

    return [one(call) for call in calls]


@contextmanager
def victim(data: Path, user: int | None) -> Generator[dict[str, str | int]]:
    """Start a process of the same user as the tool's, with a secret, and sockets, beside a database of that user."""
    database = data / "server.db"
    database.write_text(SECRET)
    database.chmod(0o644)
    os.chown(database, user or os.geteuid(), user or os.getegid())
    program = "/usr/bin/sleep"
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(data / "socket"))
        (data / "socket").chmod(0o777)
        unix.listen()
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0tertulia-{os.getpid()}")
        abstract.listen()
        process = subprocess.Popen([program, "300"], env={"SECRET": SECRET}, user=user, group=user)
        try:
            yield {
                "victim": process.pid, "database": str(database), "unix": str(data / "socket"),
                "abstract": f"tertulia-{os.getpid()}", "port": listening.getsockname()[1],
                "server": running.__file__,
            }  # fmt: skip
        finally:
            process.kill()
            process.wait()


def sandboxed_processes() -> list[int]:
    """List the processes that were started as confined ones, and are still there."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "ppid"])
        if "confinement import boot" in " ".join(process.info["cmdline"] or [])
        if process.info["ppid"] in {1, os.getpid()}
    ]


def told(outcome: ToolOutcome) -> str:
    return outcome.exception_type if isinstance(outcome, ToolFailed) else f"answered {outcome.output[:200]}"


def test_no_attempt_to_reach_beyond_the_walls_succeeds(aftermath: Aftermath) -> None:
    wrong = {name: told(aftermath.outcomes[name]) for name in REFUSED if told(aftermath.outcomes[name]) not in HELD}
    assert wrong == {}


def test_every_bomb_ends_in_a_clear_record(aftermath: Aftermath) -> None:
    wrong = {
        name: told(aftermath.outcomes[name]) for name in ENDED if told(aftermath.outcomes[name]) not in ENDED[name]
    }
    assert wrong == {}


def test_bad_manners_do_not_keep_an_answer_back(aftermath: Aftermath) -> None:
    outcomes = {name: aftermath.outcomes[name] for name in ANSWERED}
    assert {name: told(outcome) for name, outcome in outcomes.items()} == {
        name: f"answered {text}" for name, text in ANSWERED.items()
    }


def test_nothing_of_the_server_stands_in_a_failure(aftermath: Aftermath) -> None:
    for outcome in aftermath.outcomes.values():
        text = repr(outcome)
        assert SECRET not in text
        assert not [place for place in aftermath.places if place in text]
        assert len(text) < 20_000


def test_the_victim_and_its_database_are_as_before(aftermath: Aftermath) -> None:
    content, after = aftermath.database

    assert aftermath.victim_lives
    assert content == SECRET.encode()
    assert [getattr(after, name) for name in ("st_mode", "st_uid", "st_mtime", "st_size", "st_nlink")] == [
        getattr(aftermath.before, name) for name in ("st_mode", "st_uid", "st_mtime", "st_size", "st_nlink")
    ]


def test_no_process_is_left_and_the_memory_of_the_server_is_flat(aftermath: Aftermath) -> None:
    assert aftermath.left == []
    assert aftermath.grown_bytes < GROWN_BYTES


def test_there_are_more_than_forty_attempts_at_several_levels() -> None:
    assert len(REFUSED) + len(ENDED) + len(ANSWERED) >= 100
    assert any("container" in level for level in LEVELS)
