// The list's filter: severity, state, town, words. It never hides without saying how much.

import { byId, fill, h } from "./dom.js";
import { t, term } from "./i18n.js";
import { NUMERALS, SEVERITIES, severityMark } from "./severity.js";

const STATES = ["", "new", "acknowledged", "assigned", "shelved", "closed"];

export class Filters extends EventTarget {
  /** Fires `change`. */
  constructor(towns) {
    super();
    this.towns = towns;
    this.value = { severities: new Set(), state: "", town: "", text: "" };
    byId("search").addEventListener("input", (event) => this.set({ text: event.target.value }));
    byId("state-filter").addEventListener("change", (event) => this.set({ state: event.target.value }));
    byId("town-filter").addEventListener("change", (event) => this.set({ town: event.target.value }));
    byId("clear-filter").addEventListener("click", () => {
      byId("search").value = "";
      this.set({ severities: new Set(), state: "", town: "", text: "" });
    });
  }

  get active() {
    const { severities, state, town, text } = this.value;
    return Boolean(severities.size || state || town || text.trim());
  }

  set(part) {
    Object.assign(this.value, part);
    this.dispatchEvent(new Event("change"));
  }

  toggleSeverity(level) {
    const severities = new Set(this.value.severities);
    if (!severities.delete(level)) severities.add(level);
    this.set({ severities });
  }

  /** The choices, in the page's language. */
  relabel() {
    fill(byId("state-filter"), STATES.map((state) => h("option", { value: state }, t(`filter.state_${state || "open"}`))));
    fill(byId("town-filter"), h("option", { value: "" }, t("filter.all_towns")),
      [...this.towns.rows].sort((a, b) => a.code.localeCompare(b.code)).map((town) => (
        h("option", { value: town.code }, this.towns.name(town.code)))));
    byId("state-filter").value = this.value.state;
    byId("town-filter").value = this.value.town;
    fill(byId("severity-filter"), SEVERITIES.map((level) => h("button", {
      type: "button", class: "severity-chip", dataset: { level: String(level) }, onclick: () => this.toggleSeverity(level),
    }, severityMark(level, { size: 20 }), h("span", { class: "offscreen" },
      t("filter.severity_named", { numeral: NUMERALS[level], name: term("severity", level) })),
    h("span", { class: "severity-count" }, "0"))));
  }

  /**
   * Counts on the severity buttons, and what the filter leaves out. `open` counts the list's rows as
   * `IncidentStore.count` does, `shown` those that pass the filter, `alerts` the alerts in all rows.
   */
  render({ open, shown, alerts }) {
    const counts = open.severities;
    for (const button of byId("severity-filter").children) {
      const level = Number(button.dataset.level);
      button.setAttribute("aria-pressed", String(this.value.severities.has(level)));
      button.classList.toggle("is-none", !counts[level]);
      button.lastElementChild.textContent = String(counts[level]);
    }
    byId("state-filter").value = this.value.state;
    byId("town-filter").value = this.value.town;
    byId("clear-filter").hidden = !this.active;
    byId("summary").textContent = this.value.state === "closed" ? t("summary.closed", { n: shown })
      : this.active ? t("summary.filtered", { shown, open: open.rows })
        : t("summary.open", { open: open.rows, waiting: open.waiting })
          + (alerts > open.rows ? t("summary.folded", { alerts }) : "");
  }
}
