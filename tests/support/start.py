"""The start of a server that stops as soon as it answers, and the work that it took: `python start.py DATA`.

Prints as JSON, on standard error, the modules that were loaded, and how often garbage was searched for until then.
"""

import gc
import json
import socket
import sys
from pathlib import Path

from tertulia.cli.main import app
from tertulia.serving import server


def main(data: Path) -> None:
    """Serve, and tell of it when the server has stopped."""
    searches: list[str] = []
    told: dict[str, object] = {}

    def note(phase: str, _info: object) -> None:
        if phase == "start" and "fastapi" in sys.modules:
            searches.append(phase)

    class Stopping(server.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            told.update(searches=len(searches))
            await super().startup(sockets)
            told.update(modules=sorted(sys.modules))
            self.should_exit = True

    gc.callbacks.append(note)
    server.Server = Stopping
    sys.argv = ["tertulia", "serve", "--data", str(data), "--port", "0"]
    try:
        app()
    finally:
        print(json.dumps(told), file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
