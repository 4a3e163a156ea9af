"""Bodies of turns as they are stored: compressed beside a dictionary, which is text that they may refer to.

A dictionary is made of what other rows of the turn say, and of the forms of lines. It is made again when a body is
read, so those rows never change, and neither does the text here: a body is read with the very dictionary that it was
packed with, or not at all.
"""

import zlib
from collections.abc import Sequence

import msgspec

from tertulia.storage.turn.values import Message

_LEVEL = 3
_SMALL_BYTES = 1 << 14
_SMALL = (13, 4)
_LARGE = (15, 8)
"""The window's bits and the memory of zlib: to clear the tables of a large window takes longer than to pack a turn."""

_MOST_CHARS = 4000
"""Characters of a message that are in a dictionary: what is farther away than a window is out of reach."""


def pack(body: bytes, dictionary: bytes) -> bytes:
    """Compress a body beside a dictionary. Return it as `unpack` reads it."""
    bits, memory = _SMALL if len(body) <= _SMALL_BYTES else _LARGE
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, bits, memory, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return packer.compress(body) + packer.flush()


def unpack(packed: bytes, dictionary: bytes) -> bytes:
    """Restore a body; one that was packed without a dictionary is restored without it. Return it.

    Raises:
        zlib.error: it was packed beside another dictionary.
    """
    unpacker = zlib.decompressobj(zdict=dictionary)
    return unpacker.decompress(packed) + unpacker.flush()


def dictionary_of_stream(interaction_id: str, said: Sequence[Message]) -> bytes:
    """Make the dictionary of a turn's stream from the messages of the turn. Return it."""
    in_order = sorted(said, key=lambda message: message.created_at)
    return b"".join(
        [
            b'{"type":"interaction-complete","interaction_id":"%b","full_message":"' % interaction_id.encode(),
            b'","conversation_completed":false}\n{"type":"user-message-available","message_id":"","user_message":"',
            *(part for message in in_order for part in (message.id.encode(), _encoded(message.content))),
            b'{"type":"new-message","message":"","stop":true,"sequence_number":1,"message_id":"%b' % _last_id(in_order),
            b'","transcript_alignment":null,"message_metadata":[]}\n{"type":"new-message","message":"',
            b' ","stop":false,"sequence_number":',
        ]
    )


def pack_trace(body: bytes, conversation_id: str, trace_id: str) -> bytes:
    """Pack a trace, unless it is large and was compressed where nobody waits. Return it as `unpack_trace` reads it."""
    return pack(body, _dictionary_of_trace(conversation_id, trace_id)) if body.startswith(_JSON) else body


def unpack_trace(packed: bytes, conversation_id: str, trace_id: str) -> bytes:
    """Restore a trace; older ones were not packed. Return it."""
    return packed if packed.startswith(_JSON) else unpack(packed, _dictionary_of_trace(conversation_id, trace_id))


_JSON = b"["


def _dictionary_of_trace(conversation_id: str, trace_id: str) -> bytes:
    return _OF_TRACES % (conversation_id.encode(), trace_id.encode())


_OF_TRACES = (
    b'{"error.type":"","tertulia.error.status":503,"tertulia.error.message":"","tertulia.dropped":true,"tertulia.work":"'
    b'"tertulia.first_piece_ms":0,"gen_ai.tool.name":"","gen_ai.request.model":"","gen_ai.usage.input_tokens":0}],'
    b'[0,0,"embeddings ","execute_tool ",{"gen_ai.operation.name":"embeddings","gen_ai.provider.name":"","tertulia.'
    b'[0,0,null,"SelectNextActionForDecisionState",null,"local:","json",null,null,null,1,null,null,null,null,null,null],'
    b'[0,0,"navigate-state-machine-decision-state-decision-started",{"tertulia.action":{"type":"'
    b'"navigate-state-machine-state-transitioned","navigate-state-machine-exit-condition-selected",'
    b'Z","prompts",[0,0,"invoke_agent",{"gen_ai.operation.name":"invoke_agent","gen_ai.agent.id":""'
    b',"gen_ai.agent.version":"1","gen_ai.conversation.id":"%b","tertulia.interaction_id":"%b"}],'
    b'[[0,0,"navigate-state-machine-action-state-action-selected",{"tertulia.action":{"type":'
    b'"navigate-state-machine-action-state-action-selected","action":""}}]],'
    b'[[0,0,0,"SelectNextAction",null,"scripted","json",null,null,null,1,null,null,null,null,null,null],'
    b'[0,0,0,"EngageUser",null,"local:","text",null,null,null,1,null,null,null,null,null,null]],[]]["20","spans",[0,'
)


def _encoded(content: str) -> bytes:
    return msgspec.json.encode(content[:_MOST_CHARS])


def _last_id(said: Sequence[Message]) -> bytes:
    return said[-1].id.encode() if said else b""
