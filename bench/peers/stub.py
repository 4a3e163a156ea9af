"""The part that every peer's stub server shares: the words of its model, which takes no time, and how it is served.

It runs in the peer's environment, so it imports nothing of ours.
"""

import socket
from typing import Any

PIECES = [f"word{number:02} " for number in range(20)]


def announce() -> int:
    """A free port, for a server that is about to be there; says so as the benchmark expects it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    print(f"The peer answers on http://127.0.0.1:{port}", flush=True)
    return port


def serve(app: Any) -> None:
    """As `uvicorn` serves by default, without its logs."""
    import uvicorn  # noqa: PLC0415 - not every peer has it

    uvicorn.run(app, host="127.0.0.1", port=announce(), log_level="warning", access_log=False)
