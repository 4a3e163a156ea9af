"""A calendar of appointments over SQLite, as an HTTP API that agents book through. Standard library alone.

    CALENDAR_KEY=secret python calendar_server.py bookings.db 8090

`GET /slots?day=2026-12-24` lists free times; `POST /bookings` books one: 201, or 409 if it is taken. A request that
comes again with its `Idempotency-Key` gets the same answer and books nothing.
"""

import json
import os
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TIMES = [f"{hour:02}:{minute:02}" for hour in range(9, 12) for minute in (0, 30)]
"""The times of every day."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS bookings (
    day TEXT NOT NULL, time TEXT NOT NULL, name TEXT NOT NULL, key TEXT UNIQUE, PRIMARY KEY (day, time)
)
"""


class Calendar:
    """The calendar in a file."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._open() as connection:
            connection.execute(SCHEMA)

    def free(self, day: str) -> list[str]:
        """List the free times of a day. Return them in order."""
        with self._open() as connection:
            taken = {row[0] for row in connection.execute("SELECT time FROM bookings WHERE day = ?", (day,))}
        return [time for time in TIMES if time not in taken]

    def book(self, day: str, time: str, name: str, key: str | None) -> bool:
        """Book a time, or find that the same request has booked it. Return False if it is not free."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute("SELECT day, time FROM bookings WHERE key = ?", (key,)).fetchone()
            if found is not None:
                return found == (day, time)
            if time not in TIMES:
                return False
            row = (day, time, name, key)
            made = connection.execute("INSERT INTO bookings VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
            return made.rowcount == 1

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=10)


class Handler(BaseHTTPRequestHandler):
    """The calendar's HTTP API."""

    calendar: Calendar
    key: str

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        day = parse_qs(address.query).get("day", [""])[0]
        if address.path != "/slots":
            return self._answer(404, {"error": "There is no such place."})
        return self._answer(200, {"day": day, "free": self.calendar.free(day)})

    def do_POST(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {self.key}":
            return self._answer(401, {"error": "The key is wrong."})
        try:
            body = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), 10_000)))
            day, time, name = (str(body[field]) for field in ("day", "time", "name"))
        except (KeyError, TypeError, ValueError):
            return self._answer(400, {"error": "Send day, time and name."})
        if not self.calendar.book(day, time, name, self.headers.get("Idempotency-Key")):
            return self._answer(409, {"error": f"{day} at {time} is not free."})
        return self._answer(201, {"booked": {"day": day, "time": time, "name": name}})

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def serve(path: str, port: int, key: str) -> ThreadingHTTPServer:
    """Make the server of the calendar in a file. Return it."""
    handler = type("CalendarHandler", (Handler,), {"calendar": Calendar(path), "key": key})
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


if __name__ == "__main__":
    if len(sys.argv) != 3 or "CALENDAR_KEY" not in os.environ:
        sys.exit("Usage: CALENDAR_KEY=secret python calendar_server.py bookings.db 8090")
    print(f"The calendar listens at http://127.0.0.1:{sys.argv[2]}", flush=True)
    serve(sys.argv[1], int(sys.argv[2]), os.environ["CALENDAR_KEY"]).serve_forever()
