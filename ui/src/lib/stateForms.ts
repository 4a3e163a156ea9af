/** The fields of each kind of state, as a form shows them, and what a form changes in a graph. */

import type { Problem } from "./api";
import type { State } from "./graphs";

export type Path = (string | number)[];
export type Body = Record<string, unknown>;
export type Kind = State["type"];

export interface Field {
  key: string;
  label: string;
  shape: "text" | "list" | "exits" | "next" | "tools" | "tool" | "number" | "yes";
  hint?: string;
  rare?: boolean; // stands below, folded
}

const exits: Field = { key: "exit_conditions", label: "Exits", shape: "exits", hint: "The agent moves on if one of these holds; without exits it stays here." };
const next: Field = { key: "next_state", label: "Then on to", shape: "next" };
const tools = (key: string, label: string): Field => ({ key, label, shape: "tools", rare: true });
const fillers: Field[] = [
  { key: "audio_fillers", label: "What a voice says while this takes long", shape: "list", rare: true },
  { key: "audio_filler_triggered_after", label: "After so many seconds", shape: "number", rare: true },
];

export const FIELDS: Record<Kind, Field[]> = {
  action: [
    { key: "objective", label: "Objective", shape: "text", hint: "What the agent wants to reach here." },
    { key: "actions", label: "Actions", shape: "list", hint: "What it may do next; it chooses one each turn." },
    exits,
    { key: "action_guidelines", label: "Guidelines", shape: "list", hint: "How it does that." },
    { key: "boundary_constraints", label: "What it must not do", shape: "list" },
    { key: "intra_state_navigation_guidelines", label: "How it chooses among actions and exits", shape: "list", rare: true },
    tools("exit_condition_tool_call_specs", "Tools, before the next step is chosen"),
    tools("action_tool_call_specs", "Tools, before the message"),
    { key: "skip_active_memory_retrieval", label: "Do not look into the memory here", shape: "yes", rare: true },
  ],
  decision: [
    { key: "objective", label: "What is decided", shape: "text" },
    exits,
    { key: "decision_guidelines", label: "Guidelines", shape: "list" },
    tools("tool_call_specs", "Tools, before the decision"),
    ...fillers,
  ],
  annotation: [{ key: "inner_thought", label: "Thought", shape: "text", hint: "The agent keeps it in mind from here on; the person does not see it." }, next],
  recall: [
    { key: "requested_information", label: "What to remember", shape: "text", hint: "In words; or give queries." },
    { key: "queries", label: "Queries", shape: "list" },
    next,
  ],
  reflection: [
    { key: "problem", label: "What to think about", shape: "text" },
    { key: "word_limit", label: "In at most so many words", shape: "number" },
    next,
    tools("tool_call_specs", "Tools, before the answer"),
    ...fillers,
  ],
  "tool-call": [
    { key: "designated_tool", label: "Tool", shape: "tool" },
    { key: "designated_tool_call_objective", label: "What the call is for", shape: "text" },
    { key: "designated_tool_call_context", label: "What to know for it", shape: "text" },
    next,
    { key: "designated_tool_call_guidances", label: "How its arguments are chosen", shape: "list" },
    { key: "designated_tool_call_validations", label: "What must hold of them", shape: "list" },
    tools("tool_call_specs", "Other tools"),
    { key: "designated_tool_call_params_generation_audio_fillers", label: "What a voice says while this takes long", shape: "list", rare: true },
    { key: "designated_tool_call_params_generation_audio_filler_triggered_after", label: "After so many seconds", shape: "number", rare: true },
  ],
};

export const NAMES: Record<Kind, string> = {
  action: "Action: the agent talks",
  decision: "Decision: chooses a way",
  annotation: "Annotation: keeps a thought",
  recall: "Recall: remembers",
  reflection: "Reflection: thinks",
  "tool-call": "Tool call",
};

export const GRAPH_FIELDS: Field[] = [
  { key: "description", label: "What this graph is for", shape: "text" },
  { key: "global_action_guidelines", label: "Guidelines of every state", shape: "list" },
  { key: "global_boundary_constraints", label: "What the agent must not do in any state", shape: "list" },
  { key: "global_intra_state_navigation_guidelines", label: "How it chooses among actions and exits, in every state", shape: "list" },
];

export const ENDS: [string, string][] = [
  ["new_user_initial_state", "Begins in, for new users"],
  ["returning_user_initial_state", "Begins in, for users who come again"],
  ["terminal_state", "Ends in"],
];

export function toolUse(tool: string): Body {
  return { tool_id: tool, version_constraint: ">=1.0.0", additional_instruction: "Use it if it helps.", audio_fillers: [], audio_filler_triggered_after: 2, result_persistence: "ephemeral" };
}

/** A new state of a kind, that leads to another one. */
export function newState(kind: Kind, name: string, to: string, tool: string): Body {
  const all: Record<Kind, Body> = {
    action: {
      objective: "Say what this state is for.",
      actions: ["Say what the agent does here."],
      intra_state_navigation_guidelines: [],
      action_guidelines: [],
      boundary_constraints: [],
      exit_conditions: [{ description: "This is done.", next_state: to }],
      action_tool_call_specs: [],
      exit_condition_tool_call_specs: [],
      skip_active_memory_retrieval: false,
    },
    decision: { objective: "Say what is decided.", exit_conditions: [{ description: "In every case.", next_state: to }], decision_guidelines: [], tool_call_specs: [], audio_fillers: [], audio_filler_triggered_after: 2 },
    annotation: { inner_thought: "Say what to keep in mind.", next_state: to },
    recall: { queries: null, requested_information: "Say what to remember.", next_state: to },
    reflection: { problem: "Say what to think about.", word_limit: 100, next_state: to, tool_call_specs: [], audio_fillers: [], audio_filler_triggered_after: 2 },
    "tool-call": {
      next_state: to,
      designated_tool: toolUse(tool),
      designated_tool_call_params_generation_audio_fillers: [],
      designated_tool_call_params_generation_audio_filler_triggered_after: 2,
      designated_tool_call_objective: "Say what the call is for.",
      designated_tool_call_context: "Say what to know for it.",
      designated_tool_call_guidances: [],
      designated_tool_call_validations: [],
      tool_call_specs: [],
    },
  };
  return { type: kind, name, ...all[kind] };
}

/** Set a value at a path. Returns a copy; what is not on the path is shared. */
export function put<T>(whole: T, [step, ...rest]: Path, value: unknown): T {
  if (step === undefined) return value as T;
  if (Array.isArray(whole)) return whole.with(Number(step), put(whole[Number(step)], rest, value)) as T;
  const body = whole as Body;
  return { ...body, [step]: put(body[step], rest, value) } as T;
}

/** Call a state otherwise, and everything that leads to it. */
export function rename(graph: Body, from: string, to: string): Body {
  const led = (value: unknown): unknown => (value === from ? to : Array.isArray(value) ? [value[0], value[1] === from ? to : value[1]] : value);
  const states = (graph.states as Body[]).map((state) => ({
    ...state,
    ...(state.name === from ? { name: to } : {}),
    ...("next_state" in state ? { next_state: led(state.next_state) } : {}),
    ...(Array.isArray(state.exit_conditions) ? { exit_conditions: (state.exit_conditions as Body[]).map((exit) => ({ ...exit, next_state: led(exit.next_state) })) } : {}),
  }));
  const ends = Object.fromEntries(ENDS.map(([key]) => [key, graph[key] === from ? to : graph[key]]));
  return { ...graph, states, ...ends };
}

/** The problems at a path and, with `below`, within what stands there. */
export function found(problems: Problem[], path: Path, below = false): string[] {
  return problems
    .filter(({ loc }) => path.every((step, n) => String(loc[n]) === String(step)) && (below || loc.length === path.length))
    .map(({ msg }) => msg);
}
