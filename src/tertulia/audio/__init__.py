"""Sound: samples, their formats, and the way from one to the other."""

from importlib.util import find_spec

from tertulia.errors import BadRequest


def require_codecs(what: str) -> None:
    """Raise BadRequest where the extra `voice` is not installed; `what` begins the text, and says what needs it."""
    if find_spec("av") is None:
        raise BadRequest(f"{what} this server has no codecs: its extra `voice` is not installed.")
