"""Single sign-on: a company's identity provider signs its people in, by OpenID Connect."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import structlog
from fastapi import Depends, Request
from pydantic import BaseModel, StringConstraints
from sqlalchemy.engine import Connection

from tertulia.api.http.audit import Recorder
from tertulia.api.http.deps import CurrentRuntime, Organization, OrganizationScope, make_recorder
from tertulia.api.http.masking import change_of
from tertulia.api.http.rate_limit import public_limit
from tertulia.api.http.routing import contract_router
from tertulia.auth import single_sign_on
from tertulia.auth.id_tokens import Identity, SignInRefused
from tertulia.auth.identity_providers import Client
from tertulia.auth.single_sign_on import Admission
from tertulia.errors import NotFound, Unauthorized
from tertulia.runtime import Runtime
from tertulia.settings import IdentityProvider
from tertulia.storage.audit import AuditEntry, append_line
from tertulia.storage.audited import find_object

router = contract_router("/user", "User")

REFUSED = "You are not signed in: an administrator of this server finds the reason in its log."
"""The one text of all refusals."""

A_MINUTE = 20
"""Requests of one client for each of these operations in a minute."""

_PRINTABLE = r"^[ -~]+$"
"""ASCII that can be printed, as RFC 6749 (appendix A) has codes and states."""

_log = structlog.get_logger(__name__)


def _find_client(runtime: Runtime, organization: OrganizationScope) -> Client | None:
    providers = runtime.identity_providers
    return None if providers is None else providers.find(organization.org_id)


def _client_of(runtime: Runtime, organization: OrganizationScope) -> Client:
    client = _find_client(runtime, organization)
    if client is None:
        raise NotFound("No identity provider signs people in to this organization.")
    return client


class SignInButton(BaseModel):
    """The button of the sign-in page; `name` is null if it has none."""

    name: str | None


@router.get(
    "/signin_with_oidc",
    operation_id="get-identity-provider",
    summary="Get the identity provider of the sign-in page",
    dependencies=[Depends(public_limit(60))],
)
async def get_identity_provider(runtime: CurrentRuntime, organization: Organization) -> SignInButton:
    """Tell the sign-in page if an identity provider signs people in, and its name."""
    client = _find_client(runtime, organization)
    has_button = client is not None and client.provider.redirect_uri
    return SignInButton(name=client.provider.name if client is not None and has_button else None)


class StartedSignIn(BaseModel):
    """A sign-in that has begun: the page keeps `sealed` to itself, and leads to `authorization_url`."""

    authorization_url: str
    state: str
    sealed: str


@router.post(
    "/signin_with_oidc",
    operation_id="start-oidc-sign-in",
    summary="Start to sign in with the identity provider",
    dependencies=[Depends(public_limit(A_MINUTE))],
)
async def start_oidc_sign_in(runtime: CurrentRuntime, organization: Organization) -> StartedSignIn:
    """Begin a sign-in with the identity provider: it leads back to the page with a code."""
    client = _client_of(runtime, organization)
    if not client.provider.redirect_uri:
        raise NotFound("The identity provider of this organization signs in by ID tokens alone.")
    begun = single_sign_on.begin(organization.org_id, client.provider)
    url = await client.authorization_url(single_sign_on.parameters_of(begun, client.provider))
    sealed = single_sign_on.seal(begun, runtime.secret_box)
    return StartedSignIn(authorization_url=url, state=begun.state, sealed=sealed)


class OidcSignedIn(BaseModel):
    """A token of the user, as of `sign-in-with-api-key`."""

    id_token: str
    expires_at: datetime


class OidcCode(BaseModel):
    """The code and the state with which the provider has led back, and what the page has kept."""

    code: Annotated[str, StringConstraints(max_length=4000, pattern=_PRINTABLE)]
    state: Annotated[str, StringConstraints(max_length=200, pattern=_PRINTABLE)]
    sealed: Annotated[str, StringConstraints(max_length=4000, pattern=_PRINTABLE)]


@router.post(
    "/signin_with_oidc_code",
    operation_id="sign-in-with-oidc-code",
    summary="Sign in with the code of the identity provider",
    dependencies=[Depends(public_limit(A_MINUTE))],
)
async def sign_in_with_oidc_code(
    request: Request, runtime: CurrentRuntime, organization: Organization, body: OidcCode
) -> OidcSignedIn:
    """Trade the code of the identity provider, once, for a token of the user."""
    client = _client_of(runtime, organization)
    try:
        begun = single_sign_on.unseal(body.sealed, body.state, organization.org_id, client.provider, runtime.secret_box)
        identity = await client.read(await client.trade(body.code, begun.verifier), begun.nonce)
        used = {hashlib.sha256(begun.nonce.encode()).hexdigest(): begun.expires_at}
        return await _admit(request, runtime, organization, client.provider, identity, used)
    except SignInRefused as refusal:
        raise _refused(organization, refusal) from refusal


class IdToken(BaseModel):
    """An ID token of the organization's identity provider."""

    id_token: Annotated[str, StringConstraints(max_length=50_000, pattern=_PRINTABLE)]


@router.post(
    "/signin_with_id_token",
    operation_id="sign-in-with-id-token",
    summary="Sign in with an ID token",
    dependencies=[Depends(public_limit(A_MINUTE))],
)
async def sign_in_with_id_token(
    request: Request, runtime: CurrentRuntime, organization: Organization, body: IdToken
) -> OidcSignedIn:
    """Trade an ID token of the identity provider, once, for a token of the user."""
    client = _client_of(runtime, organization)
    try:
        identity = await client.read(body.id_token)
        return await _admit(request, runtime, organization, client.provider, identity, {})
    except SignInRefused as refusal:
        raise _refused(organization, refusal) from refusal


def _refused(organization: OrganizationScope, refusal: SignInRefused) -> Unauthorized:
    _log.warning("an identity provider's sign-in was refused", organization=organization.org_id, reason=refusal.reason)
    return Unauthorized(REFUSED)


async def _admit(
    request: Request,
    runtime: Runtime,
    organization: OrganizationScope,
    provider: IdentityProvider,
    identity: Identity,
    used: Mapping[str, datetime],
) -> OidcSignedIn:
    """Sign a person in, and tell the audit log if they were made, or have another role now. Return their token."""
    recorder = make_recorder(request, organization.org_id)
    uses = {**used, identity.fingerprint: identity.expires_at}

    def admit(connection: Connection) -> str:
        admission = single_sign_on.admit(connection, organization.org_id, provider, identity, uses)
        if admission.is_new or admission.role_id != admission.former_role_id:
            line = _line_of(connection, recorder, provider, admission, organization.org_id)
            append_line(connection, runtime.audit_key, line)
        return admission.user_id

    token, expires_at = await runtime.tokens.issue(organization.org_id, await organization.storage.write(admit))
    return OidcSignedIn(id_token=token, expires_at=expires_at)


def _line_of(
    connection: Connection, recorder: Recorder, provider: IdentityProvider, admission: Admission, org_id: str
) -> AuditEntry:
    before = {} if admission.is_new else {"role_id": admission.former_role_id}
    after = {"role_id": admission.role_id}
    if admission.is_new:
        after = find_object(connection, org_id, "user", admission.user_id)
    change = change_of({"issuer": provider.issuer}, before, after)
    return recorder.entry(recorder.action, "user", admission.user_id, change, (org_id, admission.user_id))
