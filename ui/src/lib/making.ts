/** A service made in one go: an agent, a graph of two states, and the service of both. */

import { ask, client, here } from "./api";
import { AGENTS, GRAPHS, graphOf } from "./versions";

export interface Wish {
  name: string;
  speaker: string;
  role: string;
  facts: string;
  objective: string;
  exit: string;
}

export async function makeService(wish: Wish): Promise<string> {
  const template = AGENTS.template(wish.speaker.trim()) as { identity: object };
  const agent = await AGENTS.create(wish.name);
  await AGENTS.save(agent, { ...template, identity: { ...template.identity, role: wish.role.trim() }, background: wish.facts.trim() }, 1);
  const graph = await GRAPHS.create(wish.name);
  await GRAPHS.save(graph, graphOf(wish.objective.trim(), `Ask or answer, so as to: ${wish.objective.trim()}`, wish.exit.trim()), 1);
  const made = await ask(
    client.POST("/v1/{organization}/service/", {
      params: { path: here() },
      body: { name: wish.name.trim(), description: wish.objective.trim(), agent_id: agent, service_hierarchical_state_machine_id: graph, is_active: true, keyterms: [], tags: {}, release_version_set: { agent_version_number: 1, service_hierarchical_state_machine_version_number: 1, llm_model_preferences: {} } },
    }),
  );
  return made.id;
}
