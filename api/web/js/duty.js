// Who is told of an alert, who of them is on duty now, and every step of how it came to that.

import { fill, h } from "./dom.js";
import { numberText, say, t, term } from "./i18n.js";
import { parseMs, shortText, zoneLabel } from "./time.js";

const LOST_SHOWN = 30;

export class DutyCard {
  constructor(api) {
    this.api = api;
    this.alert = null;
    this.found = null;
    this.list = h("div");
    this.summary = h("summary");
    this.steps = h("div", { class: "steps-body" });
    this.more = h("details", { class: "steps" }, this.summary, this.steps);
    this.node = h("section", { class: "card" }, this.list, this.more);
  }

  show(alert) {
    const other = alert.id !== this.alert?.id;
    const moved = !other && (alert.severity !== this.alert.severity || alert.place?.grid !== this.alert.place?.grid);
    this.alert = alert;
    if (other || moved) {
      this.found = null;
      if (other) this.more.open = false;
      this.load();
    }
    this.render();
  }

  async load() {
    const { id, severity } = this.alert;
    let found;
    try {
      found = await this.api.get(`alerts/${encodeURIComponent(id)}/route`);
    } catch (error) {
      found = { problem: error.message };
    }
    if (this.alert?.id !== id || this.alert.severity !== severity) return;
    this.found = found;
    this.render();
  }

  render() {
    const rows = this.alert.duty ?? [];
    const now = new Map((this.found?.duty ?? []).map((duty) => [duty.unit, duty]));
    const since = [...now.values()].filter((duty) => !duty.told);
    fill(this.list,
      h("h3", null, t("detail.duty")),
      rows.length === 0 ? h("p", { class: "quiet-text" }, t("duty.none")) : h("table", { class: "duty" },
        h("thead", null, h("tr", null, [t("duty.role"), t("duty.unit"), t("duty.why")].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", null, rows.map((duty) => row(duty, now.get(duty.unit)?.on_duty)))),
      since.length > 0 && h("p", { class: "quiet-text" }, t("duty.now_also", { units: since.map((duty) => say(duty.name) || duty.unit).join(" · ") })));
    this.renderSteps();
  }

  renderSteps() {
    fill(this.summary, t("steps.title"));
    this.more.hidden = !this.found;
    if (!this.found) return;
    if (this.found.problem) {
      fill(this.steps, h("p", { class: "quiet-text" }, this.found.problem));
      return;
    }
    const { steps } = this.found;
    const lost = steps.filter((step) => step.outcome === "lost");
    fill(this.steps,
      h("ol", { class: "step-list" }, steps.filter((step) => step.outcome !== "lost").map(stepNode)),
      lost.length > 0 && h("h4", null, t("steps.lost", { n: numberText(lost.length) })),
      h("ol", { class: "step-list" }, lost.slice(0, LOST_SHOWN).map(stepNode)));
  }
}

function row(duty, onDuty) {
  return h("tr", { class: duty.role === "lead" ? "is-lead" : "" },
    h("td", null, term("role", duty.role)),
    h("td", null, say(duty.name) || duty.unit, onDuty && whoNow(onDuty)),
    h("td", null, say(duty.why)));
}

/** The person who answers now, with a number to call, until when, and who then. */
function whoNow({ people, desk, until, then }) {
  if (!people.length || (desk && !people.some(({ contact }) => contact))) return null; // a desk without a number is no news
  const names = people.map(({ name, contact }) => [
    say(name), contact && [" ", h("a", { class: "call", href: callable(contact) }, contact)]]);
  const next = until && h("span", { class: "quiet-text" }, " ", t("duty.until", { time: `${shortText(parseMs(until))} ${zoneLabel()}` }),
    then.length > 0 && ` ${t("duty.then", { who: then.map(({ name }) => say(name)).join(", ") })}`);
  return h("div", { class: "on-duty" }, names.map((bits, i) => [i > 0 && ", ", bits]), next);
}

function callable(contact) {
  return /^[+0-9][0-9 -]{4,}$/.test(contact) ? `tel:${contact.replace(/[ -]/g, "")}` : null;
}

function stepNode({ row: name, outcome, why }) {
  return h("li", { class: `step-${outcome}` }, h("span", { class: "step-outcome" }, term("outcome", outcome)), " ",
    h("code", null, name), h("div", { class: "quiet-text" }, say(why)));
}
