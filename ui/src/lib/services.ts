/** Services, agents and users by name, each list read once for a page. */

import { all, ask, client, here, type Service, type User } from "./api";

export function listServices(active: boolean | null = null): Promise<Service[]> {
  return all(
    (token) => ask(client.GET("/v1/{organization}/service/", { params: { path: here(), query: { continuation_token: token, ...(active === null ? {} : { is_active: active }) } } })),
    (page) => page.services,
  );
}

/** The names of users, for the ids that a page shows. */
export async function namesOf(ids: string[]): Promise<Map<string, string>> {
  const wanted = [...new Set(ids)].slice(0, 100);
  if (!wanted.length) return new Map();
  const page = await ask(client.GET("/v1/{organization}/user/", { params: { path: here(), query: { user_id: wanted } } })).catch(() => null);
  return new Map((page?.users ?? []).map((user) => [user.user_id, fullName(user)]));
}

export function fullName(user: User): string {
  return `${user.first_name} ${user.last_name}`.trim();
}

/** The version of a service's graph that a version set means; null is the latest. */
export function graphOf(service: Service, set: string): [string, number | null] {
  const sets = service.version_sets as Record<string, { service_hierarchical_state_machine_version_number: number | null }>;
  return [service.service_hierarchical_state_machine_id, sets[set]?.service_hierarchical_state_machine_version_number ?? null];
}

interface SetBody {
  agent_version_number: number | null;
  service_hierarchical_state_machine_version_number: number | null;
  llm_model_preferences: Record<string, { llm_name: string; params?: Record<string, unknown> }>;
}

export function setsOf(service: Service): Record<string, SetBody> {
  return service.version_sets as Record<string, SetBody>;
}

/** Move a version set to other versions; what is not given stays. */
export async function releaseVersions(service: Service, name: string, to: { agent?: number | null; graph?: number | null }): Promise<void> {
  const fresh = (await ask(client.GET("/v1/{organization}/service/", { params: { path: here(), query: { id: [service.id] } } }))).services[0] ?? service;
  const now = setsOf(fresh)[name] ?? { agent_version_number: null, service_hierarchical_state_machine_version_number: null, llm_model_preferences: {} };
  const body = {
    ...now,
    ...(to.agent === undefined ? {} : { agent_version_number: to.agent }),
    ...(to.graph === undefined ? {} : { service_hierarchical_state_machine_version_number: to.graph }),
  };
  await ask(client.PUT("/v1/{organization}/service/{service_id}/version_sets/{version_set_name}/", { params: { path: { ...here(), service_id: service.id, version_set_name: name } }, body: { version_set: body } }));
}
