"""What this project uses of google-re2, which ships without types."""

class Options:
    log_errors: bool
    max_mem: int

class error(Exception): ...  # noqa: N801

class Regexp:
    def search(self, text: str) -> object | None: ...

def compile(pattern: str, options: Options | None = None) -> Regexp: ...  # noqa: A001
