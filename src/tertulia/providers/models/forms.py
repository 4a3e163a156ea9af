"""The forms in which a choice is asked for: the strictest that a server takes is found out, and tried now and then."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tertulia.providers.models import schema as schemas

FORMS = ("json_schema", "json_object", "text")
"""Values of `response_format`, the strictest first; the last one is asked for in words alone."""

STRICT_AGAIN_AFTER = 20
"""Answers in a looser form after which the strictest is tried once more: the refusal may have had another reason."""

_PASSING = frozenset({500})


class Forms:
    """Knowledge of the forms that a server takes."""

    def __init__(self) -> None:
        self._first = 0
        self._answers = 0
        self._doubts = 0

    def to_try(self) -> Sequence[str]:
        """List the forms for the next choice, in their order."""
        return FORMS if self._answers >= STRICT_AGAIN_AFTER else FORMS[self._first :]

    def note(self, taken: str, refusals: Sequence[int]) -> None:
        """Note which form was taken, and the statuses with which the ones before were refused.

        A server's inner error (500) says little: it counts when it comes twice.
        """
        if not refusals:
            self._first = FORMS.index(taken)
            self._doubts = 0
            self._answers = 0 if taken == FORMS[0] else self._answers + 1
        elif _PASSING.issuperset(refusals) and not self._doubts:
            self._doubts += 1
        else:
            self._first, self._answers = FORMS.index(taken), 0


def formatted(body: Mapping[str, Any], form: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for an answer of a schema. Return the request; where the server cannot enforce the schema, words ask for it.

    The words end the last message of the user, for many servers take no system message but the first.
    """
    if form == "json_schema":
        answer = {"name": "answer", "strict": True, "schema": schemas.strict(schema)}
        return {**body, "response_format": {"type": form, "json_schema": answer}}
    words = f"Answer with JSON alone, without a word around it. Its JSON schema: {msgspec.json.encode(schema).decode()}"
    messages: list[dict[str, str]] = [*body["messages"]]
    if messages and messages[-1]["role"] == "user":
        messages[-1] = {"role": "user", "content": f"{messages[-1]['content']}\n\n{words}"}
    else:
        messages.append({"role": "user", "content": words})
    asked = {**body, "messages": messages}
    return asked if form == "text" else {**asked, "response_format": {"type": form}}
