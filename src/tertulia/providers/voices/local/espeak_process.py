"""espeak-ng in a process of its own: text comes in, PCM and the places of words go out. Needs the extra `espeak`.

    python -m tertulia.providers.voices.local.espeak_process

Licence: espeak-ng (https://github.com/espeak-ng/espeak-ng) is under the GPL, version 3. It is neither part of this
project nor linked into its server: this small program loads the library of the package `espeakng-loader`, and the
server talks to it over pipes.

A request is four bytes of length (big-endian) and JSON: `{"id": 1, "voice": "roa/es", "text": "Hola."}`, or
`{"stop": 1}` to end one early. Ids grow. Requests are spoken one after the other; the process ends with its input.

What comes out is two such lengths, JSON and PCM (16-bit, mono, in the byte order of the machine):
`{"id": 1, "rate": 22050, "events": [[1, 1, 4, 0], ...], "ended": false}`. An event is espeak-ng's: its type, the place
of a word in the text (characters, from 1), its length, and milliseconds since the sound began. The last one is
`{"id": 1, "ended": true, "failed": false}`.
"""

import ctypes
import json
import os
import queue
import signal
import struct
import sys
import threading
from typing import Any, BinaryIO

WORD, CLAUSE_END = 1, 5
"""Types of events that matter: a word begins, a clause has ended."""

LENGTH = struct.Struct(">I")
LENGTHS = struct.Struct(">II")

_SYNCHRONOUS = 2
_PIECE_MS = 100
_DO_NOT_EXIT = 0x8000
_BY_CHARACTER = 1
_UTF_8 = 1
_PAUSE_AT_END = 0x1000
_GO_ON, _STOP = 0, 1


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Speaker:
    """The library, which has one state for the whole process."""

    def __init__(self, out: BinaryIO) -> None:
        import espeakng_loader  # noqa: PLC0415 - an optional extra, and only of this process

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        folder = os.path.dirname(espeakng_loader.get_data_path())
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, _PIECE_MS, os.fsencode(folder), _DO_NOT_EXIT)
        if self._rate <= 0:
            raise OSError("espeak-ng cannot be initialized")
        self._receiver = _Callback(self._receive)  # kept: the library does not
        self._library.espeak_SetSynthCallback(self._receiver)
        self._library.espeak_Synth.argtypes = (
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int),
            *(ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
        )
        self._out = out
        self._id = 0
        self.stopped: set[int] = set()

    def speak(self, request: dict[str, Any]) -> None:
        self._id = request["id"]
        # The other thread adds to it at any time: only a copy holds still.
        self.stopped -= {other for other in tuple(self.stopped) if other < self._id}
        failed = self._library.espeak_SetVoiceByName(request["voice"].encode())
        if not failed and self._id not in self.stopped:
            text = request["text"].encode("utf-8", "replace")
            flags = _UTF_8 | _PAUSE_AT_END
            failed = self._library.espeak_Synth(text, len(text) + 1, 0, _BY_CHARACTER, 0, flags, None, None)
        self._send({"id": self._id, "ended": True, "failed": bool(failed)}, b"")

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        """Called by the library with each piece of sound; what it returns says whether to go on."""
        told: list[tuple[int, int, int, int]] = []
        for event in events:
            if event.type == 0:
                break
            if event.type in (WORD, CLAUSE_END):
                told.append((event.type, event.text_position, event.length, event.audio_position))
        pcm = ctypes.string_at(samples, 2 * count) if samples and count > 0 else b""
        if self._id in self.stopped:
            return _STOP
        if pcm or told:
            self._send({"id": self._id, "rate": self._rate, "events": told, "ended": False}, pcm)
        return _GO_ON

    def _send(self, head: dict[str, Any], pcm: bytes) -> None:
        encoded = json.dumps(head).encode()
        self._out.write(LENGTHS.pack(len(encoded), len(pcm)) + encoded + pcm)
        self._out.flush()


def _read(source: BinaryIO) -> dict[str, Any]:
    """The next request. Whoever asks is gone, where the input ends: nothing is left to do or to save then."""
    head = source.read(LENGTH.size)
    body = source.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""
    if not body:
        os._exit(0)
    return json.loads(body)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends this
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed must not come between
    speaker = _Speaker(out)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen() -> None:
        while True:
            request = _read(sys.stdin.buffer)
            if "stop" in request:
                speaker.stopped.add(request["stop"])
            else:
                requests.put(request)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        speaker.speak(requests.get())


if __name__ == "__main__":
    main()
