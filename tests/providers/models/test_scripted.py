"""The model that repeats: the same prompt, the same words."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.errors import ModelUnavailable
from tertulia.providers.base import Prompt, Turn
from tertulia.providers.models.scripted import ScriptedModel

QUESTION = """action-1: Ask how the day was
action-2: Talk about books
exit-1: The user says goodbye or wants to finish
exit-2: The user asks to book a table
Now: Ask how the day was"""
KEYS = ["action-1", "action-2", "exit-1", "exit-2"]


def choices(keys: list[str]) -> dict[str, object]:
    return {"type": "object", "properties": {"choice": {"type": "string", "enum": keys}}, "required": ["choice"]}


def said(*messages: str) -> Prompt:
    turns = [Turn("assistant" if number % 2 else "user", text) for number, text in enumerate(messages)]
    return Prompt("SelectNextAction", "You are the host.", turns, question=QUESTION)


async def pieces(model: ScriptedModel, prompt: Prompt) -> list[str]:
    return [piece async for piece in model.stream(prompt)]


@given(count=st.integers(1, 200), text=st.text(max_size=100))
async def test_a_reply_has_exactly_the_pieces_asked_for_and_none_is_empty(count: int, text: str):
    reply = await pieces(ScriptedModel(count), said(text))
    assert len(reply) == count
    assert all(reply)


async def test_a_reply_quotes_the_user_and_names_the_matter():
    reply = await pieces(ScriptedModel(20), said("I have read all the books of the house twice"))
    assert "".join(reply) == (
        'You said: "I have read all the books of the..." Ask how the day was. I am the model that.'
    )


async def test_words_for_a_reply_are_no_part_of_the_matter_that_is_named():
    question = 'Now: Greet. Be kind. In words like these: "Hello there!"\nWrite only your message.'
    prompt = Prompt("EngageUser", "", [Turn("user", "Hi")], question=question, wording="Hello there!")
    assert "".join(await pieces(ScriptedModel(10), prompt)).startswith('You said: "Hi" Greet. Be kind. I am')


async def test_an_agent_that_speaks_first_greets():
    assert "".join(await pieces(ScriptedModel(5), said())) == "Hello! Ask how the day was."


async def test_a_direction_in_the_place_of_a_message_is_not_quoted():
    reply = await pieces(ScriptedModel(5), said("(The conversation begins. You speak first.)"))
    assert "".join(reply) == "Hello! Ask how the day was."


async def test_the_same_prompt_gives_the_same_reply():
    assert await pieces(ScriptedModel(), said("Hi")) == await pieces(ScriptedModel(), said("Hi"))


async def test_each_piece_waits_for_its_pause():
    clock = asyncio.get_running_loop().time
    reply = ScriptedModel(3, 20).stream(said("Hi"))
    for _ in range(3):
        before = clock()
        assert await anext(reply)
        assert clock() - before >= 0.019


@pytest.mark.parametrize(
    ("messages", "choice"),
    [
        ((), "action-1"),
        (("Hello",), "action-1"),
        (("Hello", "How are you?", "Fine"), "action-2"),
        (("Hello", "How are you?", "Fine", "And now?", "Nothing"), "action-1"),
        (("I have finished, goodbye",), "exit-1"),
        (("Could you be booking tables for us?",), "exit-2"),
        (("Goodbye", "Already?", "No, go on"), "action-2"),
    ],
)
async def test_an_exit_is_chosen_when_the_last_message_speaks_of_it(messages: tuple[str, ...], choice: str):
    assert await ScriptedModel().choose(said(*messages), choices(KEYS)) == {"choice": choice}


async def test_without_actions_the_first_exit_is_the_last_resort():
    assert await ScriptedModel().choose(said("Hm"), choices(["exit-2", "exit-1"])) == {"choice": "exit-2"}


async def test_a_model_told_to_fail_fails_after_so_many_pieces():
    reply = ScriptedModel(fail_after=1).stream(said("Hi"))
    assert await anext(reply)
    with pytest.raises(ModelUnavailable):
        await anext(reply)
    with pytest.raises(ModelUnavailable):
        await ScriptedModel(fail_after=0).choose(said("Hi"), choices(KEYS))
