"""Why a process cannot serve."""


class ServingFailed(Exception):
    """What the person at the terminal reads. `misused`: the server was called or set up wrongly."""

    def __init__(self, text: str, *, misused: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.misused = misused
