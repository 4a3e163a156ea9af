/** Calls of tools within a turn, as its stream tells them while it runs, or its insights afterwards. */

import type { Insights } from "./api";

export interface Call {
  tool: string; // its id
  version: string;
  input: unknown;
  output: string | null; // null: it runs, or its result was not to be kept
  seconds: number | null; // null: it runs
}

export type Pending = NonNullable<Insights["pending_tool_calls"]>[number];

/** Take a step of a turn in. Returns the calls with what it tells of them. */
export function told(calls: Call[], step: Record<string, unknown>): Call[] {
  const known = { tool: String(step.tool_id), version: String(step.tool_version) };
  if (step.type === "tool-call-started") return [...calls, { ...known, input: step.input_params, output: null, seconds: null }];
  if (step.type !== "tool-call-ended") return calls;
  const input = step.input_parameters;
  const ended: Call = { ...known, input, output: String(step.result), seconds: Number(step.duration) };
  const at = calls.findIndex((call) => call.seconds === null && call.tool === known.tool && JSON.stringify(call.input) === JSON.stringify(input));
  return at < 0 ? [...calls, ended] : calls.with(at, ended);
}

interface Log {
  tool_id: string;
  tool_version: string;
  input: unknown;
  output: string | null;
  duration: number;
}

/** The calls of a turn that was. */
export function logged(insights: Insights): Call[] {
  const onTheWay = insights.state_transition_logs.flatMap(logsOf);
  const logs = [...onTheWay, ...insights.select_next_action_tool_call_logs.flat(), ...insights.engage_user_tool_call_logs.flat()] as Log[];
  const made = logs.filter((log) => log.output !== null || log.duration > 0); // others were asked for, and not made
  return made.map((log) => ({ tool: log.tool_id, version: log.tool_version, input: log.input, output: log.output, seconds: log.duration }));
}

/** The calls that a log of a state holds, in whatever field. */
function logsOf(value: unknown): Log[] {
  if (value === null || typeof value !== "object") return [];
  if (!Array.isArray(value) && "tool_id" in value && "duration" in value) return [value as Log];
  return Object.values(value).flatMap(logsOf);
}
