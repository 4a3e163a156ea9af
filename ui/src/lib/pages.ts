/** The table of pages: an address, a component that is loaded when it is opened, and its place in the rail. */

import type { Component } from "svelte";
import type { IconName } from "../parts/icons";

export interface Page {
  path: RegExp; // its groups become the component's `id` and `version`
  load: () => Promise<{ default: Component<{ id: string; version: string }> }>;
  rail?: { name: string; to: string; icon: IconName; manage?: boolean }; // `manage`: for administrators
  title: string;
  group?: { of: string; to: string; name: string; needs?: string }; // links above pages that belong together; `of` is one of the rail
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
    group: { of: "/conversations", to: "/conversations", name: "All" },
  },
  { path: /^\/conversations\/running\/?$/, load: () => import("../pages/RunningNow.svelte"), title: "Running now", group: { of: "/conversations", to: "/conversations/running", name: "Running now" } },
  { path: /^\/feedback\/?$/, load: () => import("../pages/Feedback.svelte"), title: "Feedback", group: { of: "/conversations", to: "/feedback", name: "Feedback" } },
  { path: /^\/conversations\/([0-9a-f]{24})$/, load: () => import("../pages/Conversation.svelte"), title: "Conversation" },
  { path: /^\/services\/?$/, load: () => import("../pages/Services.svelte"), rail: { name: "Services", to: "/services", icon: "service", manage: true }, title: "Services" },
  { path: /^\/agents\/?$/, load: () => import("../pages/Agents.svelte"), rail: { name: "Agents", to: "/agents", icon: "agent", manage: true }, title: "Agents" },
  { path: /^\/agents\/([0-9a-f]{24})$/, load: () => import("../pages/Agent.svelte"), title: "Agent" },
  { path: /^\/graphs\/?$/, load: () => import("../pages/Graphs.svelte"), rail: { name: "Graphs", to: "/graphs", icon: "graph", manage: true }, title: "Graphs" },
  { path: /^\/graphs\/([0-9a-f]{24})$/, load: () => import("../pages/Graph.svelte"), title: "Graph" },
  { path: /^\/behaviors\/?$/, load: () => import("../pages/Behaviors.svelte"), rail: { name: "Behaviours", to: "/behaviors", icon: "spark", manage: true }, title: "Behaviours" },
  { path: /^\/behaviors\/([0-9a-f]{24})$/, load: () => import("../pages/Behavior.svelte"), title: "Behaviour" },
  { path: /^\/tools\/?$/, load: () => import("../pages/Tools.svelte"), rail: { name: "Tools", to: "/tools", icon: "tool", manage: true }, title: "Tools" },
  { path: /^\/tools\/([0-9a-f]{24})$/, load: () => import("../pages/Tool.svelte"), title: "Tool" },
  { path: /^\/users\/?$/, load: () => import("../pages/Users.svelte"), rail: { name: "Users", to: "/users", icon: "users", manage: true }, title: "Users", group: { of: "/users", to: "/users", name: "Users" } },
  { path: /^\/roles\/?$/, load: () => import("../pages/Roles.svelte"), title: "Roles", group: { of: "/users", to: "/roles", name: "Roles" } },
  { path: /^\/grants\/?$/, load: () => import("../pages/Grants.svelte"), title: "Temporary grants", group: { of: "/users", to: "/grants", name: "Temporary grants", needs: "Role:GetTemporaryPermissionGrant" } },
  { path: /^\/access\/?$/, load: () => import("../pages/Access.svelte"), title: "What a user may do", group: { of: "/users", to: "/access", name: "What a user may do", needs: "Role:GetRole" } },
  { path: /^\/audit\/?$/, load: () => import("../pages/Audit.svelte"), title: "Audit log", group: { of: "/users", to: "/audit", name: "Audit log" } },
  { path: /^\/users\/([0-9a-f]{24})$/, load: () => import("../pages/UserPage.svelte"), title: "User" },
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

/** The links of the pages that belong to one of the rail. */
export function grouped(of: string): NonNullable<Page["group"]>[] {
  return PAGES.flatMap(({ group }) => (group?.of === of ? [group] : []));
}

/** The pages in the rail, for somebody who manages the organization or not. */
export function inRail(manages: boolean): NonNullable<Page["rail"]>[] {
  return PAGES.flatMap(({ rail }) => (rail && (manages || !rail.manage) ? [rail] : []));
}
