/** Tools: what an agent may call. Their names are asked for once. */

import { all, ask, client, here, type Answer } from "./api";

export type Tool = Answer<"ToolInstance">;
export type ToolVersion = Answer<"ToolVersionInstance">;
export type ToolInvocation = Answer<"ToolInvocationInstance">;
export type Offer = Answer<"Offer">;
export type Bump = "major" | "minor" | "patch";
export type Schema = Record<string, unknown>;

export async function getTool(id: string): Promise<Tool> {
  const [found] = (await ask(client.GET("/v1/{organization}/tool/", { params: { path: here(), query: { id: [id] } } }))).tools;
  if (!found) throw new Error("There is no such tool.");
  return found;
}

/** All tools, those that are used or those that are deprecated; null asks for both. */
export function listTools(deprecated: boolean | null): Promise<Tool[]> {
  const wanted = deprecated === null ? {} : { deprecated };
  return all((token) => ask(client.GET("/v1/{organization}/tool/", { params: { path: here(), query: { continuation_token: token, ...wanted } } })), (page) => page.tools);
}

export async function listVersions(id: string): Promise<ToolVersion[]> {
  const path = { ...here(), tool_id: id };
  const found = await all((token) => ask(client.GET("/v1/{organization}/tool/{tool_id}/version", { params: { path, query: { continuation_token: token } } })), (page) => page.tool_versions);
  return found.toReversed();
}

export function numbers(version: ToolVersion["version"]): string {
  return `${version.major}.${version.minor}.${version.patch}`;
}

const names = new Map<string, Promise<string>>();

/** The name of a tool; its id if nobody tells. */
export function toolName(id: string): Promise<string> {
  const key = `${here().organization} ${id}`;
  let known = names.get(key);
  if (!known) {
    known = getTool(id).then(
      (tool) => tool.name,
      () => {
        names.delete(key);
        return id;
      },
    );
    names.set(key, known);
  }
  return known;
}

// --- Arguments --------------------------------------------------------------------------------------------------------

export interface Field {
  name: string;
  kind: "text" | "number" | "yes" | "choice" | "json";
  options: unknown[];
  hint: string;
  required: boolean;
}

/** The fields of a form for a schema; what is neither text, number, choice nor yes or no is written as JSON. */
export function fields(schema: Schema): Field[] {
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.entries((schema.properties ?? {}) as Record<string, Schema | boolean>).map(([name, part]) => {
    const form = typeof part === "object" ? part : {};
    const options = Array.isArray(form.enum) ? form.enum : [];
    const kind = options.length ? "choice" : form.type === "string" ? "text" : form.type === "number" || form.type === "integer" ? "number" : form.type === "boolean" ? "yes" : "json";
    return { name, kind, options, hint: typeof form.description === "string" ? form.description : "", required: required.includes(name) };
  });
}

/** The value that was written in a field; undefined if nothing was. Text that is no JSON stays text, and the server judges it. */
export function read(field: Field, text: string): unknown {
  if (field.kind === "choice") return field.options.find((option) => String(option) === text);
  if (field.kind === "text") return text === "" && !field.required ? undefined : text;
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** A value as it stands in its field. */
export function write(field: Field, value: unknown): string {
  if (value === undefined) return "";
  return typeof value === "string" && field.kind !== "json" ? value : field.kind === "choice" ? String(value) : JSON.stringify(value);
}

// --- Publishing -------------------------------------------------------------------------------------------------------

export const HTTP_EXAMPLE = {
  definition: {
    url: "https://api.open-meteo.com/v1/forecast",
    parameters: [
      { name: "latitude", in: "query" },
      { name: "longitude", in: "query" },
      { name: "current", in: "query", value: "temperature_2m" },
    ],
  },
  input_schema: {
    type: "object",
    required: ["latitude", "longitude"],
    properties: { latitude: { type: "number" }, longitude: { type: "number" } },
  },
};
export const MCP_EXAMPLE = { definition: { url: "https://mcp.example.com/mcp", tool: "search" } };

/** Publish what an editor holds. Returns the new version. */
export async function publish(id: string, kind: "http" | "mcp", content: object, bump: Bump): Promise<string> {
  const options = { params: { path: { ...here(), tool_id: id } }, body: { ...content, bump_type: bump } as never };
  const made = kind === "http" ? client.POST("/v1/{organization}/tool/{tool_id}/version/http", options) : client.POST("/v1/{organization}/tool/{tool_id}/version/mcp", options);
  return (await ask(made)).new_version;
}

export async function offersOfDocument(document: Record<string, unknown>, base: string): Promise<Offer[]> {
  const body = base ? { document, base_url: base } : { document };
  return (await ask(client.POST("/v1/{organization}/tool/offer/openapi", { params: { path: here() }, body }))).tools;
}

/** Ask an MCP server, by its address or by the name that the operator gave it, for its tools. */
export async function offersOfServer(place: string, token: string): Promise<Offer[]> {
  const server: Answer<"McpPlace"> = !place.includes("/") ? { server: place } : token ? { url: place, authorization: { bearer: "MCP_TOKEN" } } : { url: place };
  const variables: Record<string, string> = token ? { MCP_TOKEN: token } : {};
  const body = { server, variables };
  return (await ask(client.POST("/v1/{organization}/tool/offer/mcp", { params: { path: here() }, body }))).tools;
}
