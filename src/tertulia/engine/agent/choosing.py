"""Questions with a few answers, put to the model of a step."""

from collections.abc import Mapping
from typing import Any, cast

from tertulia.engine.agent import prompt
from tertulia.engine.agent.models import Models, model_for
from tertulia.engine.agent.scene import Scene
from tertulia.errors import ModelMisbehaved


async def choose(scene: Scene, models: Models, question: prompt.Prompt, choices: prompt.Choices) -> str:
    """Have the model of a step choose. Return the key of the choice.

    Raises:
        ModelError: the model cannot be had, or answers with none of the keys.
    """
    model, question = model_for(models, scene.llm_model_preferences, question)
    answer = await model.choose(question, prompt.choice_schema(choices))
    key = cast("Mapping[str, Any]", answer).get("choice") if isinstance(answer, Mapping) else None
    if not isinstance(key, str) or key not in choices:
        raise ModelMisbehaved(f"{question.interaction} answered with none of the options")
    return key
