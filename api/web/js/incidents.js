// The row of an incident: one line for all that belongs together, with its reasons when unfolded.

import { h } from "./dom.js";
import { numberText, say, t, term } from "./i18n.js";
import { ageNode } from "./list.js";
import { NUMERALS, severityMark } from "./severity.js";

const SHOWN_CLOCKS = 5;

/** What changes the look of an incident's row. */
export function signatureOf(entry, unfolded) {
  const { incident, members } = entry;
  const states = members.map((alert) => `${alert.id}${alert.state}${alert.condition}`).join();
  return `${incident.version}/${document.documentElement.lang}/${unfolded}/${states}`;
}

export function classOf(entry) {
  const { incident, members } = entry;
  const fresh = members.some((alert) => alert.state === "new");
  return `row row-incident severity-${incident.severity} ${fresh ? "is-new" : "is-seen"} condition-is-${incident.condition}`;
}

/** The children of an incident's row. */
export function incidentRow(entry, unfolded) {
  const { incident, members } = entry;
  const fresh = members.filter((alert) => alert.state === "new").length;
  const cleared = incident.condition === "cleared";
  return [
    severityMark(incident.severity, { cleared, label: `${t("severity.label")} ${NUMERALS[incident.severity]}` }),
    h("div", { class: "row-body" },
      h("div", { class: "row-top" },
        h("span", { class: "row-title" }, say(incident.title)), ageNode(incident.started_at)),
      h("div", { class: "row-address" }, t("incident.size", { devices: numberText(incident.devices), alerts: numberText(members.length) }),
        incident.radius_m > 1 && ` · ${t("incident.radius", { far: farText(incident.radius_m) })}`),
      h("div", { class: "row-chips" },
        h("span", { class: "chip chip-incident" }, term("incident_kind", incident.kind)),
        h("span", { class: `chip condition-${incident.condition}` }, term("condition", incident.condition)),
        fresh > 0 && h("span", { class: "chip state-new" }, t("incident.waiting", { n: fresh })),
        incident.exercise && h("span", { class: "chip chip-exercise" }, t("chip.exercise")),
        h("span", { class: "row-lead" }, `${unfolded ? "▾" : "▸"} ${t(unfolded ? "incident.fold" : "incident.unfold")}`)),
      unfolded && h("ul", { class: "row-why" }, reasons(incident))),
  ];
}

/** A distance as people say it: `4 m`, `2.3 km`. */
function farText(metres) {
  return metres < 1000 ? `${numberText(Math.round(metres))} m` : `${numberText(metres / 1000, 2)} km`;
}

function reasons(incident) {
  const why = incident.why ?? [];
  const clocks = why.filter((reason) => reason.device);
  const others = why.filter((reason) => !reason.device);
  const more = clocks.length - SHOWN_CLOCKS;
  return [...others, ...clocks.slice(0, SHOWN_CLOCKS)].map((reason) => h("li", null, say(reason)))
    .concat(more > 0 ? [h("li", null, t("incident.more_clocks", { n: more }))] : []);
}

/** An incident as `announce` wants an alert. */
export function asAlarm(incident) {
  return { ...incident, place: {} };
}
