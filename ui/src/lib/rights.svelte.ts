/** What the caller may do, as far as a page has to know before it asks: nothing is offered that would be refused. */

import { ApiError, ask, client, here } from "./api";
import { session } from "./session.svelte";

class Rights {
  manages = $state(false);
  #permissions = $state.raw<ReadonlySet<string> | null>(null); // null: not known, or the caller may not see their own role
  #asked = "";
  #learned = "";

  /** Ask, once a token, for something that only administrators may see. */
  async find(): Promise<void> {
    const token = session.token;
    if (token === null || token === this.#asked) return;
    this.#asked = token;
    try {
      await ask(client.GET("/v1/{organization}/admin/get_models/", { params: { path: here() } }));
      this.manages = true;
    } catch (error) {
      this.manages = !(error instanceof ApiError && error.status === 403);
    }
  }

  /** Read, once a token, the permissions of the caller's own role, under whatever conditions. */
  async learn(): Promise<void> {
    const { token, claims } = session;
    if (token === null || claims === null || token === this.#learned) return;
    this.#learned = token;
    this.#permissions = null;
    const path = here();
    try {
      const { users } = await ask(client.GET("/v1/{organization}/user/", { params: { path, query: { user_id: [claims.user] } } }));
      if (!users[0]) return;
      const { roles } = await ask(client.GET("/v1/{organization}/role/", { params: { path, query: { id: [users[0].role], return_permission_grants: true } } }));
      if (token === session.token && roles.length) this.#permissions = new Set(roles.flatMap((role) => role.permission_grants.map((grant) => grant.permission_name)));
    } catch {
      this.#learned = ""; // the next page asks again
    }
  }

  get permissions(): string[] {
    return [...(this.#permissions ?? [])].sort();
  }

  may(permission: string): boolean {
    return this.#permissions?.has(permission) ?? false;
  }

  /** Lists leave out what the caller may not see: an empty one says nothing if they may see none of it. */
  mayNot(permission: string): boolean {
    return this.#permissions !== null && !this.#permissions.has(permission);
  }
}

export const rights = new Rights();
