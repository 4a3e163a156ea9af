/** A turn as it happens: NDJSON, one event a line, read while it comes. */

import { ApiError, here, readError, unreachable } from "./api";
import { session } from "./session.svelte";

export interface TurnEvent {
  type: string;
  [field: string]: unknown;
}

export interface Line {
  text: string;
  event: TurnEvent;
  ms: number; // since the request was sent
}

export interface Begun {
  conversation: string;
  interaction: string;
  replayed: boolean;
  rate: number; // of a spoken reply, in samples a second; else 0
}

export interface TurnRequest {
  path: string; // below the organization
  method: "POST" | "GET";
  json?: unknown;
  form?: Record<string, string | Blob>;
  key?: string; // the Idempotency-Key
}

/** Send a request, tell how the stream began, and then each line of it. Ends with the stream. */
export async function run(
  request: TurnRequest,
  signal: AbortSignal,
  begun: (begun: Begun) => void,
  line: (line: Line) => void,
): Promise<void> {
  const sentAt = performance.now();
  const response = await send(request, signal);
  if (!response.ok || response.body === null) throw readError(response, await response.json().catch(() => null));
  begun({
    conversation: response.headers.get("X-Tertulia-Conversation-Id") ?? "",
    interaction: response.headers.get("X-Tertulia-Interaction-Id") ?? "",
    replayed: response.headers.get("Idempotent-Replayed") === "true",
    rate: Number(response.headers.get("X-Tertulia-Audio-Rate") ?? 0),
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop()!;
    const ms = performance.now() - sentAt;
    for (const text of lines) if (text) line({ text, event: JSON.parse(text) as TurnEvent, ms });
  }
}

async function send(request: TurnRequest, signal: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { Authorization: `Bearer ${session.token}` };
  let body: BodyInit | null = null;
  if (request.json !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(request.json);
  } else if (request.form) {
    const form = new FormData();
    for (const [name, value] of Object.entries(request.form)) form.append(name, value);
    body = form;
  }
  if (request.key !== undefined) headers["Idempotency-Key"] = request.key;
  try {
    return await fetch(`/v1/${here().organization}${request.path}`, { method: request.method, headers, body, signal });
  } catch (error) {
    throw unreachable(error);
  }
}

/** A request as a line for a shell. The token is not written into it. */
export function asCurl(request: TurnRequest): string {
  const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const parts = [`curl -N ${quote(`${location.origin}/v1/${here().organization}${request.path}`)}`, `-H "Authorization: Bearer $TOKEN"`];
  if (request.key !== undefined) parts.push(`-H ${quote(`Idempotency-Key: ${request.key}`)}`);
  if (request.json !== undefined) parts.push(`-H 'Content-Type: application/json'`, `-d ${quote(JSON.stringify(request.json))}`);
  for (const [name, value] of Object.entries(request.form ?? {})) parts.push(typeof value === "string" ? `--form-string ${quote(`${name}=${value}`)}` : `-F ${name}=@message.wav`);
  return parts.join(" \\\n  ");
}

/** A request as a Python program, with httpx. The token is not written into it. */
export function asPython(request: TurnRequest): string {
  const headers = [`    "Authorization": f"Bearer {os.environ['TOKEN']}",`];
  if (request.key !== undefined) headers.push(`    "Idempotency-Key": ${literal(request.key)},`);
  const fields = Object.entries(request.form ?? {}).map(([name, value]) => `    ${literal(name)}: ${typeof value === "string" ? `(None, ${literal(value)})` : `("message.wav", open("message.wav", "rb"), "audio/wav")`},`);
  const body = request.json !== undefined ? [`body = ${literal(request.json)}`] : fields.length ? ["form = {", ...fields, "}"] : [];
  const given = request.json !== undefined ? ", json=body" : fields.length ? ", files=form" : "";
  return [
    "import json",
    "import os",
    "",
    "import httpx",
    "",
    `url = ${literal(`${location.origin}/v1/${here().organization}${request.path}`)}`,
    "headers = {",
    ...headers,
    "}",
    ...body,
    `with httpx.stream(${literal(request.method)}, url, headers=headers, timeout=None${given}) as answer:`,
    "    answer.raise_for_status()",
    "    for line in answer.iter_lines():",
    "        print(json.loads(line))",
    "",
  ].join("\n");
}

/** A value as Python writes it. */
function literal(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, item]) => `${literal(name)}: ${literal(item)}`).join(", ")}}`;
  return JSON.stringify(value);
}

export { ApiError };
