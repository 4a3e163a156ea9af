"""Questions with a few answers, put to the model of a step."""

from collections.abc import Mapping
from typing import Any, cast

from tertulia.engine.agent.models import Models, model_for
from tertulia.engine.agent.options import Choices
from tertulia.engine.agent.scene import Scene
from tertulia.errors import ModelMisbehaved
from tertulia.providers.base import Prompt


async def choose(scene: Scene, models: Models, question: Prompt, choices: Choices) -> str:
    """Have the model of a step choose. Return the key of the choice.

    Raises:
        ModelError: the model cannot be had, or answers with none of the keys.
    """
    model, question = model_for(models, scene.llm_model_preferences, question)
    answer = await model.choose(question, choices.schema)
    key = cast("Mapping[str, Any]", answer).get("choice") if isinstance(answer, Mapping) else None
    if not isinstance(key, str) or key not in choices:
        raise ModelMisbehaved(f"{question.interaction} answered with none of the options")
    return key
