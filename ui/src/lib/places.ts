/** Places in a body as a person would name them: the state, the exit and the field, in the words of the forms. */

import { ENDS, FIELDS, GRAPH_FIELDS, type Body, type Kind, type Path } from "./stateForms";

const MOST = 60; // characters of a condition that are quoted

const asWords = (key: string) => key.replaceAll("_", " ");
const short = (text: string) => (text.length > MOST ? `${text.slice(0, MOST).trimEnd()}…` : text);

/** Name a place in any body: the names of its fields as words, and things of a list by their numbers and names. */
export function stepsInWords(body: unknown, path: Path): string {
  let at = body;
  const said = path.map((step) => {
    at = (at as Body | null | undefined)?.[step];
    if (typeof step !== "number") return asWords(step);
    const name = (at as Body | null | undefined)?.name ?? (at as Body | null | undefined)?.permission_name;
    return `number ${step + 1}${typeof name === "string" && name ? ` “${short(name)}”` : ""}`;
  });
  return said.join(", ");
}

/** Name the place in a graph or an agent that a path leads to. A path that leads nowhere is named by its own words. */
export function placeInWords(body: Body | null, path: Path): string {
  const [first, second, ...rest] = path;
  const states = Array.isArray(body?.states) ? (body.states as (Body | null)[]) : [];
  if (first === "states" && typeof second === "number") return [`State ${stateName(states[second], second)}`, ...within(states[second] ?? {}, rest)].join(", ");
  const label = ENDS.find(([key]) => key === first)?.[1] ?? GRAPH_FIELDS.find((field) => field.key === first)?.label;
  if (label) return [label, ...steps(path.slice(1))].join(", ");
  return steps(path).join(", ");
}

function stateName(state: Body | null | undefined, number: number): string {
  return typeof state?.name === "string" && state.name ? state.name : `number ${number + 1}`;
}

function within(state: Body, [key, ...rest]: Path): string[] {
  if (key === undefined) return [];
  if (key === "exit_conditions" && typeof rest[0] === "number") return exit(state, rest[0], rest.slice(1));
  const field = FIELDS[state.type as Kind]?.find((one) => one.key === key);
  return [field?.label ?? asWords(String(key)), ...steps(rest)];
}

function exit(state: Body, number: number, [key, ...rest]: Path): string[] {
  const conditions = Array.isArray(state.exit_conditions) ? (state.exit_conditions as (Body | null)[]) : [];
  const said = conditions[number]?.description;
  const name = `exit ${number + 1}${typeof said === "string" && said ? ` “${short(said)}”` : ""}`;
  if (key === undefined) return [name];
  return [name, key === "next_state" ? "where it leads" : key === "description" ? "its condition" : asWords(String(key)), ...steps(rest)];
}

const steps = (path: Path) => path.map((step) => (typeof step === "number" ? `number ${step + 1}` : asWords(step)));
