"""`tertulia audit`: an operator reads the audit log, and sees whether somebody has changed it."""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from support.commands import Command
from support.server import settings_of
from tertulia.auth.secrets import AUDIT_LOG, KEY_FILE, SecretBox
from tertulia.cli import installation
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
    assert [each.split("\t")[0] for each in listed] == ["3", "2"]
    assert listed[0].split("\t")[2:] == ["ada (key k)", "10.0.0.9", "create-tool", "tool t"]
    (told,) = command("audit", "list", "--data", data, "--json", "--limit", "1").stdout.splitlines()
    assert json.loads(told)["change"] == {"request": {"body": {"name": "x"}}}
    assert command("audit", "list", "--data", data, "--since", "2100-01-01").stdout == ""

    verified = command("audit", "verify", "--data", data)
    assert verified.stdout == f"4 lines in order. The last: 4:{line.digest}\n"
    note = verified.stdout.split()[-1]
    assert command("audit", "verify", "--data", data, "--noted", note).returncode == 0
    with engine.begin() as connection:
        connection.execute(sa.delete(audit_lines).where(audit_lines.c.number == 4))
    engine.dispose()
    cut = command("audit", "verify", "--data", data, "--noted", note)

    assert cut.returncode == 1
    assert cut.stdout.splitlines() == [
        "the log ends at line 3, and its head says 4",
        "line 4 is not the one that was noted",
    ]
    assert command("audit", "verify", "--data", data, "--noted", "3").returncode == 2
    assert command("audit", "list", "--data", data, "--organization", "none").returncode == 1


def test_what_an_operator_does_to_an_organization_with_commands_stands_in_its_log(command: Command, data: Path) -> None:
    first = json.loads(command("init", "--data", data, "--json").stdout)
    again = json.loads(command("init", "--data", data, "--empty", "--json").stdout)
    command("token", "--data", data, "--admin")
    added = installation.add_visitor(settings_of(data=data), "demo").user_id
    other = json.loads(command("org", "create", "other", "--data", data, "--json").stdout)

    assert told(command, data, "demo") == [
        ("tertulia init", "organization", "demo", {"after": {"api_key_id": first["api_key_id"]}}),
        ("tertulia init", "organization", "demo", {"after": {"api_key_id": again["api_key_id"]}}),
        ("tertulia token", "user", first["admin_user_id"], {}),
        ("tertulia rehearse", "user", added, {}),
    ]
    assert told(command, data, "other") == [
        ("tertulia org create", "organization", "other", {"after": {"api_key_id": other["api_key_id"]}})
    ]
    for name in ("demo", "other"):
        assert command("audit", "verify", "--data", data, "--organization", name).returncode == 0


def told(command: Command, data: Path, name: str) -> list[tuple[str, str, str, Any]]:
    """List what the operator has done to an organization, the oldest first."""
    listed = command("audit", "list", "--data", data, "--organization", name, "--json").stdout.splitlines()
    lines = [json.loads(line) for line in listed][::-1]
    assert {(line["actor_org_id"], line["actor_user_id"]) for line in lines} == {("", "operator")}
    return [(line["action"], line["object_kind"], line["object_id"], line["change"]) for line in lines]
