"""`tertulia doctor` says in a line each what this host gives to tools."""

from dataclasses import replace
from pathlib import Path

import pytest

from support.commands import run_here
from tertulia.cli import doctor
from tertulia.tools import host as hosts
from tertulia.tools.host import Host

FULL = Host(landlock=7, seccomp=True, bubblewrap="/usr/bin/bwrap", python="p", prefix="p", stdlib="s", users=0)


def test_the_command_says_what_there_is(tmp_path: Path) -> None:
    done = run_here(["doctor", "--data", str(tmp_path)], "", {})

    names = [line[:14].strip() for line in done.stdout.splitlines()]
    assert names[:6] == ["tool code", "Landlock", "seccomp", "bubblewrap", "users", "uv"]
    assert done.returncode == (0 if hosts.probe().confines else 1)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("host", "whole"),
    [
        (FULL, "confined by Landlock, seccomp, bubblewrap, limits"),
        (replace(FULL, bubblewrap=""), "confined by Landlock, seccomp, limits"),
        (replace(FULL, landlock=0), "confined by seccomp, bubblewrap, limits"),
        (
            replace(FULL, landlock=0, bubblewrap=""),
            "refused: this host cannot confine it; HTTP tools and MCP tools work",
        ),
        (replace(FULL, seccomp=False), "refused: this host cannot confine it; HTTP tools and MCP tools work"),
    ],
)
def test_the_whole_is_told_first(host: Host, whole: str) -> None:
    told = dict(doctor.describe(host))

    assert told["tool code"] == whole
    assert (told["Landlock"].startswith("missing")) == (host.landlock == 0)
    assert (told["seccomp"] == "yes") == host.seccomp


ALL_USERS, FEW_USERS = "         0          0 4294967295\n", "         0     100000      65536\n"


@pytest.mark.parametrize(
    ("root", "rights", "users", "own"),
    [
        (True, "000001ffffffffff", ALL_USERS, True),
        (True, "00000000a80425fb", ALL_USERS, True),  # Docker's
        (True, "00000000a80425fb", FEW_USERS, False),
        (True, "0000000000000000", ALL_USERS, False),  # --cap-drop=all
        (True, "00000000a80425db", ALL_USERS, False),  # --cap-drop=KILL: it could not end what it starts
        (False, "0000000000000000", ALL_USERS, False),
    ],
)
def test_tools_get_users_of_their_own_from_a_root_that_may_start_and_end_them(
    monkeypatch: pytest.MonkeyPatch, root: bool, rights: str, users: str, own: bool
) -> None:
    told = {"/proc/self/uid_map": users, "/proc/self/status": f"Name:\tx\nCapEff:\t{rights}\nSeccomp:\t2\n"}
    monkeypatch.setattr(hosts, "_text", told.__getitem__)
    monkeypatch.setattr(hosts, "_open_to_others", lambda _path: True)
    monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
    assert bool(hosts.probe().users) == own
