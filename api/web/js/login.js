// Signing in: a name and a password, or the one-time ticket of a login link.

import { fill, h } from "./dom.js";
import { t } from "./i18n.js";

/** The ticket of `#login=…`, taken out of the address bar and the history at once. */
export function ticketFromAddress() {
  const match = /^#login=([^&]+)/.exec(location.hash);
  if (!match) return null;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return match[1];
  }
}

export class Login extends EventTarget {
  /** Fires `signedin`. */
  constructor({ root, api }) {
    super();
    Object.assign(this, { root, api, note: "" });
  }

  /** `note` is a dictionary key that says why the person is here. */
  show(note = "") {
    this.note = note;
    this.root.hidden = false;
    this.render();
    this.root.querySelector("input").focus();
  }

  hide() {
    this.root.hidden = true;
    this.root.replaceChildren();
  }

  render() {
    const before = Object.fromEntries(new FormData(this.root.querySelector("form") ?? undefined));
    this.message = h("p", { class: "login-message", role: "alert" }, this.note ? t(this.note) : "");
    const form = h("form", { class: "login-card", method: "post" },
      h("h2", null, t("login.title")),
      h("p", { class: "quiet-text" }, t("login.sub")),
      h("label", { class: "field" }, h("span", null, t("login.username")), h("input", {
        name: "username", required: true, autocomplete: "username", autocapitalize: "none", spellcheck: "false",
        value: before.username ?? "",
      })),
      h("label", { class: "field" }, h("span", null, t("login.password")), h("input", {
        name: "password", type: "password", required: true, autocomplete: "current-password", value: before.password ?? "",
      })),
      this.message,
      h("button", { type: "submit", class: "primary" }, t("login.submit")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(Object.fromEntries(new FormData(form)));
    });
    fill(this.root, form);
  }

  /** Try credentials; true when signed in. */
  async send(credentials) {
    const button = this.root.querySelector("button[type=submit]");
    if (button) button.disabled = true;
    try {
      await this.api.signIn(credentials);
      this.hide();
      this.dispatchEvent(new Event("signedin"));
      return true;
    } catch (error) {
      const wrong = credentials.ticket ? "login.ticket_used" : "login.wrong";
      const note = error.status === 401 || error.status === 403 ? wrong
        : error.status === 429 ? "login.slow_down" : error.status === 0 ? "error.unreachable" : "";
      if (this.root.hidden) this.show(note);
      this.message.textContent = note ? t(note) : t("error.refused", { reason: error.message });
      this.root.querySelector("input[name=password]")?.select();
      return false;
    } finally {
      if (button) button.disabled = false;
    }
  }
}
