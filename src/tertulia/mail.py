"""Mail: by SMTP, or as files in an outbox folder if no server is set."""

import asyncio
import os
from contextlib import suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tertulia.ids import new_id
from tertulia.settings import Settings

PATIENCE_S = 20.0
"""The longest time that an SMTP server takes for a step, in seconds."""


class Mailer:
    """The sender of an installation's mails."""

    def __init__(self, settings: Settings) -> None:
        self._server = settings.mail.server.get_secret_value()
        self._sender = settings.mail.sender
        self._outbox = settings.data / "outbox"
        self._links = frozenset(link.rstrip("/").lower() for link in settings.mail.links)

    def may_lead_to(self, link: str) -> bool:
        """Return whether a link that signs somebody in may be sent: not to an origin that a stranger made up."""
        if not self._server:
            return True
        try:
            parts = urlsplit(link)
        except ValueError:  # a name that others may read as another one
            return False
        return f"{parts.scheme}://{parts.netloc}".lower() in self._links

    async def send(self, org_id: str, to: str, subject: str, text: str) -> None:
        """Send a mail of an organization. Raise OSError or SMTPException if the server does not take it."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, to, subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=self._sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        if self._server:
            await asyncio.to_thread(self._deliver, message, to)
        else:
            await asyncio.to_thread(self._put, message, org_id)

    def _deliver(self, message: EmailMessage, to: str) -> None:
        import smtplib  # noqa: PLC0415 - needed only if there is a server
        import ssl  # noqa: PLC0415 - likewise only then

        server = urlsplit(self._server)
        host, context = server.hostname or "", ssl.create_default_context()
        if server.scheme == "smtps":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(host, server.port or 465, timeout=PATIENCE_S, context=context)
        else:
            connection = smtplib.SMTP(host, server.port or 587, timeout=PATIENCE_S)
        with connection:
            connection.ehlo()
            if server.scheme == "smtp" and connection.has_extn("starttls"):
                connection.starttls(context=context)
            if server.username:
                connection.login(unquote(server.username), unquote(server.password or ""))
            connection.send_message(message, to_addrs=[to])

    def _put(self, message: EmailMessage, org_id: str) -> None:
        self._outbox.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._outbox / f"{org_id}.{new_id()}.eml"
        temporary = path.with_suffix(".part")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(message.as_bytes())
        temporary.replace(path)


def remove_mails_to(folder: Path, org_id: str, email: str) -> int:
    """Remove the mails of an organization to an address from an outbox. Return how many there were."""
    removed = 0
    for path in folder.glob(f"{org_id}.*.eml"):
        with suppress(OSError):  # somebody else has removed it
            if message_from_bytes(path.read_bytes())["To"] == email:
                path.unlink()
                removed += 1
    return removed


def outbox(settings: Settings) -> Path:
    """Return the folder of the mails that are written where no server is set."""
    return settings.data / "outbox"
