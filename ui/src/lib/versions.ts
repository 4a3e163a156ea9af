/** Agents and context graphs as things with versions: the same acts for both. */

import { all, ask, askWarned, client, here, type Answer } from "./api";

export interface Thing {
  id: string;
  name: string;
  latest: number | null;
  deprecated: boolean;
}

export interface Version {
  number: number;
  at: string;
  by: string;
  body: Record<string, unknown>;
}

export interface Saved {
  version: number | null;
  warnings: string[];
}

export interface Kind {
  noun: string;
  plural: string;
  path: string;
  list: () => Promise<Thing[]>;
  create: (name: string) => Promise<string>;
  versions: (id: string) => Promise<Version[]>;
  /** Save a version; `number` is the lock: if somebody has saved it meanwhile, it is a 409. */
  save: (id: string, body: object, number: number) => Promise<Saved>;
  check: ((id: string, body: object) => Promise<Saved>) | null;
  template: (name: string) => object;
}

const NOT_OF_THE_BODY = new Set(["org_id", "agent_id", "service_hierarchical_state_machine_id", "version", "created_at", "creator"]);

function version(row: { version: number; created_at: string; creator: { user_id: string } }): Version {
  const body = Object.fromEntries(Object.entries(row).filter(([name]) => !NOT_OF_THE_BODY.has(name)));
  return { number: row.version, at: row.created_at, by: row.creator.user_id, body };
}

const thing = (row: { id: string; name: string; latest_version: number | null; deprecated: boolean }): Thing => ({ id: row.id, name: row.name, latest: row.latest_version, deprecated: row.deprecated });

export const AGENTS: Kind = {
  noun: "agent",
  plural: "agents",
  path: "/agents",
  list: async () => (await all((token) => ask(client.GET("/v1/{organization}/organization/agent", { params: { path: here(), query: { continuation_token: token } } })), (page) => page.agents)).map(thing),
  create: async (name) => (await ask(client.POST("/v1/{organization}/organization/agent", { params: { path: here() }, body: { agent_name: name } }))).id,
  versions: async (id) =>
    (await all((token) => ask(client.GET("/v1/{organization}/organization/agent/{agent_id}/version", { params: { path: { ...here(), agent_id: id }, query: { continuation_token: token, sort_by: ["-version"] } } })), (page) => page.agent_versions, 5)).map(version),
  save: async (id, body, number) => {
    const { data, warnings } = await askWarned(client.POST("/v1/{organization}/organization/agent/{agent_id}/", { params: { path: { ...here(), agent_id: id }, query: { version: number } }, body }));
    return { version: data.version, warnings };
  },
  check: null,
  template: (name) => ({
    initials: name.slice(0, 2).toUpperCase(),
    identity: {
      name,
      role: "assistant",
      developed_by: here().organization,
      default_spoken_language: "eng",
      relationship_to_developer: { ownership: here().organization, type: "assistant", conversation_visibility: "yes", thought_visibility: "no" },
    },
    background: `${name} is a computer program. Facts that it should know stand here.`,
    behaviors: ["Say so when you do not know something."],
    communication_patterns: ["Answer in one to three short sentences."],
    voice_config: null,
  }),
};

export const GRAPHS: Kind = {
  noun: "graph",
  plural: "graphs",
  path: "/graphs",
  list: async () => (await all((token) => ask(client.GET("/v1/{organization}/organization/service_hierarchical_state_machine", { params: { path: here(), query: { continuation_token: token } } })), (page) => page.service_hierarchical_state_machines)).map(thing),
  create: async (name) => (await ask(client.POST("/v1/{organization}/organization/service_hierarchical_state_machine", { params: { path: here() }, body: { state_machine_name: name } }))).id,
  versions: async (id) =>
    (
      await all(
        (token) =>
          ask(
            client.GET("/v1/{organization}/organization/service_hierarchical_state_machine/{service_hierarchical_state_machine_id}/version", {
              params: { path: { ...here(), service_hierarchical_state_machine_id: id }, query: { continuation_token: token, sort_by: ["-version"] } },
            }),
          ),
        (page) => page.state_machine_versions,
        5,
      )
    ).map(version),
  save: (id, body, number) => saveGraph(id, body, { version: number }),
  check: (id, body) => saveGraph(id, body, { dry_run: true }),
  template: () => graphOf("Help the person with what they need.", "Ask what the person needs, or answer.", "The person says goodbye, or needs nothing more."),
};

async function saveGraph(id: string, body: object, query: { version?: number; dry_run?: boolean }): Promise<Saved> {
  const { data, warnings } = await askWarned(
    client.POST("/v1/{organization}/organization/service_hierarchical_state_machine/{service_hierarchical_state_machine_id}/", {
      params: { path: { ...here(), service_hierarchical_state_machine_id: id }, query },
      body: body as Answer<"ContextGraph"> as never,
    }),
  );
  return { version: data?.version ?? null, warnings };
}

/** A graph of two states: one that does the work, and one that says goodbye. */
export function graphOf(objective: string, action: string, exit: string): object {
  const state = (name: string, its: string, does: string, exits: object[]) => ({
    type: "action",
    name,
    objective: its,
    actions: [does],
    intra_state_navigation_guidelines: [],
    action_guidelines: [],
    boundary_constraints: [],
    exit_conditions: exits,
    action_tool_call_specs: [],
    exit_condition_tool_call_specs: [],
    skip_active_memory_retrieval: false,
  });
  return {
    description: objective,
    states: [state("help", objective, action, [{ description: exit, next_state: "farewell" }]), state("farewell", "Part as friends.", "Say goodbye in one warm sentence.", [])],
    new_user_initial_state: "help",
    returning_user_initial_state: "help",
    terminal_state: "farewell",
    references: {},
    global_intra_state_navigation_guidelines: [],
    global_action_guidelines: ["Answer in the language that the person writes."],
    global_boundary_constraints: [],
  };
}
