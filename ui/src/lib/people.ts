/** Roles, keys and invitations. */

import { ask, client, here, type Answer } from "./api";

export type Role = Answer<"RoleInstance">;
export type Key = Answer<"ApiKeyInstance">;

export async function listRoles(): Promise<Role[]> {
  return (await ask(client.GET("/v1/{organization}/role/", { params: { path: here(), query: { return_permission_grants: true } } }))).roles;
}

export interface RoleBody {
  description: string;
  frontend_view: Role["frontend_view"];
  permission_grants: Role["permission_grants"];
}

export async function saveRole(name: string, body: RoleBody, made: boolean): Promise<void> {
  const fields = body as RoleBody & { permission_grants: never[] };
  if (made) await ask(client.POST("/v1/{organization}/role/{role_name}", { params: { path: { ...here(), role_name: name } }, body: fields }));
  else await ask(client.POST("/v1/{organization}/role/", { params: { path: here() }, body: { role_name: name, ...fields } }));
}

export async function assignRole(name: string, user: string): Promise<void> {
  await ask(client.POST("/v1/{organization}/role/{role_name}/assign", { params: { path: { ...here(), role_name: name } }, body: { user_id: user } }));
}

export async function listKeys(): Promise<Key[]> {
  return (await ask(client.GET("/v1/{organization}/organization/api_key/", { params: { path: here() } }))).api_keys;
}

export function createKey(name: string, days: number, role: string): Promise<Answer<"CreatedApiKey">> {
  return ask(client.POST("/v1/{organization}/organization/api_key/", { params: { path: here() }, body: { name: name || null, duration: `P${days}D`, role_name: role } }));
}

export async function deleteKey(id: string): Promise<void> {
  await ask(client.DELETE("/v1/{organization}/organization/api_key/{api_key_id}/", { params: { path: { ...here(), api_key_id: id } } }));
}

export async function invite(first: string, last: string, email: string, role: string): Promise<string> {
  return (await ask(client.POST("/v1/{organization}/user/", { params: { path: here() }, body: { first_name: first, last_name: last, email, role_name: role } }))).user_id;
}
