"""Single sign-on in the interface: a button leads to the identity provider, and back with a session."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from support.browser import Open
from support.identity_provider import RunningProvider
from support.server import Serve
from tertulia.auth import roles

pytestmark = pytest.mark.heavy


@pytest.fixture
def provider() -> Iterator[RunningProvider]:
    provider = RunningProvider()
    provider.person = {"sub": "1", "email": "ada@example.com", "email_verified": True, "groups": ["leads"]}
    yield provider
    provider.stop()


def test_a_button_leads_to_the_provider_and_back(
    serve: Serve, open_page: Open, provider: RunningProvider, complaints: list[str]
) -> None:
    settings = provider.settings(roles={"leads": roles.ADMINISTRATOR}, make_users=True)
    server = serve(oidc={"providers": {"demo": settings}})
    here = provider.page = f"{server.url}/ui/sign-in"  # the address is known only now
    page = open_page(server, "/", signed_in=False)
    button = page.get_by_role("button", name="Sign in with Acme")
    page.get_by_label("Organization").fill("other")
    page.get_by_label("Organization").press("Tab")
    expect(button).to_have_count(0)
    page.get_by_label("Organization").fill("demo")
    page.get_by_label("Organization").press("Tab")

    provider.faults["/authorize"] = 302, f"{here}?error=access_denied&state=x"
    button.click()
    expect(page.get_by_role("alert")).to_contain_text("This tab has not begun this sign-in")
    provider.faults.clear()
    button.click()
    expect(page.get_by_role("heading", name="Sign in to Tertulia")).to_have_count(0)
    expect(page).to_have_url(f"{server.url}/ui/")
    page.goto(f"{server.url}/ui/users")
    expect(page.get_by_text("ada@example.com")).to_be_visible()

    stranger = open_page(server, "/sign-in?code=x&state=y", signed_in=False)
    expect(stranger.get_by_role("alert")).to_contain_text("This tab has not begun this sign-in")
    expect(stranger).to_have_url(f"{server.url}/ui/")
    provider.id_token_changes = {"aud": "other"}
    stranger.get_by_role("button", name="Sign in with Acme").click()
    expect(stranger.get_by_role("alert")).to_contain_text("You are not signed in")
    complaints[:] = [each for each in complaints if not each.startswith(provider.url)]
