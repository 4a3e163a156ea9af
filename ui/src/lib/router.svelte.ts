/** Addresses: every view is a path below /ui/, and its filters are the query. */

const BASE = "/ui";

/** A path in words; one that is not UTF-8 stays as it is, and leads nowhere. */
function decoded(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}

class Router {
  path = $state("/");
  query = $state(new URLSearchParams());

  begin(): void {
    this.#read();
    window.addEventListener("popstate", () => this.#read());
    document.addEventListener("click", (event) => this.#follow(event));
  }

  #read(): void {
    this.path = decoded(location.pathname.slice(BASE.length)) || "/";
    this.query = new URLSearchParams(location.search);
  }

  /** Follow links below /ui/ without loading the page again; clicks with a modifier are the browser's. */
  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element).closest<HTMLAnchorElement>("a[href]");
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (!link.pathname.startsWith(`${BASE}/`)) return;
    event.preventDefault();
    this.go(link.pathname.slice(BASE.length) + link.search);
  }

  go(to: string, replace = false): void {
    const address = BASE + to;
    if (address !== location.pathname + location.search) {
      if (replace) history.replaceState(null, "", address);
      else history.pushState(null, "", address);
    }
    const before = this.path;
    this.#read();
    if (this.path !== before) document.getElementById("main")?.scrollTo(0, 0);
  }

  /** Change the query of this view, without a new entry in the history; empty values are left out. */
  filter(changes: Record<string, string | null>): void {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    this.go(this.path + (text && `?${text}`), true);
  }
}

export const router = new Router();

/** The address of a view, for a link. */
export function to(path: string, query: Record<string, string> = {}): string {
  const text = new URLSearchParams(query).toString();
  return BASE + path + (text && `?${text}`);
}
