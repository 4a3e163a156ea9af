/** Who is signed in. The token stays in this tab: in sessionStorage, in no cookie, and in no address for long. */

const TOKEN = "tertulia.token";
const ORGANIZATION = "tertulia.organization";
const BEGUN = "tertulia.signing-in"; // what is kept while the person is at their identity provider
const RETURN = "/ui/sign-in"; // the address that a provider leads back to

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

interface SignedIn {
  id_token: string;
}

interface Begun {
  organization: string;
  state: string;
  sealed: string;
}

async function post<T>(organization: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<T> {
  const answer = await fetch(`/v1/${encodeURIComponent(organization)}/user/${path}`, {
    method: "POST",
    headers: body ? { ...headers, "Content-Type": "application/json" } : headers,
    body: body && JSON.stringify(body),
  });
  const found = (await answer.json().catch(() => ({}))) as { detail?: unknown; message?: string };
  if (!answer.ok) throw new Error(found.message ?? (typeof found.detail === "string" ? found.detail : `The server answered ${answer.status}.`));
  return found as T;
}

class Session {
  token = $state<string | null>(null);
  claims = $derived(this.token === null ? null : readClaims(this.token));
  notice = $state(""); // why the form is shown
  returning = $state(false); // the provider has led back, and the server is asked
  #clock = 0;

  /** Take the token of this tab, or of the address, once. */
  begin(): void {
    const kept = sessionStorage.getItem(TOKEN);
    if (kept !== null) this.keep(kept);
    this.#takeGiven();
    void this.#comeBack();
    window.addEventListener("hashchange", () => this.#takeGiven());
  }

  #takeGiven(): void {
    const given = /^#token=([^&]+)/.exec(location.hash)?.[1];
    if (given === undefined) return;
    history.replaceState(null, "", location.pathname + location.search);
    if (this.#mayTake(given)) this.keep(given);
  }

  /** Find the name of an organization's identity provider; "" if the form has no button for one. */
  async findProvider(organization: string): Promise<string> {
    const answer = await fetch(`/v1/${encodeURIComponent(organization)}/user/signin_with_oidc`).catch(() => null);
    if (!answer?.ok) return "";
    return ((await answer.json()) as { name: string | null }).name ?? "";
  }

  /** Lead to the identity provider of an organization. */
  async leave(organization: string): Promise<void> {
    const begun = await post<{ authorization_url: string; state: string; sealed: string }>(organization, "signin_with_oidc");
    sessionStorage.setItem(BEGUN, JSON.stringify({ organization, state: begun.state, sealed: begun.sealed } satisfies Begun));
    location.assign(begun.authorization_url);
  }

  /** Go on with a sign-in when the provider has led back; only with one that this tab has begun. */
  async #comeBack(): Promise<void> {
    if (location.pathname !== RETURN) return;
    const given = new URLSearchParams(location.search);
    history.replaceState(null, "", "/ui/");
    const state = given.get("state");
    if (state === null) return;
    const begun = JSON.parse(sessionStorage.getItem(BEGUN) ?? "null") as Begun | null;
    sessionStorage.removeItem(BEGUN);
    const code = given.get("code");
    if (begun?.state !== state) this.notice = "This tab has not begun this sign-in. Begin anew.";
    else if (code === null) this.notice = "The identity provider has not signed you in.";
    else await this.#trade(begun, code);
  }

  async #trade(begun: Begun, code: string): Promise<void> {
    this.returning = true;
    try {
      const { organization, state, sealed } = begun;
      this.keep((await post<SignedIn>(organization, "signin_with_oidc_code", { code, state, sealed })).id_token);
    } catch (error) {
      this.notice = error instanceof TypeError ? "The server cannot be reached. Is it running?" : (error as Error).message;
    } finally {
      this.returning = false;
    }
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
    const headers = { "x-api-key": key, "x-api-key-id": keyId, "x-user-id": user };
    this.keep((await post<SignedIn>(organization, "signin_with_api_key", undefined, headers)).id_token);
  }
}

export const session = new Session();
