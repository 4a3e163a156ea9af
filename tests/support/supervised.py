"""Workers whose starts go wrong as files say: `python -m support.supervised FOLDER WORKERS START_S`.

A start takes a file `hang-*` or `fail-*` of the folder away, and does so; with a file `broken` every start fails.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from tertulia import logs
from tertulia.serving import metrics, serve
from tertulia.serving.workers import Workers

VARIABLE = "SUPERVISED"


def application() -> Any:
    folder = Path(os.environ[VARIABLE])
    if (folder / "broken").exists() or _take(folder, "fail"):
        sys.exit(3)
    if _take(folder, "hang"):
        (folder / f"hung-{os.getpid()}").touch()
        time.sleep(3600)
    return _answer


def _take(folder: Path, what: str) -> bool:
    for path in folder.glob(f"{what}-*"):
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        return True
    return False


async def _answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for word in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{word}.complete"})
        return
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    logs.configure("info")
    listener = serve.listen("127.0.0.1", 0)
    print(serve.address(listener), flush=True)
    with metrics.shared_folder():
        try:
            workers = Workers("support.supervised:application", listener, int(sys.argv[2]), float(sys.argv[3]))
            workers.run(lambda: print("ready", flush=True))
        except serve.ServingFailed as error:
            sys.exit(error.text)


if __name__ == "__main__":
    main()
