"""The lines of a stream."""

import json
import sys

from tertulia import events


def test_no_character_of_a_message_ends_its_line() -> None:
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]))
    line = events.encode(events.UserMessageAvailable("m", every))
    text = line.decode()
    assert text.splitlines(keepends=True) == [text]
    assert json.loads(text)["user_message"] == every


def test_only_line_ends_are_escaped() -> None:
    line = events.encode(events.UserMessageAvailable("m", "añ…\u2028\u2029\u0085\u202a\u0086"))
    assert '"añ…\\u2028\\u2029\\u0085\u202a\u0086"' in line.decode()
