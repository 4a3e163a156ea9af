"""What this project uses of google-re2, which ships without types."""

from typing import ClassVar

class error(Exception): ...  # noqa: N801

class Options:
    class Encoding:
        LATIN1: ClassVar[Options.Encoding]
        UTF8: ClassVar[Options.Encoding]

    encoding: Encoding
    log_errors: bool
    max_mem: int
    never_capture: bool

class Regexp:
    programsize: int
    def search(self, text: bytes) -> object | None: ...

def compile(pattern: bytes, options: Options | None = None) -> Regexp: ...  # noqa: A001
