"""Mails as jobs: sent after their request, and tried again when a server does not take them."""

from collections.abc import Sequence

import structlog
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth.mail_sign_in import LIFE, link_with, make_token
from tertulia.background.jobs import JobKind, Work, no_effect
from tertulia.mail import Mailer
from tertulia.storage.job import enqueue

SIGN_IN_MAIL = "send-sign-in-mail"
INVITATION = "send-invitation"

_SIGN_IN = """Hello,

this link signs you in. It is good once, and for a quarter of an hour:

{link}

If you did not ask for it, there is nothing to do.
"""
_INVITED = """Hello {name},

you have been invited to {organization}. Begin here:

{link}
"""

_log = structlog.get_logger(__name__)


def ask_for_sign_in(connection: Connection, org_id: str, email: str, link: str) -> None:
    """Have a link to sign in mailed to an address, if it is a user's."""
    enqueue(connection, org_id, SIGN_IN_MAIL, {"email": email, "link": link})


def invite(connection: Connection, org_id: str, invited: dict[str, str]) -> None:
    """Have an invitation mailed; `invited` has `email`, `name`, `organization` and `link`."""
    enqueue(connection, org_id, INVITATION, invited)


def mail_kinds(mailer: Mailer) -> Sequence[JobKind]:
    """Make the kinds of jobs that send mails. Return them."""

    async def send_sign_in(work: Work) -> None:
        job = work.job
        email, link = str(job.payload["email"]), str(job.payload["link"])
        if not mailer.may_lead_to(link):
            _log.warning("link to sign in leads to an origin that TERTULIA_MAIL_LINKS does not name", org_id=job.org_id)
        elif clock.now() - job.created_at < LIFE:
            token = await work.database.write(make_token, job.org_id, email)
            if token is not None:
                await mailer.send(job.org_id, email, "Sign in", _SIGN_IN.format(link=link_with(link, token)))
        await work.end(no_effect)

    async def send_invitation(work: Work) -> None:
        # A name is one line, or it would be a text of its own.
        payload = {name: " ".join(str(value).split()) for name, value in work.job.payload.items()}
        subject = f"You are invited to {payload['organization']}"
        await mailer.send(work.job.org_id, payload["email"], subject, _INVITED.format(**payload))
        await work.end(no_effect)

    return (JobKind(SIGN_IN_MAIL, send_sign_in, at_once=4), JobKind(INVITATION, send_invitation))
