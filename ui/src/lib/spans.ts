/** The spans of a trace: when each was, what it is, and what it is called. */

import type { Span, Trace } from "./api";
import { plainly } from "./format";

/** A moment in milliseconds; dates have whole ones, and the part below one is read from the text. */
function moment(span: Span): number {
  return Date.parse(span.start) + Number(`0.${/\.\d{3}(\d{1,3})/.exec(span.start)?.[1] ?? "0"}`);
}

/** The beginning of a trace, in milliseconds. */
export function beginning(trace: Trace): number {
  return Math.min(...trace.spans.map(moment));
}

/** Milliseconds from the beginning to that of a span. */
export function since(begin: number, span: Span): number {
  return moment(span) - begin;
}

export function textOf(span: Span, name: string): string {
  const value = span.attributes[name];
  return typeof value === "string" ? value : "";
}

export function kindOf(span: Span): "model" | "tool" | "speech" | "step" {
  if (span.attributes["gen_ai.operation.name"] === "chat") return "model";
  if (span.attributes["gen_ai.operation.name"] === "execute_tool") return "tool";
  return /^(speak|transcribe|text_to_speech|speech)/.test(span.name) ? "speech" : "step";
}

export function titleOf(span: Span): string {
  if (kindOf(span) === "tool") return textOf(span, "gen_ai.tool.name");
  const interaction = textOf(span, "tertulia.interaction");
  return interaction ? interaction.replace(/([a-z])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`) : plainly(span.name);
}
