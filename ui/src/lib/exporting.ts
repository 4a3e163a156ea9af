/** Conversations and messages as files of JSON Lines, of as many pages of the API as there are. */

import { ask, client, here, patiently, type Conversation, type Message } from "./api";

export interface Filters {
  service: string;
  user: string;
  state: string;
  tag: string;
  test: string;
  set: string;
}

/** The query of the API for the filters of a page. */
export function asQuery(filters: Filters): { service_id?: string[]; user_id?: string[]; is_finished?: boolean; tag?: string[]; is_test?: boolean; version_set_name?: string[] } {
  return {
    ...(filters.service && { service_id: [filters.service] }),
    ...(filters.user && { user_id: [filters.user] }),
    ...(filters.state && { is_finished: filters.state === "finished" }),
    ...(filters.tag && { tag: [filters.tag.includes(":") ? filters.tag : `${filters.tag}:*`] }),
    ...(filters.test && { is_test: filters.test === "only" }),
    ...(filters.set && { version_set_name: [filters.set] }),
  };
}

interface Page<T> {
  rows: T[];
  next: number | null;
}

/** Read page after page. */
async function lines<T>(page: (token: number) => Promise<Page<T>>, came: (count: number) => void): Promise<string[]> {
  const found: string[] = [];
  let token: number | null = 0;
  while (token !== null) {
    const at: number = token;
    const got: Page<T> = await patiently(() => page(at));
    found.push(...got.rows.map((row) => `${JSON.stringify(row)}\n`));
    token = got.next;
    came(found.length);
  }
  return found;
}

function download(name: string, parts: string[]): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type: "application/jsonl" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Save a line for each conversation that the filters let through; those that begin meanwhile may be missing. */
export async function exportConversations(filters: Filters, came: (count: number) => void): Promise<void> {
  const query = asQuery(filters);
  const found = await lines<Conversation>(async (token) => {
    const page = await ask(client.GET("/v1/{organization}/conversation/", { params: { path: here(), query: { ...query, sort_by: ["+created_at"], continuation_token: token } } }));
    return { rows: page.conversations, next: page.has_more ? page.continuation_token : null };
  }, came);
  download("conversations.jsonl", found);
}

/** Save a line for each message of a conversation, the oldest first. */
export async function exportMessages(conversation: string): Promise<void> {
  const found = await lines<Message>(async (token) => {
    const page = await ask(client.GET("/v1/{organization}/conversation/{conversation_id}/messages/", { params: { path: { ...here(), conversation_id: conversation }, query: { sort_by: ["+created_at"], continuation_token: token } } }));
    return { rows: page.messages, next: page.has_more ? page.continuation_token : null };
  }, () => undefined);
  download(`${conversation}.jsonl`, found);
}
