/** The table of pages: an address, a component that is loaded when it is opened, and its place in the rail. */

import type { Component } from "svelte";
import type { IconName } from "../parts/icons";

export interface Page {
  path: RegExp; // its groups become the component's `id` and `version`
  load: () => Promise<{ default: Component<{ id: string; version: string }> }>;
  rail?: { name: string; to: string; icon: IconName };
  title: string;
}

export const PAGES: Page[] = [
  {
    path: /^\/(?:talk\/([0-9a-f]{24}))?$/,
    load: () => import("../pages/Playground.svelte"),
    rail: { name: "Playground", to: "/", icon: "chat" },
    title: "Playground",
  },
  {
    path: /^\/conversations\/?$/,
    load: () => import("../pages/Conversations.svelte"),
    rail: { name: "Conversations", to: "/conversations", icon: "list" },
    title: "Conversations",
  },
  { path: /^\/conversations\/([0-9a-f]{24})$/, load: () => import("../pages/Conversation.svelte"), title: "Conversation" },
  {
    path: /^\/settings\/?$/,
    load: () => import("../pages/Settings.svelte"),
    rail: { name: "Settings", to: "/settings", icon: "settings" },
    title: "Settings",
  },
];

export function find(path: string): { page: Page; id: string; version: string } | null {
  for (const page of PAGES) {
    const match = page.path.exec(path);
    if (match) return { page, id: match[1] ?? "", version: match[2] ?? "" };
  }
  return null;
}
