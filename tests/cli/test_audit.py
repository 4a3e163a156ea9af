"""`tertulia audit`: an operator reads the audit log, and sees whether somebody has changed it."""

import json
from pathlib import Path

import sqlalchemy as sa

from support.commands import Command
from tertulia.auth.secrets import AUDIT_LOG, KEY_FILE, SecretBox
from tertulia.storage import audit
from tertulia.storage.database import dialect
from tertulia.storage.tables import audit_lines


def test_a_log_is_listed_and_verified_and_a_cut_shows(command: Command, data: Path, made: dict[str, str]) -> None:
    key = SecretBox((data / KEY_FILE).read_text("ascii").strip()).derive(AUDIT_LOG)
    org_id = made["organization_id"]
    engine = dialect.create_engine(f"sqlite:///{data / 'tertulia.db'}", 1)
    with engine.begin() as connection:
        for user in ("ada", "ada", "bob"):
            change = '{"request":{"body":{"name":"x"}}}'
            entry = audit.AuditEntry(org_id, "create-tool", "tool", "t", org_id, user, "k", "10.0.0.9", "r", change)
            line = audit.append_line(connection, key, entry)
    listed = command("audit", "list", "--data", data, "--actor", "ada").stdout.splitlines()
    assert [each.split("\t")[0] for each in listed] == ["2", "1"]
    assert listed[0].split("\t")[2:] == ["ada (key k)", "10.0.0.9", "create-tool", "tool t"]
    (told,) = command("audit", "list", "--data", data, "--json", "--limit", "1").stdout.splitlines()
    assert json.loads(told)["change"] == {"request": {"body": {"name": "x"}}}
    assert command("audit", "list", "--data", data, "--since", "2100-01-01").stdout == ""

    verified = command("audit", "verify", "--data", data)
    assert verified.stdout == f"3 lines in order. The last: 3:{line.digest}\n"
    note = verified.stdout.split()[-1]
    assert command("audit", "verify", "--data", data, "--noted", note).returncode == 0
    with engine.begin() as connection:
        connection.execute(sa.delete(audit_lines).where(audit_lines.c.number == 3))
    engine.dispose()
    cut = command("audit", "verify", "--data", data, "--noted", note)

    assert cut.returncode == 1
    assert cut.stdout.splitlines() == [
        "the log ends at line 2, and its head says 3",
        "line 3 is not the one that was noted",
    ]
    assert command("audit", "verify", "--data", data, "--noted", "3").returncode == 2
    assert command("audit", "list", "--data", data, "--organization", "none").returncode == 1
