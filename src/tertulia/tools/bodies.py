"""The bodies of answers, read within bounds, and the reasons why there are none."""

import asyncio
import ssl
import zlib
from contextlib import aclosing

import httpx2

from tertulia.tools.outcomes import CallFailed

_GZIP_OR_ZLIB = 47


async def bounded_body(response: httpx2.Response, most: int) -> bytes:
    """Read a body that may be compressed, and may be a bomb. Return it in clear.

    Raises:
        CallFailed: it has more than `most` bytes, packed or in clear, or cannot be unpacked.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip", "deflate", ""}:
        raise CallFailed("AnswerUnreadable", "The server compresses its answer although it was asked not to.")
    unpack = None if encoding in {"identity", ""} else zlib.decompressobj(_GZIP_OR_ZLIB)
    body, read = bytearray(), 0
    async with aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            read += len(chunk)
            await asyncio.sleep(0)  # chunks of a byte each come without a pause, and others wait
            try:
                body += chunk if unpack is None else unpack.decompress(chunk, most + 1 - len(body))
            except zlib.error:
                raise CallFailed("AnswerUnreadable", "The answer cannot be decompressed.") from None
            if max(read, len(body)) > most:
                raise CallFailed("AnswerTooLong", f"The answer has more than {most} bytes.")
    if unpack is not None and read and (not unpack.eof or unpack.unused_data):
        raise CallFailed("AnswerUnreadable", "The compressed answer is cut off, or goes on after its end.")
    return bytes(body)


def why(error: httpx2.TransportError) -> str:
    """Say why there is no answer, as far as a caller may know. Return a sentence."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The certificate of the server is not valid: {cause.verify_message.rstrip('.')}."
        if isinstance(cause, ssl.SSLError):
            return "The server does not speak TLS."
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.ConnectError):
        return "The server takes no connections."
    if isinstance(error, httpx2.LocalProtocolError):
        return "The request cannot be sent."
    return "The server ended the connection, or does not speak HTTP."
