"""Users: sign in, invite, list, update, delete, and show the knowledge of agents."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from pydantic import AfterValidator, BaseModel, EmailStr, Field, HttpUrl, StringConstraints, TypeAdapter
from sqlalchemy.engine import Connection

from tertulia.api.http.client_address import limited_address
from tertulia.api.http.deps import CurrentActor, CurrentCaller, CurrentRuntime, Organization, make_recorder
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import attempt, count, rate_limit, sign_in_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import Keyterms, Language, NewPreferences, Preferences, Text256, Texts, Timezone
from tertulia.api.http.warnings import warn
from tertulia.api.user_rules import refuse_higher_rank
from tertulia.auth.actor import Actor, confirm_actor
from tertulia.auth.api_keys import check_sign_in
from tertulia.auth.mail_sign_in import use_token
from tertulia.auth.permissions import Permission
from tertulia.auth.secrets import SecretBox
from tertulia.background import mails
from tertulia.background.jobs import Work, renewed
from tertulia.background.mails import ask_for_sign_in
from tertulia.errors import Forbidden, TertuliaError, Unprocessable
from tertulia.storage import memory as memories
from tertulia.storage import organization as organizations
from tertulia.storage import role as roles
from tertulia.storage import user as users
from tertulia.storage.audit import append_line
from tertulia.storage.database.paging import Sort, Window
from tertulia.storage.job import Job, StaleJob
from tertulia.storage.memory import UserModel as StoredModel
from tertulia.storage.user import NewUser, User, UserChanges, UserFilter, VariableChanges

router = contract_router("/user", "User")


def _link(link: str) -> str:
    if " " in link or not link.isprintable():  # else it would bring a text of the caller's into a mail
        raise ValueError("A link has no spaces and no characters that do not show.")
    _LINKS.validate_python(link)
    return link  # as it was sent: an `HttpUrl` would come back with a slash more


_LINKS = TypeAdapter(HttpUrl)


def _plain(email: str) -> str:
    if "=?" in email:  # a mail's header would have it decoded, and be another address's
        raise ValueError("An address has no encoded words.")
    return email


Email = Annotated[EmailStr, AfterValidator(_plain)]


# --- Sign in ---------------------------------------------------------------------------------------------------------


class SignedIn(BaseModel):
    id_token: str
    expires_at: datetime


@router.post(
    "/signin_with_api_key",
    operation_id="sign-in-with-api-key",
    summary="Sign in with API key",
    response_model=SignedIn,
    dependencies=[Depends(sign_in_limit(5))],
)
async def sign_in_with_api_key(
    request: Request,
    runtime: CurrentRuntime,
    organization: Organization,
    x_api_key: Annotated[str, Header()],
    x_api_key_id: Annotated[str, Header()],
    x_user_id: Annotated[str, Header()],
) -> Response:
    """Trade an API key for a token of a user whose role is of lower rank than the key's."""
    org_id = organization.org_id
    signing_in = organization.database.read(
        check_sign_in, runtime.actors.ranks, org_id, x_api_key_id, x_api_key, x_user_id
    )
    key = await attempt(request, org_id, signing_in)
    entry = make_recorder(request, org_id).entry("sign-in-with-api-key", "user", x_user_id, "{}", (org_id, x_user_id))
    line = replace(entry, api_key_id=key.key_id)
    await organization.database.write(append_line, runtime.audit_key, line)
    token, expires_at = await runtime.tokens.issue(org_id, x_user_id, key)
    signed_in = SignedIn(id_token=token, expires_at=expires_at)
    return Response(signed_in.model_dump_json(), media_type="application/json")


class MailSignIn(BaseModel):
    """An address, and the page that the mail leads to."""

    redirect_link: Annotated[str, StringConstraints(min_length=1, max_length=2083), AfterValidator(_link)]
    email: Email


MAILS_A_MINUTE = 5
"""Links to sign in that one address can be mailed in a minute."""

REQUESTS_A_MINUTE = 20
"""Requests of one client that lead to a mail, or use the token of one, in a minute."""


@router.post("/signin", operation_id="sign-in-with-email", summary="Sign in with email")
async def sign_in_with_email(request: Request, organization: Organization, body: MailSignIn) -> None:
    """Mail a link that signs a user in. The answer is the same if the address is nobody's."""
    org_id, email = organization.org_id, body.email.lower()
    await count(request, "sign-in-with-email:client", REQUESTS_A_MINUTE, org_id, limited_address(request))
    await count(request, "sign-in-with-email", MAILS_A_MINUTE, org_id, email[:400])
    await organization.database.write(ask_for_sign_in, org_id, email, body.redirect_link)


class MailToken(BaseModel):
    token: Annotated[str, StringConstraints(min_length=1, max_length=100)]


@router.post(
    "/signin_with_mail_token", operation_id="sign-in-with-mail-token", summary="Sign in with the token of a mail"
)
async def sign_in_with_mail_token(
    request: Request, runtime: CurrentRuntime, organization: Organization, body: MailToken
) -> SignedIn:
    """Trade the token of a mail, once, for a token of the user to whom the mail was sent."""
    address = limited_address(request)
    await count(request, "sign-in-with-mail-token", REQUESTS_A_MINUTE, organization.org_id, address)
    user_id = await organization.database.write(use_token, organization.org_id, body.token)
    token, expires_at = await runtime.tokens.issue(organization.org_id, user_id)
    return SignedIn(id_token=token, expires_at=expires_at)


# --- Create ----------------------------------------------------------------------------------------------------------


def _not_built_in(name: str) -> str:
    if name == "user_id":
        raise ValueError("The variable user_id is built in.")
    return name


VariableName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256, pattern=r"^[a-z_][a-z0-9_]+$")
]
VariableValue = Annotated[str, StringConstraints(max_length=10_000)]
OwnVariableName = Annotated[VariableName, AfterValidator(_not_built_in)]


class Invitation(BaseModel):
    first_name: Text256
    last_name: Text256
    email: Email
    role_name: str
    login_link: Annotated[str, StringConstraints(min_length=1, max_length=2083), AfterValidator(_link)] | None = None
    nonsensitive_user_variables: Annotated[dict[OwnVariableName, VariableValue], Field(max_length=19)] = {}
    sensitive_user_variables: Annotated[dict[VariableName, VariableValue], Field(max_length=20)] = {}
    user_preferences: NewPreferences | None = None


class Invited(BaseModel):
    """`verify_link` is the login link that was mailed, if one was given."""

    user_id: str
    verify_link: str | None


@router.post(
    "/",
    operation_id="create-invited-user",
    summary="Create a new user",
    status_code=201,
    dependencies=[Depends(rate_limit(50))],
)
async def create_invited_user(caller: CurrentCaller, body: Invitation) -> Invited:
    encrypt = caller.runtime.secret_box.encrypt
    secrets = {name: encrypt(value) for name, value in body.sensitive_user_variables.items()}
    user_id = await caller.act_now(lambda actor: caller.database.write(_invite, actor, body, secrets))
    return Invited(user_id=user_id, verify_link=body.login_link)


def _invite(connection: Connection, actor: Actor, body: Invitation, secrets: dict[str, str]) -> str:
    role = roles.hold_role(connection, actor.org_id, body.role_name)
    confirm_actor(connection, actor)
    user = NewUser(
        role_id=role.id,
        first_name=body.first_name,
        last_name=body.last_name,
        email=body.email,
        preferences=_first_preferences(connection, actor.org_id, body),
        nonsensitive_variables=body.nonsensitive_user_variables,
        sensitive_variables=secrets,
    )
    actor.require(Permission.USER_INVITE_USER, user.attributes_in(role))
    actor.require_rank_over(role.permission_grants, "You can give a user only a role of lower rank than your own.")
    user_id = users.insert_user(connection, actor.org_id, user)
    if body.login_link is not None:
        name = organizations.get_organization(connection, actor.org_id).name
        invited = {"email": body.email, "name": body.first_name, "organization": name, "link": body.login_link}
        mails.invite(connection, actor.org_id, invited)
    return user_id


def _first_preferences(connection: Connection, org_id: str, body: Invitation) -> Mapping[str, Any]:
    if body.user_preferences is not None:
        return body.user_preferences.model_dump()
    return organizations.get_organization(connection, org_id).default_user_preferences


# --- List ------------------------------------------------------------------------------------------------------------


class UserStats(BaseModel):
    num_conversations: int
    num_messages: int
    last_message_time: datetime | None


class FoundUser(BaseModel):
    """A user as a search shows them. `role` is an id; of sensitive variables only the names are told."""

    org_id: str
    user_id: str
    first_name: str
    last_name: str
    email: str
    user_stats: UserStats
    role: str
    preferences: Preferences
    nonsensitive_variables: dict[str, str]
    sensitive_variables: list[str]


class UserInstance(FoundUser):
    """A user as lists show them."""

    enable_actions_access: bool


class UserPage(PageModel):
    users: list[UserInstance]


@router.get("/", operation_id="get-users", summary="Get users", dependencies=[Depends(rate_limit(60))])
async def get_users(
    organization: Organization,
    actor: CurrentActor,
    part: Annotated[Window, Depends(window(default=100, most=100, least=0))],
    sort_by: Annotated[Sort, Depends(sorting(*users.SORTABLE))],
    user_id: Annotated[set[str], Query()] = set(),
    email: Annotated[set[EmailStr], Query()] = set(),
) -> UserPage:
    visible = actor.visible(Permission.USER_GET_USER_INFO, users.COLUMNS)
    narrow = UserFilter(list(user_id), list(email))
    page = await organization.database.read(users.list_users, organization.org_id, visible, narrow, sort_by, part)
    return UserPage.of(page, users=[_user(user) for user in page.items])


def _user(user: User) -> UserInstance:
    return UserInstance(**dict(_found(user)), enable_actions_access=False)


def _found(user: User) -> FoundUser:
    return FoundUser(
        org_id=user.org_id,
        user_id=user.id,
        first_name=user.first_name,
        last_name=user.last_name,
        email=user.email,
        user_stats=UserStats(
            num_conversations=user.num_conversations,
            num_messages=user.num_messages,
            last_message_time=user.last_message_time,
        ),
        role=user.role_id,
        preferences=Preferences(**user.preferences),
        nonsensitive_variables=dict(user.nonsensitive_variables),
        sensitive_variables=list(user.sensitive_variables),
    )


# --- Search ---------------------------------------------------------------------------------------------------------


class FoundUsers(BaseModel):
    users: list[FoundUser]


@router.get("/search/", operation_id="search-users", summary="Search users", dependencies=[Depends(rate_limit(50))])
async def search_users(
    request: Request,
    organization: Organization,
    actor: CurrentActor,
    query: Annotated[str, Query(max_length=256)],
    user_id: Annotated[set[str], Query()] = set(),
) -> FoundUsers:
    """Find users whose names or email contain a text, whatever its case."""
    visible = actor.visible(Permission.USER_GET_USER_INFO, users.COLUMNS_OF_THE_FEW)
    own = [actor.user_id] if actor.sees_own_only(Permission.USER_GET_USER_INFO, "user_id") else None
    ids = sorted(user_id) if user_id else own
    found = await organization.database.read(users.search_users, organization.org_id, visible, query, ids)
    if len(found) > users.MOST_FOUND:
        warn(request, f"More than {users.MOST_FOUND} users match: these are some of them.")
    return FoundUsers(users=[_found(user) for user in found[: users.MOST_FOUND]])


# --- Update ----------------------------------------------------------------------------------------------------------


class NotSet(BaseModel):
    """The value `{}`, which leaves a field as it is."""


class UserUpdate(BaseModel):
    """Changes of a user. Null changes nothing, but erases the language or the time zone."""

    first_name: Text256 | None = None
    last_name: Text256 | None = None
    enable_response_recommendation: bool | None = None
    preferred_language: Language | NotSet | None = NotSet()
    timezone: Timezone | NotSet | None = NotSet()
    conversations_visible_to_admins: bool | None = None
    user_model_visible_to_admins: bool | None = None
    additional_context: Texts | None = None
    audio_keyterms: Keyterms | None = None

    def changes(self) -> UserChanges:
        """Collect the fields to be stored anew. Return them as columns and preferences."""
        given = {name: value for name, value in self if value is not None and not isinstance(value, NotSet)}
        columns = {name: given.pop(name) for name in ("first_name", "last_name", "additional_context") if name in given}
        erased = {name: None for name in ("preferred_language", "timezone") if getattr(self, name) is None}
        return UserChanges(columns, given | erased)


@router.post(
    "/{requested_user_id}",
    operation_id="update-user-info",
    summary="Update user info",
    status_code=204,
    dependencies=[Depends(rate_limit(50))],
)
async def update_user_info(
    organization: Organization, actor: CurrentActor, requested_user_id: str, body: UserUpdate
) -> None:
    await organization.database.write(_update, actor, requested_user_id, body.changes())


def _update(connection: Connection, actor: Actor, user_id: str, changes: UserChanges) -> None:
    user = users.lock_user(connection, actor.org_id, user_id)
    actor.require(Permission.USER_UPDATE_USER_INFO, user.attributes)
    refuse_higher_rank(connection, actor, user)
    _refuse_widening(actor, user, changes)
    users.update_user(connection, user, changes)


def _refuse_widening(actor: Actor, user: User, changes: UserChanges) -> None:
    """Let nobody but the user show administrators what the user has hidden from them."""
    if actor.user_id == user.id:
        return
    for name in ("conversations_visible_to_admins", "user_model_visible_to_admins"):
        if changes.preferences.get(name) and not user.preferences[name]:
            raise Forbidden(f"{name}: only the user can set this to true again.")


# --- Variables -------------------------------------------------------------------------------------------------------


class VariableUpsert(BaseModel):
    name: OwnVariableName
    value: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    is_secret: bool


class VariableDelete(BaseModel):
    name: VariableName


class VariableRequest(BaseModel):
    upserts: Annotated[list[VariableUpsert], Field(max_length=100)] = []
    deletes: Annotated[list[VariableDelete], Field(max_length=100)] = []

    def to_changes(self, secret_box: SecretBox) -> VariableChanges:
        """Encrypt what is secret. Return the changes.

        Raises:
            Unprocessable: a variable stands in two of them.
        """
        seen: set[str] = set()
        for field, changes in (("upserts", self.upserts), ("deletes", self.deletes)):
            for index, change in enumerate(changes):
                if change.name in seen:
                    text = f"The variable {change.name} stands here twice: change it once in a request."
                    raise Unprocessable(text, ("body", field, index, "name"))
                seen.add(change.name)
        return VariableChanges(
            {each.name: each.value for each in self.upserts if not each.is_secret},
            {each.name: secret_box.encrypt(each.value) for each in self.upserts if each.is_secret},
            [each.name for each in self.deletes],
        )


@router.post(
    "/{requested_user_id}/variable",
    operation_id="modify-user-variables",
    summary="Modify the variables of a user",
    status_code=204,
    dependencies=[Depends(rate_limit(50))],
)
async def modify_user_variables(
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    requested_user_id: str,
    body: VariableRequest,
) -> None:
    """Set and delete variables of a user: all, or none if one cannot be. Calls of tools that come later see them."""
    changes = body.to_changes(runtime.secret_box)
    await organization.database.write(_change_variables, actor, requested_user_id, changes)


def _change_variables(connection: Connection, actor: Actor, user_id: str, changes: VariableChanges) -> None:
    user = users.lock_user(connection, actor.org_id, user_id)
    actor.require(Permission.USER_UPDATE_USER_INFO, user.attributes)
    refuse_higher_rank(connection, actor, user)
    users.change_variables(connection, user, changes)


# --- Delete ----------------------------------------------------------------------------------------------------------


@router.delete(
    "/{requested_user_id}",
    operation_id="delete-user",
    summary="Delete an user",
    status_code=204,
    dependencies=[Depends(rate_limit(500))],
)
async def delete_user(
    runtime: CurrentRuntime, organization: Organization, actor: CurrentActor, requested_user_id: str
) -> None:
    """Delete a user with all their conversations."""
    work = Work(organization.storage, await organization.database.write(_delete, actor, requested_user_id))
    with suppress(TertuliaError, StaleJob):  # the user is gone; what fails here is done again as the job
        async with renewed(work):
            await runtime.eraser.erase(work)


def _delete(connection: Connection, actor: Actor, user_id: str) -> Job:
    user = users.lock_user(connection, actor.org_id, user_id)
    actor.require(Permission.USER_DELETE_USER, user.attributes)
    refuse_higher_rank(connection, actor, user)
    return users.delete_user(connection, user)


# --- User model ------------------------------------------------------------------------------------------------------


class UserDimension(BaseModel):
    description: str
    tags: list[str]


class UserModel(BaseModel):
    content: str
    insight_ids: list[str]
    dimensions: list[UserDimension]


class UserModels(BaseModel):
    user_models: list[UserModel]
    additional_context: list[str]


@router.get(
    "/{user_id}/user_model",
    operation_id="get-user-model",
    summary="Get user model",
    dependencies=[Depends(rate_limit(60))],
)
async def get_user_model(organization: Organization, actor: CurrentActor, user_id: str) -> UserModels:
    """Show the knowledge that agents have of a user. Return the models, and the context that others have added."""
    user, models = await organization.database.read(_get_models, actor, user_id)
    return UserModels(
        user_models=[
            UserModel(
                content=model.content,
                insight_ids=list(model.insight_ids),
                dimensions=[UserDimension.model_validate(dimension) for dimension in model.dimensions],
            )
            for model in models
        ],
        additional_context=list(user.additional_context),
    )


def _get_models(connection: Connection, actor: Actor, user_id: str) -> tuple[User, Sequence[StoredModel]]:
    user = users.get_user(connection, actor.org_id, user_id)
    actor.require(Permission.USER_GET_USER_MODEL, user.attributes)
    return user, memories.list_user_models(connection, user.id)
