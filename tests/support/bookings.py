"""The calendar of the examples, which agents book through, on a port and over a file of its own."""

import importlib.util
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from support.pages import ROOT

SERVER = ROOT / "examples" / "tools" / "booking" / "calendar_server.py"


@dataclass(frozen=True)
class Calendar:
    """A calendar that runs."""

    address: str
    key: str
    file: Path

    def url_of(self, url: str) -> str:
        """Put this calendar's address into the one of an example. Return it."""
        return self.address + urlsplit(url).path

    def bookings(self) -> list[tuple[str, str, str]]:
        """List what is booked: days, times and names."""
        with sqlite3.connect(self.file) as connection:
            return connection.execute("SELECT day, time, name FROM bookings ORDER BY day, time").fetchall()


@contextmanager
def running(file: Path) -> Generator[Calendar]:
    """Run the calendar over a file. Yield it."""
    spec = importlib.util.spec_from_file_location("calendar_server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    key = "key-of-the-calendar"
    server = module.serve(str(file), 0, key)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Calendar(f"http://127.0.0.1:{server.server_address[1]}", key, file)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
