"""LangGraph's development server (as `langgraph dev` starts it), with a model that takes no time."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from stub import PIECES, announce


class Stub(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "stub"

    def _generate(self, messages: Any, *_arguments: Any, **_more: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("".join(PIECES)))])

    async def _astream(self, messages: Any, *_arguments: Any, **_more: Any) -> AsyncIterator[ChatGenerationChunk]:
        for piece in PIECES:
            yield ChatGenerationChunk(message=AIMessageChunk(piece))


MODEL = Stub()


async def reply(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await MODEL.ainvoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node("reply", reply).add_edge(START, "reply").compile()

if __name__ == "__main__":
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
    from langgraph_api.cli import run_server

    port = announce()
    graphs = {"stub": f"{Path(__file__).resolve()}:graph"}
    run_server("127.0.0.1", port, reload=False, graphs=graphs, n_jobs_per_worker=10, open_browser=False)
