"""`make vectors`: compute the vectors of the demo's sayings, which the package brings along."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tertulia.demo import vectors
from tertulia.demo.content import CONTEXT_GRAPH
from tertulia.engine.graph import sayings
from tertulia.providers.embeddings import local
from tertulia.providers.embeddings.kept import digest, pack


def demo_sayings() -> Sequence[str]:
    """List what people say in the demo's graph. Returns each saying once."""
    texts = [
        text
        for state in CONTEXT_GRAPH["states"]
        for text in (*state.get("actions", ()), *(exit_["description"] for exit_ in state.get("exit_conditions", ())))
    ]
    return sorted({saying for text in texts for saying in sayings.split(text)[1]})


async def compute(texts: Sequence[str]) -> dict[bytes, bytes]:
    """Compute vectors. Returns them, packed, by the digests of their texts."""
    embedder = local.LocalEmbedder()
    found = await embedder.embed(texts)
    await embedder.aclose()
    return {digest(local.LABEL, text): pack(vector) for text, vector in zip(texts, found, strict=True)}


if __name__ == "__main__":
    records = asyncio.run(compute(demo_sayings()))
    Path(vectors.__file__).with_name(vectors.FILE).write_bytes(b"".join(key + records[key] for key in records))
