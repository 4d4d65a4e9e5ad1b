// The list of open alerts: a listbox with roving tabindex. Rows keep their nodes, so new
// alerts neither steal the focus nor move what the person is reading (scroll anchoring).

import { fill, h, reconcile } from "./dom.js";
import { say, t, term } from "./i18n.js";
import { classOf, incidentRow, signatureOf } from "./incidents.js";
import { NUMERALS, severityMark } from "./severity.js";
import { isShelved, leadOf } from "./store.js";
import { ageParts, clockText, dateTimeText, nowMs, parseMs, zoneLabel } from "./time.js";

const ROWS_AT_FIRST = 300;

export function ageText(ms) {
  return t(...ageParts(nowMs() - ms));
}

/** A `time` element that ticks: `tickAges` renews its text. */
export function ageNode(iso, className = "age") {
  const ms = parseMs(iso);
  return h("time", {
    class: className, datetime: iso, title: `${dateTimeText(ms)} ${zoneLabel()}`, dataset: { since: String(ms) },
  }, ageText(ms));
}

export function tickAges(root = document) {
  for (const node of root.querySelectorAll("time[data-since]")) {
    const text = ageText(Number(node.dataset.since));
    if (node.textContent !== text) node.textContent = text;
  }
}

/** Where it is in one line: the address, else the smallest known territory. */
export function placeLine(alert) {
  const place = alert.place ?? {};
  return place.address || place.names?.village || place.names?.town || t("place.unknown");
}

export function territoryLine(alert, townName) {
  const place = alert.place ?? {};
  if (!place.town) return t("place.city_desk");
  const names = [townName(place.town) || place.names?.town, place.names?.village].filter(Boolean);
  return place.grid ? [...names, `${t("place.grid")} ${place.grid.slice(-3)}`].join(" · ") : names.join(" · ");
}

/** Chips that say in words what is unusual about an alert. */
export function chips(alert) {
  const shelved = isShelved(alert, nowMs());
  return [
    h("span", { class: `chip state-${alert.state}` }, term("state", alert.state)),
    h("span", { class: `chip condition-${alert.condition}` }, term("condition", alert.condition)),
    shelved && h("span", { class: "chip chip-shelved" },
      t("chip.shelved", { time: clockText(Date.parse(alert.shelved_until)).slice(0, 5) })),
    alert.late && h("span", { class: "chip chip-late", title: t("chip.late_title") }, t("chip.late")),
    alert.exercise && h("span", { class: "chip chip-exercise" }, t("chip.exercise")),
    alert.count > 1 && h("span", { class: "chip" }, t("chip.count", { n: alert.count })),
  ];
}

export class AlertList extends EventTarget {
  /** `townName(code)` gives a town's name in the page's language; `isUnfolded(id)` of an incident. */
  constructor({ list, empty, more, fresh, scroller, townName, isUnfolded = () => false }) {
    super();
    Object.assign(this, { list, empty, more, fresh, scroller, townName, isUnfolded });
    this.rows = [];
    this.limit = ROWS_AT_FIRST;
    this.focusId = null;
    this.selectedId = null;
    this.freshIds = new Set();
    list.addEventListener("click", (event) => {
      const row = event.target.closest("[data-key]");
      if (!row) return;
      this.setFocus(row.dataset.key);
      this.open(row.dataset.key);
    });
    more.addEventListener("click", () => {
      this.limit += 1000;
      this.render(this.rows, this.note);
    });
    fresh.addEventListener("click", () => this.jumpToFresh());
    scroller.addEventListener("scroll", () => this.noticeSeen(), { passive: true });
  }

  /** Draw `rows` (already filtered and sorted); `note` explains an empty list. */
  render(rows, note) {
    this.rows = rows;
    this.note = note;
    const shown = rows.slice(0, this.limit);
    if (!shown.some((alert) => alert.id === this.focusId)) this.focusId = shown[0]?.id ?? null;
    reconcile(this.list, shown, (alert) => alert.id, () => this.createRow(), (row, alert) => this.updateRow(row, alert));
    this.list.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    this.empty.textContent = note;
    this.more.hidden = rows.length <= this.limit;
    this.more.textContent = t("list.more", { n: rows.length - shown.length });
    for (const id of this.freshIds) if (!shown.some((alert) => alert.id === id)) this.freshIds.delete(id);
    this.noticeSeen();
  }

  createRow() {
    return h("li", { class: "row", role: "option" });
  }

  updateRow(row, alert) {
    row.tabIndex = alert.id === this.focusId ? 0 : -1;
    row.setAttribute("aria-selected", String(alert.id === this.selectedId));
    if (alert.incident) {
      this.updateIncident(row, alert);
      return;
    }
    const signature = `${alert.cursor}/${alert.version}/${document.documentElement.lang}/${isShelved(alert, nowMs())}`
      + `/${this.townName(alert.place?.town) ?? ""}/${alert.folded ?? ""}`;
    if (row.dataset.signature === signature) return;
    row.dataset.signature = signature;
    row.className = `row severity-${alert.severity} is-${alert.state} condition-is-${alert.condition}`
      + (isShelved(alert, nowMs()) ? " is-shelved" : "") + (alert.folded ? " row-member" : "");
    const lead = leadOf(alert);
    const cleared = alert.condition === "cleared";
    fill(row,
      severityMark(alert.severity, { cleared, label: `${t("severity.label")} ${NUMERALS[alert.severity]}` }),
      h("div", { class: "row-body" },
        h("div", { class: "row-top" },
          h("span", { class: "row-title" }, say(alert.title) || alert.kind),
          ageNode(alert.started_at)),
        h("div", { class: "row-address" }, placeLine(alert)),
        h("div", { class: "row-territory" }, territoryLine(alert, this.townName)),
        h("div", { class: "row-chips" }, chips(alert),
          h("span", { class: "row-lead" }, lead
            ? t(alert.assignee ? "row.assignee" : "row.lead", { who: alert.assignee || say(lead.name) || lead.unit })
            : alert.assignee ? t("row.assignee", { who: alert.assignee }) : t("row.no_lead")))));
  }

  /** A row that stands for an incident and all its alerts. */
  updateIncident(row, entry) {
    const unfolded = this.isUnfolded(entry.incident.id);
    const signature = signatureOf(entry, unfolded);
    if (row.dataset.signature === signature) return;
    row.dataset.signature = signature;
    row.className = classOf(entry);
    fill(row, incidentRow(entry, unfolded));
  }

  select(id) {
    this.selectedId = id;
    if (id) this.setFocus(id, { take: false });
    for (const row of this.list.children) row.setAttribute("aria-selected", String(row.dataset.key === id));
  }

  /** Move the roving tabindex; `take` also moves the keyboard focus there. */
  setFocus(id, { take = true } = {}) {
    this.focusId = id;
    for (const row of this.list.children) {
      const mine = row.dataset.key === id;
      row.tabIndex = mine ? 0 : -1;
      if (mine && take) {
        row.focus({ preventScroll: true });
        row.scrollIntoView({ block: "nearest" });
      }
    }
  }

  /** Step by `delta` rows with the keyboard. */
  move(delta) {
    const rows = this.rows.slice(0, this.limit);
    if (!rows.length) return;
    const at = rows.findIndex((alert) => alert.id === this.focusId);
    const inList = this.list.contains(document.activeElement);
    const next = !inList && at === 0 && delta > 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + delta));
    this.setFocus(rows[next].id);
  }

  open(id) {
    if (id) this.dispatchEvent(new CustomEvent("open", { detail: id }));
  }

  /** Remember that an alert is new; a button offers the way to those out of sight. */
  announce(id) {
    this.freshIds.add(id);
    this.noticeSeen();
    const row = [...this.list.children].find((node) => node.dataset.key === id);
    row?.classList.add("is-fresh");
    setTimeout(() => row?.classList.remove("is-fresh"), 6000);
  }

  noticeSeen() {
    const box = this.scroller.getBoundingClientRect();
    if (box.height) {
      for (const row of this.list.children) {
        if (!this.freshIds.has(row.dataset.key)) continue;
        const place = row.getBoundingClientRect();
        if (place.top >= box.top - 8 && place.bottom <= box.bottom + 8) this.freshIds.delete(row.dataset.key);
      }
    }
    this.fresh.hidden = this.freshIds.size === 0;
    this.fresh.textContent = t("list.fresh", { n: this.freshIds.size });
  }

  jumpToFresh() {
    const id = [...this.freshIds].pop();
    const row = [...this.list.children].find((node) => node.dataset.key === id);
    if (!row) return;
    row.scrollIntoView({ block: "center" });
    this.setFocus(id);
    this.freshIds.clear();
    this.noticeSeen();
  }
}

