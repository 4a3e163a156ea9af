"""The operations of the HTTP API, each with an example call; the tests that walk them all read this one table.

A new operation is one row here. `contract/test_operations.py` says that the rows are those of the OpenAPI document.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx2

from support import samples
from support.samples import Json
from support.server import Server
from tertulia.auth import roles
from tertulia.tools import scaffold

Targets = Mapping[str, str]
"""The values of `{name}` in an example, parameters of paths among them; `support.targets` makes them."""

_NAME = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Operation:
    """An operation, and an example call of it in which `{name}` stands for a target.

    `least` is the least powerful caller who may make the example call, a user about what is their own. `permissions`
    begins with the one that the example call is refused for; without one, whoever is signed in may ask. A list that
    shows nothing to callers who lack it has `lists` empty instead; one that says so of each item is `item_by_item`.
    `at_rest` is the example's status if it is not that of success, for no turn is running. The contract is silent about
    the permission of an `unnamed` operation.
    """

    id: str
    method: Literal["DELETE", "GET", "POST", "PUT"]
    path: str
    success: int
    per_minute: int | None
    least: Literal["nobody", "user", "administrator", "super"]
    permissions: tuple[str, ...] = ()
    query: Json | None = None
    headers: Json | None = None
    json: Json | None = None
    form: Json | None = None
    archive: bytes | None = None
    lists: str = ""
    item_by_item: bool = False
    at_rest: int | None = None
    extension: bool = False
    unnamed: bool = False

    @property
    def parameters(self) -> list[str]:
        """The parameters of the path, in its order."""
        return _NAME.findall(self.path)

    def by(self, server: Server) -> httpx2.Client:
        """Choose the client of an administrator who may make the example call. Return it."""
        return server.as_super if self.least == "super" else server.as_admin

    def at(self, targets: Targets) -> str:
        """Fill in the path. Return it."""
        return filled(self.path, targets)

    def ask(self, client: httpx2.Client, targets: Targets, **changes: Any) -> httpx2.Response:
        """Make the example call; `changes` replace arguments of the client's `request`. Return the answer."""
        call: Json = {"params": self.query, "headers": self.headers, "json": self.json, "files": self.form}
        call = {name: filled(value, targets) for name, value in call.items() if value is not None}
        if self.archive is not None:
            call |= {"content": self.archive, "headers": {"content-type": "application/gzip"}}
        return client.request(self.method, self.at(targets), **{**call, **changes})


def _value(name: str, targets: Targets) -> str:
    match name:
        case "new":
            return samples.a_name()
        case "lower":
            return samples.a_name().lower().replace(" ", "_")
        case _:
            return targets[name]


def filled(value: Any, targets: Targets) -> Any:
    match value:
        case str():
            return _NAME.sub(lambda name: _value(name[1], targets), value)
        case Mapping():
            return {key: filled(item, targets) for key, item in value.items()}
        case tuple() | list():
            return type(value)(filled(item, targets) for item in value)
        case _:
            return value


TEXT = {"response_format": "text"}
VERSION_SET = {
    "agent_version_number": 1,
    "service_hierarchical_state_machine_version_number": 1,
    "llm_model_preferences": {},
}
INVITATION = {
    "first_name": "{new}",
    "last_name": "Guest",
    "email": "{email}",
    "role_name": roles.USER,
}
STARTERS = {
    "service_id": "{service_id}",
    "facets": ["books"],
    "min_count": 1,
    "max_count": 2,
    "generation_instructions": "Be short.",
}
MESSAGE = {"initial_message_type": (None, "user-message"), "recorded_message": ("m.txt", b"Hello.", "text/plain")}
KEY = {"x-api-key": "{api_key}", "x-api-key-id": "{demo_key_id}", "x-user-id": "{user_id}"}

ROLE = {"role_name": "{new}", "description": "X", "permission_grants": [], "frontend_view": "client"}
TEMPORARY_GRANT = {
    "user_id": "{user_id}",
    "duration": "PT1M",
    "permission_grant": {
        "permission_name": "Tool:InvokeTool",
        "conditions": {"tool_id": {"type": "Equals", "value": "none"}},
    },
    "tags": {},
    "justification": "To have a look.",
}

ORGANIZATION = {
    "org_name": "{new}",
    "user_dimensions": [],
    **dict.fromkeys(("logo", "square_logo", "favicon"), "AAAA"),
    "azure_devops_team_name": "team",
}

CREATE_GRAPH = "Organization:CreateServiceHierarchicalStateMachine"
CREATE_GRAPH_VERSION = "Organization:CreateServiceHierarchicalStateMachineVersion"
GET_GRAPH = "Organization:GetServiceHierarchicalStateMachine"
DELETE_GRAPH = "Organization:DeleteServiceHierarchicalStateMachine"
CREATE_BEHAVIOR = "DynamicBehaviorInstruction:CreateDynamicBehaviorInstruction"
UPDATE_BEHAVIOR = "DynamicBehaviorInstruction:UpdateDynamicBehaviorInstruction"
INSIGHTS = "Conversation:GetInteractionInsights"
GET_BEHAVIOR = "DynamicBehaviorInstruction:GetDynamicBehaviorInstruction"
DELETE_BEHAVIOR = "DynamicBehaviorInstruction:DeleteDynamicBehaviorInstruction"
INTERACT = ("User:UpdateUserInfo", "Conversation:InteractWithConversation")

MEMORIES = "/user/{user_id}/memory"
MEMORY = MEMORIES + "/{memory_id}"
API_KEYS = "/organization/api_key/"
RETENTION = "/organization/retention/"
AGENT = "/organization/agent"
GRAPH = "/organization/service_hierarchical_state_machine"
GRAPH_VERSIONS = GRAPH + "/{service_hierarchical_state_machine_id}"
VERSION_SETS = "/service/{service_id}/version_sets/{version_set_name}/"
TOOL = "/tool/{tool_id}"
BEHAVIORS = "/dynamic_behavior_set/"
BEHAVIOR = BEHAVIORS + "{dynamic_behavior_set_id}/"
TALK = "/conversation/{conversation_id}"
MESSAGES = TALK + "/messages/"
INTERACTION = TALK + "/interaction/{interaction_id}"


# fmt: off
OPERATIONS: tuple[Operation, ...] = (
    # --- Signing in and users ---
    Operation("sign-in-with-api-key", "POST", "/user/signin_with_api_key", 200, 5, "nobody", headers=KEY),
    Operation("sign-in-with-email", "POST", "/user/signin", 200, 5, "nobody",
              json={"email": "{email}", "redirect_link": "https://app.example/"}),
    Operation("sign-in-with-mail-token", "POST", "/user/signin_with_mail_token", 200, 20, "nobody",
              json={"token": "{mail_token}"}, extension=True),
    Operation("get-identity-provider", "GET", "/user/signin_with_oidc", 200, 60, "nobody", extension=True),
    Operation("start-oidc-sign-in", "POST", "/user/signin_with_oidc", 200, 20, "nobody", at_rest=404, extension=True),
    Operation("sign-in-with-oidc-code", "POST", "/user/signin_with_oidc_code", 200, 20, "nobody",
              json={"code": "x", "state": "x", "sealed": "x"}, at_rest=404, extension=True),
    Operation("sign-in-with-id-token", "POST", "/user/signin_with_id_token", 200, 20, "nobody",
              json={"id_token": "x"}, at_rest=404, extension=True),
    Operation("create-invited-user", "POST", "/user/", 201, 50, "administrator",
              ("User:InviteUser",), json=INVITATION),
    Operation("get-users", "GET", "/user/", 200, 60, "user", ("User:GetUserInfo",), lists="users"),
    Operation("search-users", "GET", "/user/search/", 200, 50, "user", ("User:GetUserInfo",), query={"query": ""},
              lists="users"),
    Operation("update-user-info", "POST", "/user/{requested_user_id}", 204, 50, "user",
              ("User:UpdateUserInfo",), json={"first_name": "X"}),
    Operation("modify-user-variables", "POST", "/user/{requested_user_id}/variable", 204, 50, "user",
              ("User:UpdateUserInfo",), json={"upserts": [{"name": "city", "value": "Rome", "is_secret": False}]}),
    Operation("delete-user", "DELETE", "/user/{requested_user_id}", 204, 500, "administrator", ("User:DeleteUser",)),
    Operation("export-user", "GET", "/user/{user_id}/export", 200, 5, "super", ("User:ExportUser",), extension=True),
    Operation("erase-user", "DELETE", "/user/{requested_user_id}/data", 200, 50, "administrator", ("User:DeleteUser",),
              extension=True),
    Operation("get-memories", "GET", MEMORIES, 200, 40, "user", ("Conversation:GetMessage",), lists="memories"),
    Operation("correct-memory", "POST", MEMORY, 204, 50, "user",
              ("User:UpdateUserInfo", "Conversation:GetMessage"), json={"content": "I like tea."}, extension=True),
    Operation("forget-memory", "DELETE", MEMORY, 204, 50, "user", ("User:UpdateUserInfo",), extension=True),
    Operation("forget-memories", "DELETE", MEMORIES, 204, 50, "user", ("User:UpdateUserInfo",), extension=True),
    Operation("get-user-model", "GET", "/user/{user_id}/user_model", 200, 60, "user", ("User:GetUserModel",)),

    # --- Roles ---
    Operation("create-role", "POST", "/role/", 201, 20, "administrator", ("Role:CreateRole",), json=ROLE),
    Operation("get_roles_v1__organization__role__get", "GET", "/role/", 200, 20, "administrator", ("Role:GetRole",),
              lists="roles"),
    Operation("modify-role", "POST", "/role/{role_name}", 200, 10, "administrator", ("Role:ModifyRole",),
              json={"description": "X"}),
    Operation("assign-role", "POST", "/role/{role_name}/assign", 200, 1000, "administrator",
              json={"user_id": "{user_id}"}, unnamed=True),
    Operation("create-temporary-permission-grant", "POST", "/role/temporary_permission_grant/", 201, 100, "super",
              ("Role:CreateTemporaryPermissionGrant",), json=TEMPORARY_GRANT),
    Operation("get-temporary-permission-grants", "GET", "/role/temporary_permission_grants/", 200, 100, "super",
              ("Role:GetTemporaryPermissionGrant",), lists="temporary_permission_grants"),

    # --- The organization, agents, context graphs ---
    Operation("get-organization", "GET", "/organization/", 200, None, "nobody"),
    Operation("create-organization", "PUT", "/organization/", 201, 5, "super", ("Organization:CreateOrganization",),
              headers={"x-mongo-cluster-name": "default"}, json=ORGANIZATION, at_rest=409),
    Operation("delete-organization", "DELETE", "/organization/", 204, 5, "super",
              ("Organization:DeleteOrganization",), query={"dry_run": True}),
    Operation("modify-organization", "POST", "/organization/", 204, 10, "administrator",
              ("Organization:ModifyOrganization",), json={"user_dimensions": [{"description": "X", "tags": []}]}),
    Operation("get-user-dimensions", "GET", "/organization/user_dimensions/", 200, 20, "administrator",
              ("Organization:GetOrganizationDetails",)),
    Operation("get-retention", "GET", RETENTION, 200, 20, "administrator", ("Organization:GetOrganizationDetails",),
              extension=True),
    Operation("put-retention", "PUT", RETENTION, 204, 10, "administrator", ("Organization:ModifyOrganization",),
              json={"conversations_days": 36500}, extension=True),
    Operation("create-api-key", "POST", API_KEYS, 201, 5, "super", ("Organization:CreateAPIKey",),
              json={"name": "{new}", "duration": "P1D"}),
    Operation("get-api-keys", "GET", API_KEYS, 200, 10, "super", ("Organization:GetAPIKey",), lists="api_keys"),
    Operation("delete-api-key", "DELETE", API_KEYS + "{api_key_id}/", 200, 10, "super",
              ("Organization:DeleteAPIKey",)),
    Operation("create-agent", "POST", AGENT, 201, 10, "administrator",
              ("Organization:CreateAgent",), json={"agent_name": "{new}"}),
    Operation("get-agents", "GET", AGENT, 200, 20, "administrator", ("Organization:GetAgent",), lists="agents"),
    Operation("create-agent-version", "POST", AGENT + "/{agent_id}/", 201, 10, "administrator",
              ("Organization:CreateAgentVersion",), json={"background": "X"}),
    Operation("get-agent-versions", "GET", AGENT + "/{agent_id}/version", 200, 20, "administrator",
              ("Organization:GetAgent",)),
    Operation("delete-agent", "DELETE", AGENT + "/{agent_id}/", 200, 10, "administrator",
              ("Organization:DeleteAgent",)),
    Operation("create-service-hierarchical-state-machine", "POST", GRAPH, 201, 10, "administrator",
              (CREATE_GRAPH,), json={"state_machine_name": "{new}"}),
    Operation("get-service-hierarchical-state-machines", "GET", GRAPH, 200, 20, "administrator",
              (GET_GRAPH,), lists="service_hierarchical_state_machines"),
    Operation("create-service-hierarchical-state-machine-version", "POST", GRAPH_VERSIONS + "/", 201, 10,
              "administrator", (CREATE_GRAPH_VERSION,), json=samples.short_graph()),
    Operation("get-service-hierarchical-state-machine-versions", "GET", GRAPH_VERSIONS + "/version", 200, 20,
              "administrator", (GET_GRAPH,)),
    Operation("delete-service-hierarchical-state-machine", "DELETE", GRAPH + "/{state_machine_id}/", 200, 10,
              "administrator", (DELETE_GRAPH,)),

    # --- Services ---
    Operation("create-service", "POST", "/service/", 201, 20, "administrator",
              ("Service:CreateService", "Service:CreateVersionSet"),
              json=samples.service("{agent_id}", "{state_machine_id}", name="{new}")),
    Operation("get-services", "GET", "/service/", 200, 50, "user", ("Service:GetService",), lists="services"),
    Operation("update-service", "POST", "/service/{service_id}/", 200, 20, "administrator",
              ("Service:UpdateService",), json={"name": "{new}"}),
    Operation("upsert-service-version-set", "PUT", VERSION_SETS, 204, 30, "administrator",
              ("Service:UpdateVersionSet", "Service:CreateVersionSet"), json={"version_set": VERSION_SET}),
    Operation("delete-service-version-set", "DELETE", VERSION_SETS, 204, 30, "administrator",
              ("Service:DeleteVersionSet",)),

    # --- Dynamic behaviours ---
    Operation("create-dynamic-behavior-set", "POST", BEHAVIORS, 201, 200, "administrator",
              (CREATE_BEHAVIOR, UPDATE_BEHAVIOR), json=samples.behavior(name="{new}")),
    Operation("get-dynamic-behavior-sets", "GET", BEHAVIORS, 200, 500, "administrator",
              (GET_BEHAVIOR,), lists="dynamic_behavior_sets"),
    Operation("search-dynamic-behavior-sets", "GET", BEHAVIORS + "search", 200, 50, "administrator",
              (GET_BEHAVIOR,), query={"query": "weather"}, lists="dynamic_behavior_sets"),
    Operation("update-dynamic-behavior-set", "POST", BEHAVIOR, 204, 500, "administrator",
              (UPDATE_BEHAVIOR,), json={"tags": {}}),
    Operation("delete-dynamic-behavior-instruction", "DELETE", BEHAVIOR, 200, 500, "administrator",
              (DELETE_BEHAVIOR,)),
    Operation("create-dynamic-behavior-set-version", "POST", BEHAVIOR + "version/", 201, 200, "administrator",
              (UPDATE_BEHAVIOR,), json={"conversation_triggers": ["X"], "actions": []}),
    Operation("get-dynamic-behavior-set-versions", "GET", BEHAVIOR + "version/", 200, 1000, "administrator",
              (GET_BEHAVIOR,)),
    Operation("get-dynamic-behavior-invocations", "GET", BEHAVIOR + "invocation/", 200, 50, "administrator",
              (GET_BEHAVIOR, "Conversation:GetMessage")),

    # --- Tools ---
    Operation("create-tool", "POST", "/tool/", 201, 20, "administrator", ("Tool:CreateTool",), json=samples.tool()),
    Operation("get-tools", "GET", "/tool/", 200, 50, "user", unnamed=True),
    Operation("modify-tool", "POST", TOOL, 204, 20, "administrator", ("Tool:ModifyTool",), json={"tags": {}}),
    Operation("modify-tool-envvars", "POST", TOOL + "/envvar", 204, 20, "administrator", ("Tool:ModifyTool",),
              json={"inserts": [{"name": "KEY", "value": "X", "is_secret": True}]}),
    Operation("publish-tool-version", "POST", TOOL + "/version", 201, 10, "administrator", ("Tool:ModifyTool",),
              json={"project_path": "calculator", "bump_type": "minor"}),
    Operation("publish-tool-archive", "POST", TOOL + "/version/archive", 201, 10, "administrator",
              ("Tool:ModifyTool",), query={"bump_type": "minor"}, archive=scaffold.archive(), extension=True),
    Operation("publish-http-tool", "POST", TOOL + "/version/http", 201, 10, "administrator", ("Tool:ModifyTool",),
              json={"definition": {"url": "https://api.example/now"}, "input_schema": {"type": "object"},
                    "bump_type": "minor"}, extension=True),
    Operation("publish-mcp-tool", "POST", TOOL + "/version/mcp", 201, 10, "administrator", ("Tool:ModifyTool",),
              json={"definition": {"url": "https://mcp.example/mcp", "tool": "x"}, "input_schema": {"type": "object"},
                    "bump_type": "minor"}, extension=True),
    Operation("list-openapi-tools", "POST", "/tool/offer/openapi", 200, 10, "administrator",
              ("Tool:CreateTool", "Tool:ModifyTool"),
              json={"document": {"openapi": "3.1.0", "paths": {}}}, extension=True, unnamed=True),
    Operation("list-mcp-tools", "POST", "/tool/offer/mcp", 200, 10, "administrator",
              ("Tool:CreateTool", "Tool:ModifyTool"), json={"server": {"server": "absent"}}, at_rest=400,
              extension=True, unnamed=True),
    Operation("get-tool-versions", "GET", TOOL + "/version", 200, 50, "user", unnamed=True),
    Operation("deprecate-tool-version", "DELETE", TOOL + "/version/{versions}", 204, 20, "administrator",
              ("Tool:ModifyTool",)),
    Operation("deprecate-tool", "DELETE", TOOL, 204, 20, "administrator", ("Tool:DeleteTool",)),
    Operation("test-tool", "POST", "/tool/test", 200, 1, "administrator", ("Tool:CreateTool", "Tool:ModifyTool"),
              json=samples.tool_test("calculator", {"expression": "1 + 1"}), unnamed=True),
    Operation("invoke-tool-version", "POST", TOOL + "/version/{version}/invoke", 200, 10, "administrator",
              ("Tool:InvokeTool",), json={"inputs": [samples.tool_input({"name": "Ada"})]}),
    Operation("get-tool-invocations", "GET", "/tool/invocation", 200, 50, "administrator", (INSIGHTS,),
              lists="tool_invocations"),
    Operation("search-tool-invocations", "GET", "/tool/invocation/search", 200, 50, "administrator", (INSIGHTS,),
              query={"query": "hello", "query_against": "invocation_status.output"}, lists="tool_invocations",
              unnamed=True),
    Operation("get-tool-scaffold-release", "GET", "/tool/amigo_tool_scaffold.tar.gz", 200, 50, "user", unnamed=True),

    # --- Conversations ---
    Operation("create-conversation", "POST", "/conversation/", 201, 5, "user",
              ("Conversation:CreateConversation",), query=TEXT, json={"service_id": "{service_id}"}),
    Operation("interact-with-conversation", "POST", TALK + "/interact", 200, 15, "user",
              INTERACT, query={**TEXT, "request_format": "text"}, form=MESSAGE),
    Operation("finish-conversation", "POST", TALK + "/finish/", 204, 5, "user",
              ("User:UpdateUserInfo", "Conversation:FinishConversation")),
    Operation("get-conversations", "GET", "/conversation/", 200, 15, "user",
              ("Conversation:GetConversation",), lists="conversations"),
    Operation("get-running-interactions", "GET", "/conversation/running", 200, 60, "user",
              ("Conversation:GetConversation",), item_by_item=True, extension=True),
    Operation("search-conversations", "GET", "/conversation/search", 200, 50, "user",
              ("Conversation:GetMessage",), query={"query": "hello"}, item_by_item=True, extension=True),
    Operation("get-conversation-messages", "GET", MESSAGES, 200, 20, "user",
              ("Conversation:GetMessage",), lists="messages"),
    Operation("retrieve-message-source", "GET", MESSAGES + "{message_id}/source", 200, 30, "user",
              ("Conversation:GetMessage",)),
    Operation("get-message-recording", "GET", MESSAGES + "{message_id}/recording", 200, None, "nobody",
              query={"expires": "{expires}", "signature": "{signature}"}, extension=True),
    Operation("modify-tags-of-conversation", "POST", TALK + "/tags/", 204, 50, "user",
              ("Conversation:ModifyConversation",), json={"updates": {"room": "blue"}, "deletes": []}),
    Operation("put-message-feedback", "PUT", MESSAGES + "{message_id}/feedback", 204, 50, "user",
              ("Conversation:GetMessage",), json={"rating": "up", "comment": "Good."}, extension=True),
    Operation("delete-message-feedback", "DELETE", MESSAGES + "{message_id}/feedback", 204, 50, "user",
              ("Conversation:GetMessage",), extension=True),
    Operation("get-feedback", "GET", "/conversation/feedback", 200, 50, "user", ("Conversation:GetMessage",),
              lists="feedback", extension=True),
    Operation("create-share", "POST", TALK + "/share/", 201, 20, "administrator",
              ("Conversation:ShareConversation", "Conversation:GetConversation"),
              json={"duration": "P1D"}, extension=True),
    Operation("get-shares", "GET", TALK + "/share/", 200, 50, "administrator",
              ("Conversation:ShareConversation", "Conversation:GetConversation"), extension=True),
    Operation("delete-share", "DELETE", TALK + "/share/{share_id}", 204, 50, "administrator",
              ("Conversation:ShareConversation", "Conversation:GetConversation"), extension=True),
    Operation("get-shared-conversation", "GET", "/shared/", 200, 60, "nobody",
              headers={"x-share-token": "{share_token}"}, extension=True),
    Operation("get-conversation-result", "GET", TALK + "/result", 200, 60, "user",
              ("Conversation:GetConversation", "Conversation:GetMessage"), at_rest=404, extension=True),
    Operation("get-interaction-insights", "GET", INTERACTION + "/insights", 200, 20, "administrator",
              ("Conversation:GetInteractionInsights", GET_GRAPH)),
    Operation("get-interaction-trace", "GET", INTERACTION + "/trace", 200, 20, "administrator",
              ("Conversation:GetInteractionInsights", GET_GRAPH), extension=True),
    Operation("get-conversation-traces", "GET", TALK + "/trace/", 200, 20, "administrator",
              ("Conversation:GetInteractionInsights", GET_GRAPH), extension=True),
    Operation("get-conversation-trace", "GET", TALK + "/trace/{trace_id}", 200, 20, "administrator",
              ("Conversation:GetInteractionInsights", GET_GRAPH), extension=True),
    Operation("recommend-responses-for-interaction", "POST", INTERACTION + "/recommend_responses", 200, 20, "user",
              ("Conversation:GetRecommendedResponses",), json={"context": "A reader."}),
    Operation("generate-conversation-starter", "POST", "/conversation/conversation_starter", 200, 10, "user",
              ("Conversation:CreateConversation",), json=STARTERS),
    Operation("follow-interaction", "GET", INTERACTION + "/stream", 200, 60, "user", INTERACT, extension=True),
    Operation("cancel-interaction", "POST", INTERACTION + "/cancel", 204, 15, "user",
              INTERACT, at_rest=409, extension=True),

    # --- The audit log ---
    Operation("get-audit-log", "GET", "/audit/", 200, 60, "administrator", ("Organization:GetAuditLog",),
              query={"limit": 3}, lists="audit_lines", extension=True),
    Operation("verify-audit-log", "GET", "/audit/verification", 200, 5, "administrator",
              ("Organization:GetAuditLog",), extension=True),

    # --- The operator ---
    Operation("get-models", "GET", "/admin/get_models/", 200, 20, "administrator", ("Admin:GetModels",)),
    Operation("get-voices", "GET", "/admin/voices/", 200, 20, "administrator", ("Admin:GetModels",), extension=True),
    Operation("try-provider", "POST", "/admin/provider_trial/", 200, 10, "administrator", ("Admin:GetModels",),
              json={"kind": "model"}, extension=True),
    Operation("get-prompt-logs", "GET", "/admin/get_prompt_logs/", 200, 20, "user",
              ("Conversation:GetInteractionInsights", GET_GRAPH, "Conversation:GetMessage"),
              query={"prompt_log_prefix": "{conversation_id}"}, item_by_item=True),
)
# fmt: on
"""Every operation, in the order of docs/reference/api.md."""

BY_ID = {operation.id: operation for operation in OPERATIONS}
CLOSED = tuple(operation for operation in OPERATIONS if operation.least != "nobody")
"""The operations that want credentials."""
ASKED = tuple(operation for operation in CLOSED if operation.permissions)
"""The operations that want a permission."""
