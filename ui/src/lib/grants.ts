/** Permissions and the conditions of grants, in plain words; and what a user may do by all of their grants. */

import { all, ask, client, here, type Answer, type User } from "./api";
import type { Role } from "./people";

export type Grant = Role["permission_grants"][number];
export type TemporaryGrant = Answer<"TemporaryGrantInstance">;
type Condition = Grant["conditions"][string];

const SELF_ORGANIZATION = "{self_org_id}";
const SELF_USER = "{self_user_id}";

/** What attributes are about, as nouns. */
export const NOUNS: Record<string, string> = {
  org_id: "the organization",
  conversation_id: "the conversation",
  conversation_user_id: "the conversation's user",
  service_id: "the service",
  message_type: "the kind of message",
  user_id: "the user",
  user_role_name: "the user's role",
  version_set_name: "the version set",
  agent_id: "the agent",
  service_hierarchical_state_machine_id: "the graph",
  dynamic_behavior_set_id: "the behaviour",
  tool_id: "the tool",
  api_key_id: "the API key",
  role_name: "the role",
  permission_name: "the permission",
};

const SHOWN: Record<string, string> = {
  conversations_visible_to_admins: "their conversations",
  user_model_visible_to_admins: "what they are like",
};

/** `Conversation:GetInteractionInsights` as "Get interaction insights". */
export function act(permission: string): string {
  const words = (permission.split(":")[1] ?? permission).split(/(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/);
  return words.map((word, n) => (n === 0 || /^[A-Z]{2,}$/.test(word) ? word : word.toLowerCase())).join(" ");
}

/** Conditions in words; `names` has those of ids. Without any, or only that of the own organization: "everywhere". */
export function inWords(conditions: Grant["conditions"], names: ReadonlyMap<string, string> = new Map()): string {
  const entries = Object.entries(conditions).filter(([name, rule]) => !isOwnOrganization(name, rule));
  if (!entries.length) return "everywhere in the organization";
  const own = entries.filter(([name, rule]) => isOwn(name, rule)).map(([name]) => (name === "user_id" ? "only themselves" : "only their own"));
  const others = entries.filter(([name, rule]) => !isOwn(name, rule)).map(([name, rule]) => phrase(name, rule, names));
  return [...new Set(own), ...(others.length ? [`if ${others.join(", and if ")}`] : [])].join(", ");
}

function isOwnOrganization(name: string, rule: Condition): boolean {
  return name === "org_id" && rule.type === "Equals" && rule.value === SELF_ORGANIZATION;
}

function isOwn(name: string, rule: Condition): boolean {
  return (name === "conversation_user_id" || name === "user_id") && rule.type === "Equals" && rule.value === SELF_USER;
}

function phrase(name: string, rule: Condition, names: ReadonlyMap<string, string>): string {
  const say = (value: unknown): string =>
    value === SELF_USER ? "themselves" : value === SELF_ORGANIZATION ? "their own" : (names.get(String(value)) ?? String(value));
  const shown = SHOWN[name];
  if (shown && rule.type !== "In" && typeof rule.value === "boolean") {
    const does = rule.value === (rule.type === "Equals");
    return `the user ${does ? "shows" : "does not show"} administrators ${shown}`;
  }
  const noun = NOUNS[name] ?? name;
  if (rule.type !== "In") return `${noun} is ${rule.type === "NotEquals" ? "not " : ""}${say(rule.value)}`;
  return rule.values.length ? `${noun} is ${rule.values.map(say).join(" or ")}` : `${noun} is one of none`;
}

export type Answered = "yes" | "partly" | "no";

/** A permission of a user: yes on everything, partly (on what meets a condition), or no; and the grants that say so. */
export interface Verdict {
  permission: string;
  may: Answered;
  grants: { words: string; until: string | null }[];
}

/** Answer, for each permission that there is, if a user may. `known` are all names of permissions. */
export function judge(known: Iterable<string>, byRole: Grant[], byTime: TemporaryGrant[], names: ReadonlyMap<string, string>): Verdict[] {
  const held = [...byRole.map((grant) => ({ grant, until: null as string | null })), ...byTime.map((one) => ({ grant: one.permission_grant as Grant, until: one.expires_at }))];
  const permissions = [...new Set([...known, ...held.map(({ grant }) => grant.permission_name)])].sort();
  return permissions.map((permission) => {
    const theirs = held.filter(({ grant }) => grant.permission_name === permission && !isNever(grant));
    const whole = theirs.some(({ grant }) => Object.entries(grant.conditions).every(([name, rule]) => isOwnOrganization(name, rule)));
    const said = theirs.map(({ grant, until }) => ({ words: inWords(grant.conditions, names), until }));
    return { permission, may: whole ? "yes" : said.length ? "partly" : "no", grants: said };
  });
}

function isNever(grant: Grant): boolean {
  return Object.values(grant.conditions).some((rule) => rule.type === "In" && !rule.values.length);
}

/** A user by their e-mail address or id; null if there is none that the caller may see. */
export async function findUser(text: string): Promise<User | null> {
  const query = text.includes("@") ? { email: [text] } : { user_id: [text] };
  return (await ask(client.GET("/v1/{organization}/user/", { params: { path: here(), query } }))).users[0] ?? null;
}

export async function someUsers(): Promise<User[]> {
  return (await ask(client.GET("/v1/{organization}/user/", { params: { path: here(), query: { limit: 50 } } }))).users;
}

export interface GrantFilter {
  user: string;
  permission: string;
  state: string; // "ended", "all", or what holds now
}

export async function pageOfGrants(filter: GrantFilter, token: number): Promise<Answer<"TemporaryGrantPage">> {
  const query = {
    continuation_token: token,
    ...(filter.user && { user_id: [filter.user] }),
    ...(filter.permission && { permission_grant_name: filter.permission }),
    ...(filter.state !== "all" && { is_expired: filter.state === "ended" }),
  };
  return ask(client.GET("/v1/{organization}/role/temporary_permission_grants/", { params: { path: here(), query } }));
}

/** The temporary grants of a user that hold now. */
export function grantsOf(user: string): Promise<TemporaryGrant[]> {
  return all((token) => pageOfGrants({ user, permission: "", state: "" }, token), (page) => page.temporary_permission_grants);
}

export interface NewGrant {
  user: string;
  duration: string;
  grant: Grant;
  why: string;
}

export async function giveGrant({ user, duration, grant, why }: NewGrant): Promise<void> {
  const body = { user_id: user, duration, permission_grant: grant, justification: why, tags: {} };
  await ask(client.POST("/v1/{organization}/role/temporary_permission_grant/", { params: { path: here() }, body }));
}

/** One line of the form of conditions. */
export interface ConditionLine {
  name: string;
  how: Condition["type"];
  text: string;
}

/** Conditions as they were typed in; values of one of several are separated by commas. */
export function readConditions(lines: ConditionLine[]): Grant["conditions"] {
  const read = (name: string, text: string): string | boolean => (name in SHOWN ? text.trim() === "true" : text.trim());
  return Object.fromEntries(
    lines.map(({ name, how, text }) => [name, how === "In" ? { type: how, values: text.split(",").map((one) => read(name, one)) } : { type: how, value: read(name, text) }] as const),
  );
}
