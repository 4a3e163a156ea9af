"""The resources of an interaction: what it may use outside itself."""

from dataclasses import dataclass

from tertulia.engine.agent.memory import NO_RECALL, Recall
from tertulia.engine.agent.models import Models
from tertulia.engine.agent.nearness import Nearness
from tertulia.engine.agent.reply_ahead import Guess, guess_nothing
from tertulia.engine.agent.toolbox import TurnTools
from tertulia.engine.speech.reply import Alive
from tertulia.engine.speech.voices import Voices

NOTHING_NEAR = Nearness()
"""The nearness of texts without an embedding model."""

NO_TOOLS = TurnTools()
"""The tools of an interaction that has none."""


def _ignore(_silent_s: float) -> None:
    """Take no notice of a sign of life."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The models, voices and tools that an interaction can reach, the nearness of texts, and the memory of its user.

    `alive` says that the interaction lives, and may be silent for so many seconds before that is counted.
    `guess` tells the action that a state will probably take, whose reply is begun beside the question if it does.
    """

    models: Models
    voices: Voices
    alive: Alive = _ignore
    nearness: Nearness = NOTHING_NEAR
    recall: Recall = NO_RECALL
    guess: Guess = guess_nothing
    tools: TurnTools = NO_TOOLS
