// HTTP under /api/v1. One verb, one error type; the token lives for this browser tab only.

import { learnServerClock } from "./time.js";

const STORED = "gridpulse.session";
const TIMEOUT_MS = 15_000;
const BASE = new URL("api/v1/", document.baseURI);

/** What the server refused: `status` (0 = not reached), and its problem document. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.title || (status ? `HTTP ${status}` : "unreachable"));
    this.status = status;
    this.problem = problem ?? {};
  }

  /** The current alert of a 409. */
  get current() {
    return this.problem.current ?? this.problem.alert ?? null;
  }
}

export class Api extends EventTarget {
  constructor() {
    super();
    this.session = null;
    try {
      this.session = JSON.parse(sessionStorage.getItem(STORED) ?? "null");
    } catch {
      sessionStorage.removeItem(STORED);
    }
  }

  get signedIn() {
    return Boolean(this.session?.token);
  }

  get user() {
    return this.session?.user ?? null;
  }

  async request(method, path, { query, body } = {}) {
    const url = new URL(path, BASE);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
    }
    const headers = { Accept: "application/json" };
    const token = this.session?.token;
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const sentMs = Date.now();
    let answer;
    try {
      answer = await fetch(url, {
        method, headers, body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store", credentials: "same-origin",
      });
    } catch (cause) {
      throw new ApiError(0, { title: String(cause?.message ?? cause) });
    }
    learnServerClock(answer.headers.get("Date"), sentMs, Date.now());
    const content = answer.status === 204 ? null : await answer.json().catch(() => null);
    if (answer.ok) return content;
    if (answer.status === 401 && token && token === this.session?.token) this.forget("expired");
    throw new ApiError(answer.status, content);
  }

  get(path, query) {
    return this.request("GET", path, { query });
  }

  /** A file that needs the token. */
  async blob(path, withinMs = TIMEOUT_MS) {
    const answer = await fetch(new URL(path, BASE), {
      headers: { Authorization: `Bearer ${this.session?.token ?? ""}` },
      signal: AbortSignal.timeout(withinMs), credentials: "same-origin",
    });
    if (!answer.ok) throw new ApiError(answer.status, await answer.json().catch(() => null));
    return answer.blob();
  }

  /** All items of a list, page after page, up to `most`. */
  async all(path, query, most = 5000) {
    const items = [];
    let cursor = null;
    do {
      const page = await this.get(path, { ...query, limit: 1000, cursor });
      items.push(...(page.items ?? page.features ?? []));
      cursor = page.next ?? null;
    } while (cursor !== null && items.length < most);
    return items;
  }

  /** Sign in with `{username, password}` or `{ticket}`. */
  async signIn(credentials) {
    this.session = null;
    const answer = await this.request("POST", "session", { body: credentials });
    this.session = { token: answer.token, expires_at: answer.expires_at, user: answer.user ?? null };
    if (!this.session.user) {
      const known = await this.get("session").catch(() => null);
      this.session.user = known?.user ?? known ?? { name: credentials.username ?? "" };
    }
    sessionStorage.setItem(STORED, JSON.stringify(this.session));
    return this.session;
  }

  async signOut() {
    await this.request("DELETE", "session").catch(() => null);
    this.forget("asked");
  }

  /** Drop the session; `signedout` carries why (asked, expired). */
  forget(reason) {
    if (!this.session) return;
    this.session = null;
    sessionStorage.removeItem(STORED);
    this.dispatchEvent(new CustomEvent("signedout", { detail: { reason } }));
  }

  liveTicket() {
    return this.request("POST", "live-ticket", { body: {} });
  }

  act(alert, action, details = {}) {
    const path = `alerts/${encodeURIComponent(alert.id)}/${action}`;
    return this.request("POST", path, { body: { version: alert.version, ...details } });
  }
}

/** The address of the live feed next to the API. */
export function liveUrl() {
  const url = new URL("live", BASE);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}
