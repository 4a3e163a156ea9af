"""The scaffold: a small tool that works, to begin one's own with."""

from functools import lru_cache

from tertulia.tools.archive import digest, pack

NAME = "greeting"
"""The name of the scaffold's tool."""

_MANIFEST = """\
# What the tool is called, and what it may do. See docs/guide/tools.md.
name = "greeting"
description = "Greets a person by their name, in one of a few languages."
entry = "tool:run"

# [limits]                  # memory_mb, cpu_seconds, wall_seconds, processes, disk_mb, answer_kb
# [network]
# hosts = ["api.example.com"]
# [environment]
# plain = ["REGION"]
# secret = ["API_KEY"]

[input_schema]
type = "object"
required = ["name"]
additionalProperties = false

[input_schema.properties.name]
type = "string"
minLength = 1
description = "The name of the person."

[input_schema.properties.language]
type = "string"
enum = ["eng", "deu", "spa"]
description = "The language to greet in; English unless given."
"""

_TOOL = '''\
"""A tool: a function of arguments that fit the schema of tool.toml, and of the context of the call."""

GREETINGS = {"eng": "Hello", "deu": "Guten Tag", "spa": "Hola"}


def run(arguments, context):
    """Greet a person. Return the text; anything that JSON can write may be returned."""
    greeting = GREETINGS[arguments.get("language", "eng")]
    return f"{greeting}, {arguments['name']}!"
'''

_EXAMPLES = """\
[
  {"input": {"name": "Ada"}, "output": "Hello, Ada!"},
  {"input": {"name": "Ada", "language": "spa"}, "output": "Hola, Ada!"}
]
"""

_TEST = '''\
"""Tests of the tool, run as `python -m unittest`. `tertulia tool test .` runs examples.json in the sandbox."""

import unittest

import tool


class Greeting(unittest.TestCase):
    def test_a_person_is_greeted_in_english_unless_asked_otherwise(self):
        self.assertEqual(tool.run({"name": "Ada"}, None), "Hello, Ada!")
        self.assertEqual(tool.run({"name": "Ada", "language": "deu"}, None), "Guten Tag, Ada!")


if __name__ == "__main__":
    unittest.main()
'''

_README = """\
# greeting

| file | what it is |
|---|---|
| `tool.toml` | the name, the description that agents read, the schema of the input, and what the tool may do |
| `tool.py` | the function |
| `examples.json` | inputs and the outputs that they must give; `tertulia tool test .` calls each in the sandbox |
| `test_tool.py` | tests of the function alone: `python -m unittest` |

Publish it with `tertulia tool publish .`
"""

_FILES = {
    "README.md": _README,
    "examples.json": _EXAMPLES,
    "test_tool.py": _TEST,
    "tool.py": _TOOL,
    "tool.toml": _MANIFEST,
}


def files(name: str = NAME) -> dict[str, bytes]:
    """Make the files of a tool of this name. Return them by their paths."""
    return {path: text.replace(NAME, name).encode() for path, text in _FILES.items()}


@lru_cache(maxsize=1)
def archive() -> bytes:
    """Pack the scaffold. Return the archive."""
    return pack(files())


DIGEST = digest(archive())
"""The SHA-256 of the archive, in hex: versions tell with which scaffold's server they were published."""
