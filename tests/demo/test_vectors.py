"""The vectors that the demo brings along are those of its sayings."""

import math
from operator import mul

import pytest

from support.demo_vectors import compute, demo_sayings
from tertulia.demo.vectors import RECORD, read_vectors
from tertulia.providers.embeddings import local
from tertulia.providers.embeddings.kept import digest, unpack

SAMPLE = 8


def test_every_saying_has_its_vector_and_nothing_else_has() -> None:
    assert read_vectors().keys() == {digest(local.LABEL, text) for text in demo_sayings()}, "run `make vectors`"
    assert {len(key) + len(packed) for key, packed in read_vectors().items()} == {RECORD}


@pytest.mark.asyncio
@pytest.mark.skipif(not local.is_available(), reason="this machine cannot run the model")
async def test_the_vectors_are_what_the_embedding_model_says() -> None:
    texts = demo_sayings()[:: len(demo_sayings()) // SAMPLE]
    shipped = read_vectors()
    for key, packed in (await compute(texts)).items():
        one, other = unpack(packed), unpack(shipped[key])
        assert sum(map(mul, one, other)) / (math.hypot(*one) * math.hypot(*other)) > 0.99
