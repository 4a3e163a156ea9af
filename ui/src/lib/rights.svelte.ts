/** What the caller may do, as far as a page has to know before it asks: nothing is offered that would be refused. */

import { ApiError, ask, client, here } from "./api";
import { session } from "./session.svelte";

class Rights {
  manages = $state(false);
  #asked = "";

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
}

export const rights = new Rights();
