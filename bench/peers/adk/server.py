"""ADK's own API server (as `adk api_server` makes it), sessions in memory, with a model that takes no time."""

import logging
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.cli.fast_api import get_fast_api_app
from google.adk.cli.utils.base_agent_loader import BaseAgentLoader
from google.adk.models import BaseLlm, LlmResponse
from google.genai import types
from stub import PIECES, serve


class Stub(BaseLlm):
    async def generate_content_async(self, llm_request: Any, stream: bool = False) -> AsyncGenerator[LlmResponse, None]:
        if stream:
            for piece in PIECES:
                yield LlmResponse(content=_content(piece), partial=True)
        yield LlmResponse(content=_content("".join(PIECES)), partial=False)


def _content(text: str) -> types.Content:
    return types.Content(role="model", parts=[types.Part(text=text)])


class Loader(BaseAgentLoader):
    def load_agent(self, agent_name: str) -> LlmAgent:
        return AGENT

    def list_agents(self) -> list[str]:
        return ["stub"]


AGENT = LlmAgent(name="stub", model=Stub(model="stub"), instruction="Say words.")

if __name__ == "__main__":
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "stub").mkdir()
        serve(
            get_fast_api_app(
                agents_dir=folder,
                agent_loader=Loader(),
                session_service_uri="memory://",
                artifact_service_uri="memory://",
                memory_service_uri="memory://",
                use_local_storage=False,
                auto_create_session=True,
                web=False,
            )
        )
