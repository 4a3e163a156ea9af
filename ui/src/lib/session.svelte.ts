/** Who is signed in. The token stays in this tab: in sessionStorage, in no cookie, and in no address for long. */

const TOKEN = "tertulia.token";
const ORGANIZATION = "tertulia.organization";

export interface Claims {
  organization: string;
  user: string;
  expiresAt: number; // milliseconds since 1970
}

export function readClaims(token: string): Claims | null {
  try {
    const part = token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/");
    const { sub, org, exp } = JSON.parse(atob(part)) as { sub: unknown; org: unknown; exp: unknown };
    if (typeof sub !== "string" || typeof org !== "string" || typeof exp !== "number") return null;
    return { organization: org, user: sub, expiresAt: exp * 1000 };
  } catch {
    return null;
  }
}

class Session {
  token = $state<string | null>(null);
  claims = $derived(this.token === null ? null : readClaims(this.token));
  notice = $state(""); // why the form is shown
  #clock = 0;

  /** Take the token of this tab, or of the address, once. */
  begin(): void {
    const kept = sessionStorage.getItem(TOKEN);
    if (kept !== null) this.keep(kept);
    this.#takeGiven();
    window.addEventListener("hashchange", () => this.#takeGiven());
  }

  #takeGiven(): void {
    const given = /^#token=([^&]+)/.exec(location.hash)?.[1];
    if (given === undefined) return;
    history.replaceState(null, "", location.pathname + location.search);
    if (this.#mayTake(given)) this.keep(given);
  }

  /** Anybody can send a link with a token of their own: nobody who is signed in becomes another user without a yes. */
  #mayTake(token: string): boolean {
    const [now, then] = [this.claims, readClaims(token)];
    if (now === null || now.expiresAt < Date.now()) return true;
    if (then === null) return false;
    if (now.organization === then.organization && now.user === then.user) return true;
    return window.confirm(
      `This link signs you in as the user ${then.user} of ${then.organization}. You are signed in as ${now.user} of ${now.organization}. Go on as ${then.user}?`,
    );
  }

  /** Keep a token. Returns false if it is none. */
  keep(token: string): boolean {
    const claims = readClaims(token);
    if (claims === null) {
      this.notice = "That is not a token.";
      return false;
    }
    this.token = token;
    this.notice = "";
    sessionStorage.setItem(TOKEN, token);
    localStorage.setItem(ORGANIZATION, claims.organization);
    this.#endLater(claims.expiresAt - Date.now());
    return true;
  }

  /** End with the token. If this machine's clock says that it is over already, the server decides: clocks differ. */
  #endLater(ms: number): void {
    clearTimeout(this.#clock);
    if (ms > 0) this.#clock = window.setTimeout(() => this.end("You were signed out: the token has expired."), Math.min(ms, 2 ** 31 - 1));
  }

  end(notice = ""): void {
    clearTimeout(this.#clock);
    if (notice) sessionStorage.removeItem(TOKEN);
    else sessionStorage.clear(); // who signs out leaves nothing of a turn that runs
    this.token = null;
    this.notice = notice;
  }

  get lastOrganization(): string {
    return localStorage.getItem(ORGANIZATION) ?? "demo";
  }

  /** Sign in by an API key, as a user. */
  async signIn(organization: string, keyId: string, key: string, user: string): Promise<void> {
    const answer = await fetch(`/v1/${encodeURIComponent(organization)}/user/signin_with_api_key`, {
      method: "POST",
      headers: { "x-api-key": key, "x-api-key-id": keyId, "x-user-id": user },
    });
    const body = (await answer.json().catch(() => ({}))) as { id_token?: string; detail?: unknown; message?: string };
    if (!answer.ok || body.id_token === undefined) {
      throw new Error(body.message ?? (typeof body.detail === "string" ? body.detail : `The server answered ${answer.status}.`));
    }
    this.keep(body.id_token);
  }
}

export const session = new Session();
