// A truck's trip: whose it was when, what went wrong where, and which case the city has of it.

import { fill, h } from "./dom.js";
import { numberText, say, t, term } from "./i18n.js";
import { parseMs, shortText, zoneLabel } from "./time.js";

const TRIPS = 20;

/** One trip in full; `heading` false where the vehicle is known from around it. */
export function tripNode(trip, { heading = true } = {}) {
  const span = `${shortText(parseMs(trip.started_at))} – ${trip.ended_at ? shortText(parseMs(trip.ended_at)) : t("trip.under_way")}`;
  return h("article", { class: "trip" },
    heading && h("h4", null, h("code", null, trip.vehicle), ` ${trip.origin ? say(trip.origin.name) : "…"} → ${trip.destination ? say(trip.destination.name) : "…"}`),
    h("p", { class: "quiet-text" }, span, ` · ${numberText(trip.length_m / 1000, 3)} km`,
      trip.because && ` · ${term("trip_end", trip.because)}`, trip.exercise && ` · ${t("chip.exercise")}`),
    (trip.origin || trip.destination) && h("p", null, trip.origin && t("trip.from", { where: endText(trip.origin) }), " ",
      trip.destination && t("trip.to", { where: endText(trip.destination) })),
    h("ol", { class: "legs" }, trip.legs.map((leg) => h("li", null,
      h("strong", null, say(leg.name) || t("place.unknown")),
      h("span", { class: "quiet-text" }, ` ${shortText(parseMs(leg.from))} – ${shortText(parseMs(leg.to))}`,
        leg.because === "gap" && ` · ${t("trip.gap")}`)))),
    trip.violations.length > 0 && h("ul", { class: "violations" }, trip.violations.map((violation) => h("li", null,
      h("strong", null, say(violation.title) || violation.kind), ` · ${say(violation.name) || t("place.unknown")} `,
      h("span", { class: "quiet-text" }, shortText(parseMs(violation.from)))))),
    trip.suspicions.length > 0 && h("p", { class: "suspicion" }, t("trip.suspicion", {
      what: [...new Set(trip.suspicions.map(({ kind, datum }) => `${term("suspicion", kind)}${datum ? ` ${datum}` : ""}`))].join(", ") })),
    trip.handovers.length > 0 && h("p", { class: "quiet-text" }, t("trip.handovers", { n: numberText(trip.handovers.length) })),
    trip.case && h("p", null, t("trip.case"), " ", h("code", null, trip.case)));
}

function endText(end) {
  return end.site ? say(end.site.name) : `${say(end.name)} ${t("trip.no_site")}`;
}

/** In a vehicle's alert: the trip that it happened on. */
export class TripCard {
  constructor(api) {
    this.api = api;
    this.alert = null;
    this.trip = null;
    this.node = h("section", { class: "card trip-card", hidden: true });
  }

  show(alert) {
    const known = this.alert?.id === alert.id;
    this.alert = alert;
    if (alert.device?.kind !== "vehicle") {
      this.trip = null;
      this.node.hidden = true;
      return;
    }
    if (!known) {
      this.trip = null;
      this.node.hidden = true;
    }
    this.load();
    this.render();
  }

  async load() {
    const { id, device, started_at: at } = this.alert;
    const exercise = this.alert.exercise ?? undefined;
    let trips;
    try {
      trips = (await this.api.get(`vehicles/${encodeURIComponent(device.id)}/trips`, { limit: TRIPS, exercise })).items;
    } catch {
      return; // the alert is whole without its trip
    }
    if (this.alert?.id !== id) return;
    const ms = parseMs(at);
    this.trip = trips.find((trip) => parseMs(trip.started_at) <= ms && ms <= parseMs(trip.newest_at) + 60_000) ?? null;
    this.render();
  }

  render() {
    this.node.hidden = !this.trip;
    if (this.trip) fill(this.node, h("h3", null, t("trip.title"), h("span", { class: "zone" }, zoneLabel())), tripNode(this.trip, { heading: false }));
  }
}
