"""Messages and frames of a WebSocket, damaged: the same ones for the same seed."""

import base64
import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

_WORDS = [
    "", " ", "null", "true", "-1", "1e999", "\\u0000", "\\ud800", '"', "}", "]", "{", "[", ":", ",", "\u00e9",
    "\U0001f642", "client.", "server.", "audio", "text", "user-message", "external-event", "AAAA", "0" * 24,
    "9" * 400, "[" * 3000,
]  # fmt: skip
_VALUES: list[Any] = [
    None, True, False, 0, -1, 2**70, 1.5, "", " ", "a", "0" * 24, [], {}, [None], {"type": "pcm"}, {"type": "mp3"},
    {"type": "pcm", "frame_rate": 8000, "n_channels": 1, "sample_width": 2}, "\0", "x" * 5000, {"a": {"b": []}},
]  # fmt: skip


def originals(service_id: str) -> list[dict[str, Any]]:
    """A message of each type, with all fields. Those that begin or end a session are rarer than the others."""
    config = {"type": "pcm", "frame_rate": 16_000, "n_channels": 1, "sample_width": 2}
    tone = base64.b64encode(struct.pack("<800h", *(9000 if n // 20 % 2 else -9000 for n in range(800)))).decode()
    text: list[dict[str, Any]] = [
        {"type": "client.new-text-message", "text": "Hello", "message_type": "user-message"},
        {"type": "client.new-text-message", "text": "It rains", "message_type": "external-event"},
    ]
    audio: list[dict[str, Any]] = [
        {"type": "client.new-audio-message", "audio": tone, "audio_config": config},
        {"type": "client.new-audio-message", "audio": None},
        {"type": "client.new-audio-message", "audio": base64.b64encode(bytes(3200)).decode()},
    ]
    start = {
        "type": "client.start-conversation",
        "service_id": service_id,
        "service_version_set_name": "release",
        "initial_message": "Hello",
        "initial_message_type": "user-message",
        "tags": {"a": "b"},
        "is_test": True,
    }
    return [
        *text,
        *audio * 4,
        start,
        {"type": "client.continue-conversation", "conversation_id": "0" * 24},
        {"type": "client.switch-vad-mode", "vad_mode_on": True},
        {"type": "client.switch-vad-mode", "vad_mode_on": False},
        {"type": "client.extend-timeout"},
        {"type": "client.finish-conversation"},
    ]


class Mutator:
    """Damages messages: their fields, and their text."""

    def __init__(self, seed: int, service_id: str) -> None:
        self.random = random.Random(seed)
        self._originals = originals(service_id)

    def __iter__(self) -> Iterator[str | bytes]:
        ways: list[Callable[[str], str]] = [self._flip, self._cut, self._insert, self._splice]
        while True:
            message = dict(self.random.choice(self._originals))
            for _ in range(self.random.choice((0, 1, 1, 2))):
                self._change(message)
            text = json.dumps(message, ensure_ascii=self.random.random() < 0.5)
            for _ in range(self.random.choice((0, 0, 1, 3))):
                text = self.random.choice(ways)(text)
            binary = self.random.random() < 0.002
            yield text.encode(errors="replace") if binary else text.encode(errors="replace").decode()

    def _change(self, message: dict[str, Any]) -> None:
        names = [*message, "unknown", "type", "text", "audio", "audio_config"]
        name = self.random.choice(names)
        if self.random.random() < 0.2:
            message.pop(name, None)
        else:
            message[name] = self.random.choice([*_VALUES, *self.random.choice(self._originals).values()])

    def _flip(self, text: str) -> str:
        place = self.random.randrange(len(text) + 1)
        return text[:place] + chr(self.random.randrange(1, 256)) + text[place + 1 :]

    def _cut(self, text: str) -> str:
        place = self.random.randrange(len(text) + 1)
        return text[:place] if self.random.random() < 0.5 else text[place:]

    def _insert(self, text: str) -> str:
        place = self.random.randrange(len(text) + 1)
        return text[:place] + self.random.choice(_WORDS) + text[place:]

    def _splice(self, text: str) -> str:
        other = json.dumps(self.random.choice(self._originals))
        return text[: self.random.randrange(len(text) + 1)] + other[self.random.randrange(len(other) + 1) :]

    def raw(self, message: str | bytes) -> bytes:
        """A frame as it is on the wire (RFC 6455, section 5.2), and then damaged."""
        body = message.encode() if isinstance(message, str) else message
        head = bytearray([0x81, 0x80 | min(len(body), 126)])
        if len(body) >= 126:
            head[1] = 0x80 | (126 if len(body) < 1 << 16 else 127)
            head += struct.pack(">H" if len(body) < 1 << 16 else ">Q", len(body))
        mask = bytes(4)
        frame = bytearray(head + mask + body)
        for _ in range(self.random.choice((1, 1, 2, 8))):
            place = self.random.randrange(min(len(frame), 16))
            frame[place] ^= 1 << self.random.randrange(8)
        if self.random.random() < 0.2:
            frame = frame[: self.random.randrange(len(frame))]
        return bytes(frame)


KEY = base64.b64encode(os.urandom(16)).decode()


def handshake(path: str, host: str, token: str) -> bytes:
    """The request that opens a WebSocket (RFC 6455, section 4.1)."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()
