"""A real PgBouncer in transaction mode before the tests' PostgreSQL."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

import psycopg

from support.commands import PATIENCE_S
from support.postgres import Postgres

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def running(postgres: Postgres, connections: int) -> Generator[str]:
    """Run one with so many connections to each database. Yields the URL before a database's name."""
    folder = Path(tempfile.mkdtemp(prefix="tertulia-pgbouncer-"))
    folder.chmod(0o755)
    port = _free_port()
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host={postgres.host} port={postgres.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 200\n"
        "admin_users = postgres\nserver_round_robin = 1\n"
    )
    assert PROGRAM is not None
    with (folder / "log").open("wb") as log:
        process = _launch([PROGRAM, str(configuration)], log)
    url = f"postgres://postgres@127.0.0.1:{port}"
    try:
        _wait(process, f"{url}/pgbouncer", folder / "log")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


def _launch(command: list[str], log: BufferedWriter) -> "subprocess.Popen[bytes]":
    """Start it as another user if we are root, which it refuses to be. Return the process."""
    nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    uid, gid, groups = (nobody.pw_uid, nobody.pw_gid, ()) if nobody else (None, None, None)
    return subprocess.Popen(command, stdout=log, stderr=log, user=uid, group=gid, extra_groups=groups)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Until it takes connections; a bounded wait for another process, which tells nobody when it is ready."""
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        try:
            psycopg.connect(url, autocommit=True, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"PgBouncer did not start: {log.read_text()}")
