"""An HTTP tool sends exactly the request that its operation describes, and bounds whatever comes back."""

import asyncio
import base64
import datetime
import gzip
import json
import ssl
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tertulia.tools.addresses import AddressRules, Connector
from tertulia.tools.definitions import HttpOperation
from tertulia.tools.http import HttpTools
from tertulia.tools.outcomes import MOST_BYTES, CallFailed
from tertulia.tools.requests import request_of
from tertulia.tools.values import ToolCall, ToolFailed, ToolProgram, ToolSucceeded
from tools.web import Answer, Asked, answer, web

KEY = "0123456789abcdef"
NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trust in no certificate at all, which is made in no time."""


def call_of(
    arguments: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None, **more: Any
) -> ToolCall:
    named: dict[str, Any] = {"user_variables": {}, "secret_user_variables": {}, **more}
    return ToolCall(arguments or {}, KEY, environment or {}, **named)


def program(definition: Mapping[str, Any]) -> ToolProgram:
    return ToolProgram("org", "tool", "1.0.0", "http", definition, {"type": "object"})


@asynccontextmanager
async def tools(*allowed: str, certificates: ssl.SSLContext | None = None) -> AsyncGenerator[HttpTools]:
    connector = Connector(AddressRules.parse(allowed), lambda _name, _port: ["127.0.0.1"])
    made = HttpTools(connector, certificates)
    yield made
    await made.aclose()
    connector.close()


async def ask(url: str, definition: Mapping[str, Any], call: ToolCall, *allowed: str) -> ToolSucceeded | ToolFailed:
    async with tools(*(allowed or ("127.0.0.1",)), certificates=NOBODY) as made:
        return await made.call(program({"url": url, **definition}), call)


def saying(content: bytes) -> Answer:
    async def answering(_asked: Asked) -> bytes:
        return content

    return answering


# --- What is sent ----------------------------------------------------------------------------------------------------


async def test_each_value_stands_where_the_operation_says():
    parameters = [
        {"name": "city", "in": "path"},
        {"name": "day", "in": "query", "argument": "when"},
        {"name": "tags", "in": "query"},
        {"name": "ids", "in": "query", "explode": False},
        {"name": "filter", "in": "query"},
        {"name": "lang", "in": "query", "value": "en"},
        {"name": "X-Trace", "in": "header"},
        {"name": "X-API-Key", "in": "header", "variable": "WEATHER_KEY"},
        {"name": "X-Customer", "in": "header", "user_variable": "customer"},
        {"name": "pin", "in": "query", "secret_user_variable": "pin"},
        {"name": "left_out", "in": "query"},
    ]
    definition = {"method": "POST", "parameters": parameters, "body": {}, "authorization": {"bearer": "TOKEN"}}
    arguments = {"city": "São/Paulo?", "when": "1&2", "tags": ["a", "b"], "ids": [1, 2], "filter": {"a": True}}
    call = call_of(
        {**arguments, "X-Trace": 5, "note": "hi", "deep": {"x": None}},
        {"WEATHER_KEY": "k-1234", "TOKEN": "t-1234"},
        user_variables={"customer": "c1"},
        secret_user_variables={"pin": "4321"},
    )
    async with web(saying(answer('{"ok": true}'))) as server:
        outcome = await ask(f"{server.url}/v1/{{city}}/alerts?v=2", definition, call)
    (asked,) = server.asked
    assert isinstance(outcome, ToolSucceeded)
    assert outcome.output == '{"ok": true}'
    assert asked.method == "POST"
    path, _, query = asked.target.partition("?")
    assert path == "/v1/S%C3%A3o%2FPaulo%3F/alerts"
    assert parse_qsl(query) == [
        *(("v", "2"), ("day", "1&2"), ("tags", "a"), ("tags", "b"), ("ids", "1,2"), ("filter[a]", "true")),
        *(("lang", "en"), ("pin", "4321")),
    ]
    assert asked.headers["x-trace"] == "5"
    assert asked.headers["x-api-key"] == "k-1234"
    assert asked.headers["x-customer"] == "c1"
    assert asked.headers["authorization"] == "Bearer t-1234"
    assert asked.headers["idempotency-key"] == KEY
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"
    assert json.loads(asked.body) == {"note": "hi", "deep": {"x": None}}


async def test_basic_credentials_forms_and_whole_bodies_are_sent():
    definition = {
        "method": "PUT",
        "authorization": {"basic": {"user": "USER", "password": "PASSWORD"}},
        "body": {"format": "form", "argument": "fields"},
    }
    call = call_of({"fields": {"a": "x y", "b": [1, 2], "c": None}}, {"USER": "ü", "PASSWORD": "p:w"})
    async with web(saying(answer("[]"))) as server:
        await ask(server.url, definition, call)
    (asked,) = server.asked
    assert asked.headers["authorization"] == "Basic " + base64.b64encode("ü:p:w".encode()).decode()
    assert parse_qsl(asked.body.decode()) == [("a", "x y"), ("b", "1"), ("b", "2")]


HOSTILE = st.text(max_size=30) | st.sampled_from(
    [
        "../admin",
        "..",
        ".",
        "%2e%2e",
        "a/../../b",
        "..\\x",
        "x?y=1",
        "x#y",
        "@evil.example",
        "//evil.example",
        "\r\nX: 1",
    ]
)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_value_leaves_its_place(in_path: str, in_query: str, in_header: str):
    parameters = [
        {"name": "a", "in": "path"},
        {"name": "b", "in": "query"},
        {"name": "X-C", "in": "header"},
    ]
    operation = HttpOperation.model_validate({"url": "https://api.example/v1/x{a}/end", "parameters": parameters})
    try:
        request = request_of(operation, call_of({"a": in_path, "b": in_query, "X-C": in_header}))
    except CallFailed as failure:
        assert failure.kind == "ArgumentInvalid"  # noqa: PT017 - a refusal is as good
        return
    assert (request.url.scheme, request.url.host, request.url.port) == ("https", "api.example", None)
    target = urlsplit(request.url.raw_path.decode())
    _, version, segment, end = target.path.split("/")
    assert (version, unquote(segment), end) == ("v1", f"x{in_path}", "end")
    assert parse_qsl(target.query, keep_blank_values=True) == [("b", in_query)]
    sent = dict(request.headers)
    assert sent.keys() == {
        "accept",
        "accept-encoding",
        "user-agent",
        "idempotency-key",
        "tertulia-attempt",
        "x-c",
        "host",
    }
    assert not set("\r\n\0") & set(sent["x-c"])


@pytest.mark.parametrize(
    "values",
    [{"a": ".", "b": "."}, {"a": "..", "b": ""}, {"a": "x/..", "b": "/"}, {"a": "", "b": "x"}, {"a": "..", "b": "x"}],
)
def test_values_together_do_not_lead_to_another_path(values: Mapping[str, str]):
    parameters = [{"name": "a", "in": "path"}, {"name": "b", "in": "path"}]
    operation = HttpOperation.model_validate({"url": "https://api.example/{a}{b}/x", "parameters": parameters})
    with pytest.raises(CallFailed):
        request_of(operation, call_of(values))


@pytest.mark.parametrize(
    ("definition", "call", "kind"),
    [
        ({"authorization": {"bearer": "TOKEN"}}, call_of(), "VariableMissing"),
        ({"authorization": {"bearer": "T"}}, call_of({}, {"T": "a\r\nb"}), "ArgumentInvalid"),
        ({"method": "POST", "body": {}}, call_of({"x": float("nan")}), "ArgumentInvalid"),
        ({"method": "POST", "body": {"format": "form"}}, call_of({"x": "\ud800"}), "ArgumentInvalid"),
        ({"parameters": [{"name": "q", "in": "query"}]}, call_of({"q": "\ud800"}), "ArgumentInvalid"),
        ({"parameters": [{"name": "q", "in": "query"}]}, call_of({"q": "x" * 9000}), "ArgumentInvalid"),
        ({"parameters": [{"name": "H", "in": "header"}]}, call_of({"H": "é"}), "ArgumentInvalid"),
    ],
)
async def test_a_request_that_cannot_be_made_is_a_failure_and_not_sent(
    definition: Mapping[str, Any], call: ToolCall, kind: str
):
    async with web(saying(answer("{}"))) as server:
        outcome = await ask(server.url, definition, call)
    assert isinstance(outcome, ToolFailed)
    assert outcome.exception_type == kind
    assert server.asked == []


@pytest.mark.parametrize(
    ("definition", "place"),
    [
        ({"url": "ftp://api.example"}, ("url",)),
        ({"url": "https://127.1/"}, ("url",)),
        ({"url": "https://user:pw@api.example/"}, ("url",)),
        ({"url": "https://api.example:25/"}, ("url",)),
        ({"url": "https://{a}.example/", "parameters": [{"name": "a", "in": "path"}]}, ("url",)),
        ({"url": "https://api.example/?q={a}", "parameters": [{"name": "a", "in": "path"}]}, ("url",)),
        ({"url": "https://api.example/{a}"}, ()),
        ({"url": "https://api.example/", "parameters": [{"name": "a", "in": "path"}]}, ()),
        ({"url": "https://api.example/", "method": "TRACE"}, ("method",)),
        ({"url": "https://api.example/", "body": {}}, ()),
        ({"url": "https://api.example/", "parameters": [{"name": "Host", "in": "header"}]}, ("parameters", 0)),
        ({"url": "https://api.example/", "parameters": [{"name": "Cookie", "in": "header"}]}, ("parameters", 0)),
        ({"url": "https://api.example/", "parameters": [{"name": "a\n", "in": "header"}]}, ("parameters", 0)),
        ({"url": "https://api.example/", "timeout_s": 121}, ("timeout_s",)),
        ({"url": "https://api.example/", "authorization": {}}, ("authorization",)),
        ({"url": "https://api.example/", "surprise": 1}, ("surprise",)),
    ],
)
def test_a_wrong_definition_is_refused_at_its_place(definition: Mapping[str, Any], place: tuple[str | int, ...]):
    with pytest.raises(ValidationError) as refusal:
        HttpOperation.model_validate(definition)
    assert [error["loc"] for error in refusal.value.errors()] == [place]


# --- Where it is sent ------------------------------------------------------------------------------------------------


async def test_an_address_that_is_not_public_is_not_reached():
    async with web(saying(answer("{}"))) as server:
        for url in (server.url, f"http://localhost:{server.port}", f"http://[::ffff:7f00:1]:{server.port}"):
            outcome = await ask(url, {}, call_of(), "10.0.0.0/8")
            assert isinstance(outcome, ToolFailed)
            assert outcome.exception_type == "AddressRefused"
    assert server.asked == []


async def test_redirects_are_judged_anew_and_take_no_credentials_to_another_origin():
    definition = {
        "authorization": {"bearer": "TOKEN"},
        "parameters": [{"name": "X-Key", "in": "header", "variable": "TOKEN"}, {"name": "q", "in": "query"}],
    }
    call = call_of({"q": "1"}, {"TOKEN": "secret-token"})
    async with web(saying(answer('"there"'))) as other:
        moved = answer(status="302 Found", Location=f"http://other.internal:{other.port}/x")
        async with web(saying(moved)) as first:
            outcome = await ask(first.url, definition, call, "127.0.0.1")
            assert outcome == ToolSucceeded('"there"', outcome.duration_ms)
            refused = await ask(first.url, definition, call, f"127.0.0.1:{first.port}")
    assert isinstance(refused, ToolFailed)
    assert refused.exception_type == "AddressRefused"
    assert first.asked[0].headers["authorization"] == "Bearer secret-token"
    (asked,) = other.asked
    assert asked.target == "/x"
    assert not {"authorization", "x-key", "idempotency-key", "tertulia-attempt"} & asked.headers.keys()


async def test_a_redirect_within_the_origin_keeps_what_was_sent():
    async def answering(asked: Asked) -> bytes:
        moved = asked.target == "/a"
        return answer(status="307 Temporary Redirect", Location="/b") if moved else answer('"done"')

    call = call_of({"x": 1}, {"TOKEN": "secret-token"})
    async with web(answering) as server:
        definition = {"method": "POST", "body": {}, "authorization": {"bearer": "TOKEN"}}
        outcome = await ask(f"{server.url}/a", definition, call)
    assert isinstance(outcome, ToolSucceeded)
    assert [asked.target for asked in server.asked] == ["/a", "/b"]
    assert server.asked[1].headers["authorization"] == "Bearer secret-token"
    assert server.asked[1].body == b'{"x": 1}'


@pytest.mark.parametrize(
    ("method", "status", "location", "requests"),
    [
        ("GET", "302 Found", "/again", 4),
        ("POST", "302 Found", "/b", 1),
        ("POST", "308 Permanent Redirect", "http://other.internal/", 1),
        ("GET", "302 Found", "file:///etc/passwd", 1),
        ("GET", "302 Found", "http://u:p@127.0.0.1/", 1),
        ("GET", "302 Found", "http://127.0.0.1:22/", 1),
        ("GET", "302 Found", "gopher://127.0.0.1/", 1),
    ],
)
async def test_redirects_that_nobody_is_to_follow_are_failures(method: str, status: str, location: str, requests: int):
    async with web(saying(answer(status=status, Location=location))) as server:
        outcome = await ask(server.url, {"method": method}, call_of())
    assert isinstance(outcome, ToolFailed)
    assert outcome.exception_type == "RedirectRefused"
    assert len(server.asked) == requests


def certificate(folder: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(encoding, form, serialization.NoEncryption()) + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_certificates_are_those_of_the_name_and_not_of_the_address(tmp_path: Path):
    path = certificate(tmp_path, "api.example")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(path)
    names: list[str | None] = []
    theirs.sni_callback = lambda _connection, name, _context: names.append(name)
    ours = ssl.create_default_context(cafile=str(path))
    async with web(saying(answer('"safe"')), theirs) as server:
        outcomes = []
        for host, certificates in [("api.example", ours), ("other.example", ours), ("api.example", None)]:
            async with tools("127.0.0.1", certificates=certificates) as made:
                outcomes.append(await made.call(program({"url": f"https://{host}:{server.port}/"}), call_of()))
    good, wrong_name, unknown = outcomes
    assert isinstance(good, ToolSucceeded)
    assert server.asked[0].headers["host"] == f"api.example:{server.port}"
    assert names == ["api.example", "other.example", "api.example"]
    for outcome in (wrong_name, unknown):
        assert isinstance(outcome, ToolFailed)
        assert "certificate" in outcome.exception_message
    assert len(server.asked) == 1


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch):
    async with web(saying(answer('"direct"'))) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        outcome = await ask(server.url, {}, call_of())
    assert isinstance(outcome, ToolSucceeded)


# --- What comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (answer('{"a": "é"}'), '{"a": "é"}'),
        (answer("plain", Content_Type="text/plain; charset=utf-8"), "plain"),
        (answer("é".encode("latin-1"), Content_Type="text/plain; charset=iso-8859-1"), "é"),
        (answer(b"\xff\0", Content_Type="text/plain; charset=zip"), "\ufffd\ufffd"),
        (answer(b"\x89PNG", Content_Type="image/png"), "[image/png, 4 bytes]"),
        (answer(status="204 No Content"), "Status 204, without content."),
        (answer(gzip.compress(b"[1]"), Content_Encoding="gzip"), "[1]"),
        (answer(zlib.compress(b"[1]"), Content_Encoding="deflate"), "[1]"),
        (answer("x" * MOST_BYTES), "x" * MOST_BYTES),
        (answer('"my secret-token"'), '"my ***"'),
    ],
)
async def test_an_answer_is_told_as_text(sent: bytes, told: str):
    call = call_of({}, {"TOKEN": "secret-token"})
    async with web(saying(sent)) as server:
        outcome = await ask(server.url, {"authorization": {"bearer": "TOKEN"}}, call)
    assert isinstance(outcome, ToolSucceeded)
    assert outcome.output == told


BOMB = gzip.compress(bytes(100 << 20), 9)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (answer('{"error": "no such city"}', "404 Not Found"), "StatusError"),
        (answer("x" * 100_000, "500 Oops"), "StatusError"),
        (answer(status="304 Not Modified"), "StatusError"),
        (answer("x" * (MOST_BYTES + 1)), "AnswerTooLong"),
        (answer(BOMB, Content_Encoding="gzip"), "AnswerTooLong"),
        (answer(BOMB, "500 Oops", Content_Encoding="gzip"), "AnswerTooLong"),
        (answer(b"no gzip", Content_Encoding="gzip"), "AnswerUnreadable"),
        (answer(b"x", Content_Encoding="br"), "AnswerUnreadable"),
        (answer(b"x", Content_Encoding="gzip, gzip"), "AnswerUnreadable"),
        (answer(gzip.compress(b"whole" * 100)[:-12], Content_Encoding="gzip"), "AnswerUnreadable"),
        (answer(zlib.compress(b"whole" * 100)[:-5], Content_Encoding="deflate"), "AnswerUnreadable"),
        (answer(gzip.compress(b"one") + gzip.compress(b"two"), Content_Encoding="gzip"), "AnswerUnreadable"),
        (b"", "ConnectionFailed"),
        (b"SSH-2.0-OpenSSH\r\n", "ConnectionFailed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "ConnectionFailed"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n", "ConnectionFailed"),
    ],
)
async def test_a_bad_answer_is_a_failure_in_few_words(sent: bytes, kind: str):
    async def answering(asked: Asked) -> bytes:
        asked.writer.write(sent)
        asked.writer.close()
        return b""

    async with web(answering) as server:
        outcome = await ask(server.url, {}, call_of())
    assert isinstance(outcome, ToolFailed)
    assert outcome.exception_type == kind
    assert 0 < len(outcome.exception_message) < 5000
    assert len(server.asked) == 1


@pytest.mark.parametrize("place", ["path", "query", "header"])
async def test_a_secret_is_left_out_in_whichever_form_a_server_repeats_it(place: str):
    async def repeating(asked: Asked) -> bytes:
        return answer(json.dumps([asked.target, parse_qsl(urlsplit(asked.target).query), asked.headers]))

    definition = {"parameters": [{"name": "k", "in": place, "variable": "KEY"}]}
    async with web(repeating) as server:
        url = f"{server.url}/{{k}}" if place == "path" else server.url
        outcome = await ask(url, definition, call_of({}, {"KEY": ' se/cr+et=="top\\'}))
    assert isinstance(outcome, ToolSucceeded)
    assert "***" in outcome.output
    assert not any(part in outcome.output for part in ("cr+et", "cr%2Bet", "top"))


async def test_an_error_tells_its_status_and_its_body_without_secrets():
    async with web(saying(answer('{"error": "key secret-token is bad"}', "401 Unauthorized"))) as server:
        outcome = await ask(server.url, {"authorization": {"bearer": "TOKEN"}}, call_of({}, {"TOKEN": "secret-token"}))
    assert isinstance(outcome, ToolFailed)
    assert outcome.exception_message == 'Status 401: {"error": "key *** is bad"}'


async def test_a_server_that_hangs_is_given_up():
    async def answering(_asked: Asked) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with web(answering) as server:
        outcome = await ask(server.url, {"timeout_s": 0.1}, call_of())
        await server.left.wait()
    assert isinstance(outcome, ToolFailed)
    assert (outcome.exception_type, "0.1 s" in outcome.exception_message) == ("Timeout", True)


async def test_a_server_that_drips_is_given_up_too():
    async def answering(asked: Asked) -> bytes:
        asked.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            asked.writer.write(b"1\r\nx\r\n")
            await asyncio.sleep(0.01)

    async with web(answering) as server:
        outcome = await ask(server.url, {"timeout_s": 0.2}, call_of())
        await server.left.wait()
    assert isinstance(outcome, ToolFailed)
    assert outcome.exception_type == "Timeout"


async def test_a_cancelled_call_hangs_up():
    arrived = asyncio.Event()

    async def answering(_asked: Asked) -> bytes:
        arrived.set()
        await asyncio.Event().wait()
        return b""

    async with web(answering) as server, tools("127.0.0.1", certificates=NOBODY) as made:
        calling = asyncio.create_task(made.call(program({"url": server.url}), call_of()))
        await arrived.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await server.left.wait()


async def test_cookies_of_one_call_are_not_sent_with_another():
    async with (
        web(saying(answer("{}", Set_Cookie="session=1"))) as server,
        tools("127.0.0.1", certificates=NOBODY) as made,
    ):
        for _ in range(2):
            await made.call(program({"url": server.url}), call_of())
    assert [asked.headers.get("cookie") for asked in server.asked] == [None, None]
