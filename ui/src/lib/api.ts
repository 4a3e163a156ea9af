/** The public API, with the types of its own OpenAPI document. */

import createClient from "openapi-fetch";
import type { components, paths } from "./schema";
import { session } from "./session.svelte";

export type Schemas = components["schemas"];

/** The client reads pairs as arrays; so do the types of what it answers. */
type Read<T> = T extends (infer E)[] ? Read<E>[] : T extends object ? { [K in keyof T]: Read<T[K]> } : T;
export type Answer<Name extends keyof Schemas> = Read<Schemas[Name]>;

export type Service = Answer<"ServiceInstance">;
export type Conversation = Answer<"ConversationInstance">;
export type Message = Answer<"MessageInstance">;
export type Found = Answer<"FoundMessageInstance">;
export type Running = Answer<"RunningInteraction">;
export type Graph = Answer<"ContextGraphVersion">;
export type Trace = Answer<"InteractionTrace">;
export type Span = Answer<"TraceSpan">;
export type User = Answer<"UserInstance">;
export type Insights = Answer<"InteractionInsights">;

/** An answer that is an error, in the server's own words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly problems: Problem[] = [],
    readonly headers = new Headers(),
  ) {
    super(message);
  }
}

export interface Problem {
  loc: (string | number)[];
  msg: string;
}

export const client = createClient<paths>({ baseUrl: "", querySerializer: { array: { style: "form", explode: true } } });

client.use({
  onRequest({ request }) {
    if (session.token !== null && !request.headers.has("x-share-token")) request.headers.set("Authorization", `Bearer ${session.token}`);
    return request;
  },
});

/** The path parameter that every operation of an organization has. */
export function here(): { organization: string } {
  return { organization: session.claims?.organization ?? "" };
}

interface Answered<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Wait for an answer. Returns its body; an error of the server is raised as one. */
export async function ask<T>(answered: Promise<Answered<T>>): Promise<T> {
  const { data, error, response } = await reach(answered);
  if (!response.ok) throw readError(response, error);
  return data as T;
}

/** The same, with the warnings that came along. */
export async function askWarned<T>(answered: Promise<Answered<T>>): Promise<{ data: T; warnings: string[] }> {
  const { data, error, response } = await reach(answered);
  if (!response.ok) throw readError(response, error);
  const warnings = response.headers.get("X-Tertulia-Warning");
  return { data: data as T, warnings: warnings === null ? [] : warnings.split(/, (?=[A-Z`"])/) };
}

async function reach<T>(answered: Promise<Answered<T>>): Promise<Answered<T>> {
  try {
    return await answered;
  } catch (error) {
    throw unreachable(error);
  }
}

export function unreachable(error: unknown): unknown {
  return error instanceof TypeError ? new ApiError(0, "The server cannot be reached. Is it running?") : error;
}

export function readError(response: Response, body: unknown): ApiError {
  const { detail, message } = (body ?? {}) as { detail?: unknown; message?: string };
  const problems = Array.isArray(detail) ? (detail as Problem[]) : [];
  const text = message ?? (typeof detail === "string" ? detail : `The server answered ${response.status}.`);
  if (response.status === 401 && session.token !== null) session.end(text);
  return new ApiError(response.status, text, problems, response.headers);
}

export function explain(error: unknown): string {
  if (error instanceof ApiError && error.status === 429) {
    return `${error.message} Try again in ${error.headers.get("Retry-After") ?? "some"} seconds.`;
  }
  return error instanceof Error ? error.message : String(error);
}

/** The seconds after which the server takes a request that it refused as one too many; null for other errors. */
export function waitOf(error: unknown): number | null {
  return error instanceof ApiError && error.status === 429 ? Number(error.headers.get("Retry-After")) || 5 : null;
}

export function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}

/** Make a request. While the server refuses it as one too many, wait for as long as it asks and make it again. */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const wait = waitOf(error);
      if (wait === null) throw error;
      await pause(wait);
    }
  }
}

/** All items of a list, page after page, at most `most` pages. */
export async function all<P extends { has_more: boolean; continuation_token: number | null }, T>(
  page: (token: number) => Promise<P>,
  items: (page: P) => T[],
  most = 20,
): Promise<T[]> {
  const found: T[] = [];
  let token: number | null = 0;
  for (let n = 0; n < most && token !== null; n++) {
    const got: P = await page(token);
    found.push(...items(got));
    token = got.has_more ? got.continuation_token : null;
  }
  return found;
}
