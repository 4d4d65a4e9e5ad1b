// What a person can do to an alert: which buttons show, what each asks for, and what the
// page says when someone else was faster.

import { fill, h } from "./dom.js";
import { t, term } from "./i18n.js";
import { isShelved } from "./store.js";
import { nowMs, parseMs, shortText } from "./time.js";

const SHELVE_MINUTES = [15, 30, 60, 120, 480];
const CLOSE_REASONS = ["reason.checked", "reason.works", "reason.false", "reason.sensor", "reason.exercise"];
const SHELVE_REASONS = ["reason.known_works", "reason.maintenance", "reason.flapping"];

// Buttons a role could only be refused are not offered; the server decides all the same.
const ROLES = {
  acknowledge: ["responder", "dispatcher", "operator"], assign: ["dispatcher", "operator"],
  shelve: ["dispatcher", "engineer", "operator"], unshelve: ["dispatcher", "engineer", "operator"],
  close: ["responder", "dispatcher", "operator"], reopen: ["responder", "dispatcher", "operator"],
};

function stateAllows(alert) {
  if (alert.state === "closed") return ["reopen", "comment"];
  const shelved = isShelved(alert, nowMs());
  return [alert.state === "new" && "acknowledge", "assign", "comment", shelved ? "unshelve" : "shelve", "close"]
    .filter(Boolean);
}

/** The actions an alert's state and the person's role allow, in the order of use. */
export function allowedActions(alert, user = null) {
  const may = (action) => !user?.role || !ROLES[action] || ROLES[action].includes(user.role);
  return stateAllows(alert).filter(may);
}

const NEEDS_FORM = new Set(["assign", "comment", "shelve", "close", "reopen"]);

function field(label, control) {
  return h("label", { class: "field" }, h("span", null, label), control);
}

function reasonField(keys) {
  const id = "reasons";
  return [
    field(t("form.reason"), h("input", { name: "reason", required: true, maxLength: 500, autocomplete: "off", list: keys ? id : null })),
    keys && h("datalist", { id }, keys.map((key) => h("option", { value: t(key) }))),
  ];
}

function fields(action, alert, user) {
  if (action === "assign") {
    return field(t("form.assignee"), h("input", {
      name: "assignee", required: true, maxLength: 64, value: alert.assignee ?? user?.name ?? "", autocomplete: "off",
      list: "assignees",
    }));
  }
  if (action === "comment") return field(t("form.comment"), h("textarea", { name: "text", required: true, maxLength: 2000, rows: 3 }));
  if (action === "shelve") {
    return [
      field(t("form.minutes"), h("select", { name: "minutes" }, SHELVE_MINUTES.map((n) => (
        h("option", { value: String(n), selected: n === 30 }, t("form.minutes_n", { n })))))),
      reasonField(SHELVE_REASONS),
    ];
  }
  return [
    reasonField(action === "close" ? CLOSE_REASONS : null),
    action === "close" && alert.condition === "active" && h("label", { class: "check" },
      h("input", { type: "checkbox", name: "force", required: true }), h("span", null, t("form.force"))),
  ];
}

/** A form's values as the request's body. */
export function bodyOf(action, form) {
  const values = Object.fromEntries(new FormData(form));
  if (action === "shelve") return { minutes: Number(values.minutes), reason: values.reason };
  if (action === "close") return { reason: values.reason, ...(values.force ? { force: true } : {}) };
  return values;
}

export class Actions {
  /** `changed(alert)` takes the server's answer; `historyOf(id)` reads the newest history. */
  constructor({ api, root, changed, historyOf }) {
    Object.assign(this, { api, root, changed, historyOf });
    this.buttons = h("div", { class: "action-buttons" });
    this.form = h("form", { class: "action-form", hidden: true });
    this.message = h("p", { class: "action-message", role: "alert", hidden: true });
    fill(root, this.buttons, this.form, this.message);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run(this.open, bodyOf(this.open, this.form));
    });
  }

  /** Show the buttons for this alert; an open form stays open. */
  show(alert) {
    const sameAlert = this.alert?.id === alert.id;
    this.alert = alert;
    const actions = allowedActions(alert, this.api.user);
    if (!sameAlert) this.say("");
    if (!sameAlert || !actions.includes(this.open)) this.closeForm();
    const focused = this.buttons.contains(document.activeElement) ? document.activeElement.dataset.action : null;
    fill(this.buttons, actions.map((action, i) => h("button", {
      type: "button", class: i === 0 ? "primary" : "", disabled: Boolean(this.busy), dataset: { action },
      "aria-expanded": NEEDS_FORM.has(action) ? String(this.open === action) : null,
      "aria-keyshortcuts": action === "acknowledge" ? "a" : null,
      onclick: () => this.start(action),
    }, t(`action.${action}`))));
    if (focused) (this.buttons.querySelector(`[data-action="${focused}"]`) ?? this.buttons.firstElementChild)?.focus();
  }

  start(action) {
    if (this.busy || !allowedActions(this.alert, this.api.user).includes(action)) return;
    if (!NEEDS_FORM.has(action)) {
      this.run(action, {});
      return;
    }
    if (this.open === action) {
      this.closeForm();
      this.show(this.alert);
      return;
    }
    this.open = action;
    fill(this.form, fields(action, this.alert, this.api.user), h("div", { class: "form-buttons" },
      h("button", { type: "submit", class: "primary" }, t(`action.${action}`)),
      h("button", { type: "button", onclick: () => { this.closeForm(); this.show(this.alert); } }, t("form.cancel"))));
    this.form.hidden = false;
    if (action === "assign") this.offerNames();
    this.say("");
    this.show(this.alert);
    this.form.querySelector("input, textarea, select")?.focus();
  }

  /** Names to assign to, for accounts that may see them; others type. */
  async offerNames() {
    const names = h("datalist", { id: "assignees" });
    this.form.append(names);
    const users = await this.api.all("users").catch(() => []);
    fill(names, users.map((user) => h("option", { value: user.name }, term("account", user.role))));
  }

  closeForm() {
    this.open = null;
    this.form.hidden = true;
    this.form.replaceChildren();
  }

  say(text, kind = "") {
    this.message.hidden = !text;
    this.message.className = `action-message ${kind}`;
    this.message.textContent = text;
  }

  async run(action, body) {
    const alert = this.alert;
    this.busy = true;
    this.show(alert);
    try {
      const answer = await this.api.act(alert, action, body);
      if (this.alert.id === alert.id) {
        this.closeForm();
        this.say("");
      }
      this.changed(answer.alert ?? answer);
    } catch (error) {
      await this.explain(alert, error);
    } finally {
      this.busy = false;
      this.show(this.alert);
    }
  }

  async explain(alert, error) {
    if (error.status === 409 && error.current) {
      this.changed(error.current);
      const last = (await this.historyOf(alert.id).catch(() => [])).at(-1);
      if (this.alert.id !== alert.id) return;
      this.say(last
        ? t("conflict.by", {
          who: last.actor === "detector" ? t("actor.detector") : last.actor,
          what: term("change", last.change), time: shortText(parseMs(last.at)),
        })
        : t("conflict.unknown"), "is-conflict");
      return;
    }
    if (this.alert.id !== alert.id) return;
    const text = error.status === 403 ? t("error.not_allowed", { reason: error.message })
      : error.status === 0 ? t("error.unreachable") : t("error.refused", { reason: error.message });
    this.say(text, "is-error");
  }
}
