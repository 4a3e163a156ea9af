"""`tertulia jobs`: an operator sees what could not be done, and has it done again."""

from pathlib import Path

from support.commands import Command
from tertulia.storage import job as jobs
from tertulia.storage.database import dialect


def test_dead_jobs_are_listed_first_and_are_due_again_when_retried(
    command: Command, data: Path, made: dict[str, str]
) -> None:
    engine = dialect.create_engine(f"sqlite:///{data / 'tertulia.db'}", 1)
    with engine.begin() as connection:
        jobs.enqueue(connection, made["organization_id"], "erase-user", {"user_id": "waits"})
        dead = jobs.enqueue_taken(connection, made["organization_id"], "erase-user", {"user_id": "dies"})
        jobs.postpone_job(connection, dead, None, "OSError('the disk is full')")
    engine.dispose()

    first, second = command("jobs", "list", "--data", data).stdout.splitlines()

    cells = [cell.strip() for cell in first.split("  ") if cell]
    assert cells == [dead.id, "erase-user", "demo", "dead", "attempts 1", "OSError('the disk is full')"]
    assert "  due 20" in second
    assert command("jobs", "retry", "nothing", "--data", data).stdout == "0 jobs are due again.\n"
    assert command("jobs", "retry", "--data", data).stdout == "1 job is due again.\n"
    assert "dead" not in command("jobs", "list", "--data", data).stdout


def test_no_jobs_are_no_lines_for_a_script_and_a_word_for_a_person(
    command: Command, data: Path, made: dict[str, str]
) -> None:
    done = command("jobs", "list", "--data", data)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "No job is waiting.\n")
