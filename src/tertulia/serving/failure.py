"""The failure of a process that cannot serve."""


class ServingFailed(Exception):
    """A failure told in one line at the terminal. `misused`: the server was called or set up wrongly."""

    def __init__(self, text: str, *, misused: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.misused = misused
