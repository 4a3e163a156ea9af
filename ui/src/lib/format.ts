/** Times, lengths and counts as a person reads them. */

const DAY = 86_400_000;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const minute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const number = new Intl.NumberFormat();

export function when(iso: string): string {
  const time = new Date(iso);
  const today = new Date().toDateString() === time.toDateString();
  if (today) return clock.format(time);
  return Date.now() - time.getTime() < 300 * DAY ? `${day.format(time)}, ${clock.format(time)}` : day.format(time) + ` ${time.getFullYear()}`;
}

export function fully(iso: string): string {
  return full.format(new Date(iso));
}

/** A day and a time of it, to the minute. */
export function until(iso: string): string {
  return minute.format(new Date(iso));
}

/** Markdown without its marks, for a line of a list. */
export function unmarked(text: string): string {
  return text.replace(/\*\*|__|`+/g, "").replace(/(^|[\s(])[*_](?=\S)|(?<=\S)[*_](?=[\s.,;:!?)]|$)/g, "$1").replace(/(^|\n)\s*(?:#{1,6}|>|[-*+])\s+/g, "$1").replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1");
}

export function ms(value: number): string {
  if (value < 1) return "< 1 ms";
  if (value < 1000) return `${Math.round(value)} ms`;
  return `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
}

/** The time from one moment to another, as long times are told: its two greatest units. */
export function lasting(from: string, to: string): string {
  const seconds = Math.max(0, Math.round((Date.parse(to) - Date.parse(from)) / 1000));
  const parts = [["d", Math.floor(seconds / 86_400)], ["h", Math.floor(seconds / 3600) % 24], ["min", Math.floor(seconds / 60) % 60], ["s", seconds % 60]] as const;
  const first = parts.findIndex(([, value]) => value > 0);
  if (first < 0) return "< 1 s";
  return parts.slice(first, first + 2).filter(([, value]) => value > 0).map(([unit, value]) => `${value} ${unit}`).join(" ");
}

export function count(value: number, noun: string, nouns = `${noun}s`): string {
  return `${number.format(value)} ${value === 1 ? noun : nouns}`;
}

/** The name of an action event in plain words. */
export function plainly(type: string): string {
  return ACTIONS[type] ?? type.replaceAll("-", " ");
}

const ACTIONS: Record<string, string> = {
  invoke_agent: "Turn",
  speak: "Speech",
  transcribe: "Words heard",
  "select-dynamic-behavior-vector-generated": "Messages compared with behaviours",
  "select-dynamic-behavior-relevance-retrieval-completed": "Behaviours considered",
  "select-dynamic-behavior-completed": "Behaviour chosen",
  "check-if-active-memory-needed-completed": "Memory: what to look up",
  "extract-active-memories-completed": "Memory: found",
  "navigate-state-machine-dynamic-behavior-override": "Behaviour steers the way",
  "navigate-state-machine-action-state-action-selected": "Action chosen",
  "engage-user-dynamic-behavior-override": "Behaviour steers the reply",
  "navigate-state-machine-decision-state-decision-started": "Decision begun",
  "navigate-state-machine-exit-condition-selected": "Exit taken",
  "navigate-state-machine-annotation-state-annotation-retrieved": "Thought added",
  "navigate-state-machine-recall-state-static-queries-retrieved": "Recall: queries of the state",
  "navigate-state-machine-recall-state-dynamic-queries-generated": "Recall: queries made",
  "navigate-state-machine-recall-state-active-memory-retrieved": "Recall: memories found",
  "navigate-state-machine-reflection-state-prompt-retrieved": "Reflection begun",
  "navigate-state-machine-reflection-state-reflection-generated": "Reflection",
  "navigate-state-machine-state-transitioned": "State changed",
  "tool-call-started": "Tool called",
  "tool-call-ended": "Tool ended",
  "designated-tool-retrieved": "Tool of the state",
  "designated-tool-call-params-generated": "Parameters made",
  "navigate-state-machine-tool-call-state-tool-output-available": "Outcome of the tool",
  "action-too-long": "Filler, for a step takes long",
};

/** What an action is about, in one line. */
export function summary(action: Record<string, unknown>): string {
  const text = (name: string) => (typeof action[name] === "string" ? (action[name] as string) : "");
  if (action.type === "navigate-state-machine-state-transitioned") return `${text("prev_state")} → ${text("next_state")}`;
  for (const name of ["exit_condition", "action", "annotation", "reflection", "prompt", "requested_information", "result", "tool_output", "filler"]) {
    if (text(name)) return text(name);
  }
  const given = action.input_params ?? action.tool_call_params;
  if (given !== undefined) return JSON.stringify(given);
  const list = action.queries ?? action.static_queries ?? action.dynamic_queries;
  if (Array.isArray(list)) return list.length ? list.join(" · ") : "nothing";
  const pairs = action.queries_and_responses;
  if (Array.isArray(pairs)) return pairs.length ? pairs.map((pair: string[]) => `${pair[0]}: ${pair[1] || "nothing"}`).join(" · ") : "nothing";
  const chosen = action.selected_dynamic_behavior_set_version_info;
  if (chosen !== undefined) return Array.isArray(chosen) ? `version ${chosen[1]}` : "none";
  return "";
}
