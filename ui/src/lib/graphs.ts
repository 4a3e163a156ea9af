/** Context graphs: fetched once a version, and laid out. */

import { all, ask, client, here, type Graph } from "./api";

export type State = Graph["states"][number];

export interface Node {
  name: string;
  kind: State["type"] | "elsewhere" | "missing";
  x: number;
  y: number;
  width: number;
  height: number;
  start: boolean;
  terminal: boolean;
}

export interface Edge {
  from: string;
  to: string;
  condition: string;
  path: string;
}

export interface Drawing {
  nodes: Node[];
  edges: Edge[];
  width: number;
  height: number;
}

export interface Exit {
  to: string;
  condition: string;
}

/** An action's or an exit's text without the words that small models go by: what people say, and how a reply is worded. */
export function described(text: string): string {
  return text
    .replace(/\s*People say:\s*["\u201c][\s\S]*$/, "")
    .replace(/\s*(Begin with|In words like these):\s*(["\u201c][^"\u201d\n]+["\u201d](,\s*)?)+\.?/, "")
    .trim();
}

/** Where a state leads. A pair names a state of another graph. */
export function exits(state: State): Exit[] {
  if ("exit_conditions" in state) return state.exit_conditions.map((exit) => ({ to: name(exit.next_state), condition: described(exit.description) }));
  return [{ to: name(state.next_state), condition: "" }];
}

export interface StateTool {
  id: string;
  versions: string;
  confirmed: boolean; // the user is asked first
  when: string;
}

/** The tools that may be called in a state, and when. */
export function toolsOf(state: State): StateTool[] {
  type Use = { tool_id: string; version_constraint: string; needs_confirmation?: boolean };
  const of = (uses: Use[] | undefined, when: string): StateTool[] => (uses ?? []).map((use) => ({ id: use.tool_id, versions: use.version_constraint, confirmed: use.needs_confirmation ?? false, when }));
  if (state.type === "action") return [...of(state.exit_condition_tool_call_specs, "before the next step is chosen"), ...of(state.action_tool_call_specs, "before the message")];
  const first = state.type === "tool-call" ? of([state.designated_tool], "always") : [];
  return "tool_call_specs" in state ? [...first, ...of(state.tool_call_specs, "before the answer")] : first;
}

function name(target: string | readonly unknown[]): string {
  if (typeof target === "string") return target;
  const graph = String(target[0] ?? "");
  return graph.includes(".") ? graph : target.map(String).join(" · ");
}

const versions = new Map<string, Promise<Graph>>();

/** A version of a graph; versions never change, so each is fetched once. Null asks for the latest. */
export function getGraph(id: string, version: number | null): Promise<Graph> {
  const key = `${here().organization} ${id} ${version}`;
  const known = version === null ? undefined : versions.get(key);
  if (known) return known;
  const asked = ask(
    client.GET("/v1/{organization}/organization/service_hierarchical_state_machine/{service_hierarchical_state_machine_id}/version", {
      params: {
        path: { ...here(), service_hierarchical_state_machine_id: id },
        query: { version: version === null ? "latest" : String(version) },
      },
    }),
  ).then((page) => {
    const found = page.state_machine_versions[0];
    if (!found) throw new Error("This graph has no version yet.");
    return found;
  });
  if (version !== null) {
    versions.set(key, asked);
    asked.catch(() => versions.delete(key));
  }
  return asked;
}

export function listGraphs(): Promise<{ id: string; name: string; latest_version: number | null; deprecated: boolean }[]> {
  return all(
    (token) => ask(client.GET("/v1/{organization}/organization/service_hierarchical_state_machine", { params: { path: here(), query: { continuation_token: token } } })),
    (page) => page.service_hierarchical_state_machines,
  );
}

export const KINDS: Record<Node["kind"], string> = {
  action: "action",
  decision: "decision",
  annotation: "annotation",
  recall: "recall",
  reflection: "reflection",
  "tool-call": "tool call",
  elsewhere: "another graph",
  missing: "no such state",
};

const CHARACTER = 7.4;

/** Lay a graph out from top to bottom, with the library that is fetched for it. */
export async function draw(graph: Pick<Graph, "states" | "new_user_initial_state" | "returning_user_initial_state" | "terminal_state">): Promise<Drawing> {
  const { default: dagre } = await import("@dagrejs/dagre");
  const layout = new dagre.graphlib.Graph({ multigraph: true });
  layout.setGraph({ rankdir: "TB", nodesep: 36, ranksep: 52, edgesep: 18, marginx: 20, marginy: 24 });
  layout.setDefaultEdgeLabel(() => ({}));
  const states = new Map(graph.states.map((state) => [state.name, state]));
  const add = (id: string, kind: Node["kind"]) => layout.setNode(id, { id, kind, width: Math.max(112, Math.min(id.length * CHARACTER + 34, 260)), height: 48 });
  for (const state of graph.states) add(state.name, state.type);
  const conditions = new Map<string, string>();
  for (const state of graph.states) {
    exits(state).forEach((exit, n) => {
      if (!states.has(exit.to) && !layout.hasNode(exit.to)) add(exit.to, /[.·]/.test(exit.to) ? "elsewhere" : "missing");
      layout.setEdge(state.name, exit.to, {}, String(n));
      conditions.set(`${state.name}\n${exit.to}\n${n}`, exit.condition);
    });
  }
  dagre.layout(layout);
  const starts = new Set([graph.new_user_initial_state, graph.returning_user_initial_state]);
  const nodes = layout.nodes().map((id: string): Node => {
    const at = layout.node(id) as { x: number; y: number; width: number; height: number; kind: Node["kind"] };
    return { name: id, kind: at.kind, x: at.x, y: at.y, width: at.width, height: at.height, start: starts.has(id), terminal: id === graph.terminal_state };
  });
  const edges = layout.edges().map((edge: { v: string; w: string; name?: string }): Edge => {
    const { points } = layout.edge(edge) as unknown as { points: { x: number; y: number }[] };
    return { from: edge.v, to: edge.w, condition: conditions.get(`${edge.v}\n${edge.w}\n${edge.name}`) ?? "", path: curve(points) };
  });
  const { width = 0, height = 0 } = layout.graph() as { width?: number; height?: number };
  return { nodes, edges, width, height };
}

/** A smooth line through points: straight into the middles, bent at the points. */
function curve(points: { x: number; y: number }[]): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let path = `M${first.x},${first.y}`;
  for (let n = 0; n < rest.length - 1; n++) {
    const [point, next] = [rest[n]!, rest[n + 1]!];
    const end = n === rest.length - 2 ? next : { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
    path += `Q${point.x},${point.y} ${end.x},${end.y}`;
  }
  if (rest.length === 1) path += `L${rest[0]!.x},${rest[0]!.y}`;
  return path;
}
