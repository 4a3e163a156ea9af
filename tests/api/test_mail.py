"""Signing in by mail: a link that is good once, for whoever reads the mail, and tells strangers nothing."""

import email
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.message import EmailMessage, Message
from typing import Any

import httpx2
import pytest
from aiosmtpd.controller import Controller

from operations import INVITATION
from support.server import Serve, Server
from support.targets import an_email, make_mail_token
from tertulia.cli import installation
from tertulia.mail import outbox

LINK = "https://app.example/login?next=%2F"
PATIENCE_S = 20


def mails(server: Server, to: str, number: int = 1) -> list[Message]:
    """Wait for mails to an address in the outbox. Return them."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = [email.message_from_bytes(path.read_bytes()) for path in outbox(server.settings).glob("*.eml")]
        mine = [mail for mail in found if mail["To"] == to]
        if len(mine) >= number:
            return mine
        time.sleep(0.05)
    raise AssertionError(f"no mail to {to}")


def text_of(mail: Message) -> str:
    content = mail.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


def token_of(mail: Message) -> str:
    found = re.search(r"#sign_in_token=([\w-]+)", text_of(mail))
    assert found is not None
    return found[1]


def ask(server: Server, to: str, link: str = LINK) -> httpx2.Response:
    return server.anonymous.post("/user/signin", json={"email": to, "redirect_link": link})


def use(server: Server, token: str) -> httpx2.Response:
    return server.anonymous.post("/user/signin_with_mail_token", json={"token": token})


def invited(server: Server, **changes: Any) -> tuple[str, str]:
    """Invite somebody. Return their address and their identifier."""
    address = an_email()
    made = server.as_admin.post("/user/", json={**INVITATION, "first_name": "Eve", "email": address, **changes})
    return address, made.raise_for_status().json()["user_id"]


def test_a_mail_signs_its_reader_in_once(tertulia: Server) -> None:
    address, user_id = invited(tertulia)
    assert ask(tertulia, address.upper()).status_code == 200
    (mail,) = mails(tertulia, address)

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: use(tertulia, token_of(mail)), range(5)))

    right = [answer for answer in answers if answer.status_code == 200]
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]
    users = tertulia.client(right[0].json()["id_token"]).get("/user/").json()["users"]
    assert [user["user_id"] for user in users] == [user_id]
    assert f"{LINK}#sign_in_token=" in text_of(mail)


def test_a_sign_in_voids_the_other_mails_of_the_user(tertulia: Server) -> None:
    _, user_id = invited(tertulia)
    first, second = (make_mail_token(tertulia, user_id) for _ in range(2))

    assert [use(tertulia, token).status_code for token in (first, second)] == [200, 401]


def test_strangers_and_users_are_answered_alike(tertulia: Server) -> None:
    address, _ = invited(tertulia)

    known, unknown = ask(tertulia, address), ask(tertulia, "nobody@example.com")

    assert (known.status_code, known.content) == (unknown.status_code, unknown.content) == (200, b"null")
    mails(tertulia, address)
    assert [mail["To"] for mail in _all(tertulia) if mail["To"] == "nobody@example.com"] == []


def _all(server: Server) -> list[Message]:
    return [email.message_from_bytes(path.read_bytes()) for path in outbox(server.settings).glob("*.eml")]


def test_an_old_foreign_or_invented_token_signs_nobody_in(tertulia: Server) -> None:
    other = installation.make_demo(tertulia.settings, "other", None)
    _, user_id = invited(tertulia)
    old = make_mail_token(tertulia, user_id, -timedelta(seconds=1))
    foreign = make_mail_token(tertulia, other.user_id)
    here = make_mail_token(tertulia, user_id)

    answers = [use(tertulia, token).status_code for token in (old, foreign, "x" * 43, here + " ", here[:-1])]

    assert answers == [401] * 5
    elsewhere = f"{tertulia.url}/v1/other/user/signin_with_mail_token"
    assert tertulia.anonymous.post(elsewhere, json={"token": here}).status_code == 401
    assert use(tertulia, here).status_code == 200


def test_a_deleted_users_token_signs_nobody_in(tertulia: Server) -> None:
    _, user_id = invited(tertulia)
    token = make_mail_token(tertulia, user_id)
    tertulia.as_admin.delete(f"/user/{user_id}").raise_for_status()

    assert use(tertulia, token).status_code == 401


def test_an_invitation_with_a_link_is_mailed(tertulia: Server) -> None:
    address, _ = invited(tertulia, login_link=LINK)

    (mail,) = mails(tertulia, address)

    assert LINK in text_of(mail)
    assert "Tertulia demo" in mail["Subject"]


def test_a_link_that_cannot_be_taken_apart_breaks_nothing(tertulia: Server) -> None:
    """Python's parser of links raises an error here: the job failed again and again."""
    address, _ = invited(tertulia)
    link = "https://a\u2100b@app.example/"
    assert ask(tertulia, address, link).status_code == 200

    (mail,) = mails(tertulia, address)

    assert f"{link}#sign_in_token=" in text_of(mail)


def test_a_name_is_no_text_of_its_own_in_a_mail(tertulia: Server) -> None:
    address, _ = invited(tertulia, login_link=LINK, first_name="Eve,\n\nyour account ends at https://evil.example\n")

    (mail,) = mails(tertulia, address)

    assert text_of(mail).splitlines()[0] == "Hello Eve, your account ends at https://evil.example,"


@pytest.mark.parametrize(
    "address",
    [
        "=?utf-8?q?evil=40evil.example=2C?=@example.com",
        "=?utf-8?q?x=0D=0ABcc=3A?=@example.com",
        "a@b.example\r\nBcc: c",
    ],
)
def test_an_address_that_a_mail_would_have_decoded_is_refused(tertulia: Server, address: str) -> None:
    invitation = tertulia.as_admin.post("/user/", json={**INVITATION, "email": address})

    assert (invitation.status_code, ask(tertulia, address).status_code) == (422, 422)


WRITTEN = [
    "https://app.example/\n\nGo to https://evil.example",
    "https://app.example/ or so",
    "https://app.example/\u202ex",
]
"""Links that would bring a text of a stranger's into a mail of ours."""


@pytest.mark.parametrize("link", ["javascript:alert(1)", "ftp://x.example/", "/login", "", "https://", *WRITTEN])
def test_a_link_that_is_none_of_the_web_is_refused(tertulia: Server, link: str) -> None:
    assert ask(tertulia, "a@example.com", link).status_code == 422


def test_mails_are_limited_for_an_address_and_a_client(serve: Serve) -> None:
    limited = serve(rate_limits="contract")

    assert [ask(limited, "a@example.com").status_code for _ in range(6)] == [*[200] * 5, 429]
    other = ask(limited, "b@example.com")
    assert (other.status_code, other.headers["x-ratelimit-limit"], other.headers["x-ratelimit-remaining"]) == (
        200,
        "5",
        "4",
    )
    assert [use(limited, "x").status_code for _ in range(21)] == [*[401] * 20, 429]


# --- SMTP ------------------------------------------------------------------------------------------------------------


class Inbox:
    """A handler of an SMTP server that keeps what it gets."""

    def __init__(self) -> None:
        self.received: list[EmailMessage | Message] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.received.append(email.message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def smtp() -> Iterator[tuple[Inbox, str]]:
    inbox = Inbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield inbox, f"smtp://127.0.0.1:{port}"
    controller.stop()


def test_a_link_is_mailed_only_to_where_the_operator_says(serve: Serve, smtp: tuple[Inbox, str]) -> None:
    """Else a stranger would have a user send the token to a page of the stranger's."""
    inbox, url = smtp
    server = serve(mail={"server": url, "links": "https://app.example", "sender": "hello@app.example"})
    evil = ["https://evil.example/", "https://app.example.evil.example/", "https://app.example@evil.example/"]
    for link in [*evil, "http://app.example/", LINK]:
        assert ask(server, "administrator@example.com", link).status_code == 200

    until = time.monotonic() + PATIENCE_S
    while not inbox.received and time.monotonic() < until:
        time.sleep(0.05)

    (mail,) = inbox.received
    assert (mail["From"], mail["To"]) == ("hello@app.example", "administrator@example.com")
    assert use(server, token_of(mail)).status_code == 200
    assert list(outbox(server.settings).glob("*")) == []
