"""The core alone: it runs, speaks, and says what is not installed."""

import json
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent


def test_without_any_extra_the_server_speaks_samples_and_says_what_it_cannot(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "support.bare", str(tmp_path)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "mp3": [400, "audio_format: This server has no codecs: its extra `voice` is not installed."],
        "pcm": [201, "interaction-complete"],
        "heard": [400, "request_format: This server has no codecs: its extra `voice` is not installed."],
    }
