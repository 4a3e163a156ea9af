"""The proxies of `deploy/`, run with the real programs in front of a server.

Each configuration is the file that is published; only what differs from host to host is replaced: the name, the
certificate, and the addresses.
"""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.commands import PATIENCE_S
from support.pages import ROOT

PROGRAMS = ("nginx", "caddy")


@dataclass(frozen=True)
class Certificate:
    """A certificate of `localhost`, and the trust of a client that knows it."""

    path: Path
    key: Path

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path))


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate of `localhost` that signs itself. Returns it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = serialization.PrivateFormat.PKCS8
    certificate = Certificate(folder / "certificate.pem", folder / "key.pem")
    certificate.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    certificate.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return certificate


@contextmanager
def running(program: str, folder: Path, certificate: Certificate, server: str) -> Generator[str]:
    """Run a proxy in front of the server at `HOST:PORT`. Yields the proxy's URL."""
    port = _free_port()
    write = {"nginx": _nginx, "caddy": _caddy}[program]
    command = write(folder, certificate, server, port)
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        _wait(process, port, folder / "log")
        yield f"https://localhost:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _nginx(folder: Path, certificate: Certificate, server: str, port: int) -> list[str]:
    site = _published(
        "nginx.conf",
        {
            "127.0.0.1:8000": server,
            "listen 443 ssl": f"listen {port} ssl",
            "tertulia.example;": "localhost;",
            "/etc/ssl/certs/tertulia.example.pem": str(certificate.path),
            "/etc/ssl/private/tertulia.example.key": str(certificate.key),
        },
    )
    (folder / "site.conf").write_text(site)
    user = "user root;" if os.geteuid() == 0 else ""
    scratch = "".join(
        f"{name}_temp_path {folder / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder / 'pid'}; events {{}}\n"
        f"http {{ access_log off; {scratch} include {folder / 'site.conf'}; }}\n"
    )
    return [_found("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def _caddy(folder: Path, certificate: Certificate, server: str, port: int) -> list[str]:
    name = f"https://localhost:{port} {{\n\ttls {certificate.path} {certificate.key}\n"
    site = _published("Caddyfile", {"127.0.0.1:8000": server, "\ntertulia.example {\n": f"\n{name}"})
    # What would need a port of its own, or leave something behind.
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + site)
    return [_found("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _published(name: str, here: dict[str, str]) -> str:
    text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
    for shown, replaced in here.items():
        assert text.count(shown) == 1, f"{shown!r} is not once in deploy/{name}"
        text = text.replace(shown, replaced)
    return text


def _found(program: str) -> str:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") or program


def is_here(program: str) -> bool:
    """Look for a program. Returns whether this machine has it."""
    return shutil.which(_found(program)) is not None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Until the proxy takes connections; a bounded wait for another process, which tells nobody when it is ready."""
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the proxy did not start: {log.read_text()}")
