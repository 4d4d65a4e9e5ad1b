// The sensor behind an alert: is it heard of, and is anything wrong with itself?

import { fill, h } from "./dom.js";
import { currentLanguage, say, t, term } from "./i18n.js";
import { ageNode } from "./list.js";
import { parseMs, shortText, zoneLabel } from "./time.js";

const NOTED_MS = 7000; // when a device was last heard is written down every few seconds
const FRESH_MS = 60_000;

export class SensorCard {
  constructor(api) {
    Object.assign(this, { api, alert: null, found: null, asked: 0 });
    this.node = h("section", { class: "card sensor", hidden: true });
  }

  show(alert) {
    const other = alert.id !== this.alert?.id;
    const changed = other || alert.condition !== this.alert.condition || this.found?.problem;
    this.alert = alert;
    if (other) this.found = null;
    if (changed) this.load();
    this.render();
  }

  clear() {
    clearTimeout(this.timer);
    this.asked += 1;
    this.alert = this.found = null;
    this.node.hidden = true;
  }

  async load() {
    clearTimeout(this.timer);
    const asked = ++this.asked;
    const { device, exercise } = this.alert;
    if (!device?.id) return;
    let found;
    try {
      found = await this.api.get(`devices/${encodeURIComponent(device.id)}`, exercise ? { exercise } : {});
    } catch (error) {
      if (asked !== this.asked) return;
      found = error.status === 404 ? null : { problem: error.message };
    }
    if (asked !== this.asked) return;
    this.found = found;
    this.render();
    if (found) this.timer = setTimeout(() => this.load(), this.isBehind() ? NOTED_MS : FRESH_MS);
  }

  /** Whether the registry does not know yet that the sensor was heard; silence is no hearing. */
  isBehind() {
    const heard = parseMs(this.alert.timeline?.received);
    return !this.found.problem && this.alert.metric !== "silent_s" && Number.isFinite(heard)
      && !(parseMs(this.found.last_seen) >= heard);
  }

  /** Nothing of a device that the registry does not know, or that lies outside one's area. */
  render() {
    const found = this.found;
    this.node.hidden = !found;
    if (!found) return;
    fill(this.node, h("h3", null, t("sensor.title"), h("span", { class: "zone" }, zoneLabel())),
      found.problem ? h("p", { class: "quiet-text" }, found.problem) : [this.heard(), this.faults()]);
  }

  heard() {
    const { name, product, floor, status, battery_pct: battery } = this.found;
    const behind = this.isBehind();
    const seen = behind ? this.alert.timeline.received : this.found.last_seen;
    const [before, after] = t("sensor.heard", { age: "|" }).split("|");
    const known = [name, product, floorText(floor), Number.isFinite(battery) && t("sensor.battery", { pct: Math.round(battery) })];
    return [
      h("p", null, !behind && [h("strong", null, term("device_status", status)), seen && " · "],
        seen && [before, ageNode(seen), after]),
      known.some(Boolean) && h("p", { class: "quiet-text" }, known.filter(Boolean).join(" · "))];
  }

  faults() {
    const faults = this.found.faults.filter((fault) => fault.alert !== this.alert.id);
    if (!this.found.faults.length) return h("p", { class: "quiet-text" }, t("sensor.no_fault"));
    return faults.length > 0 && [h("p", { class: "sensor-doubt" }, t("sensor.doubt")),
      h("ul", { class: "sensor-faults" }, faults.map((fault) => h("li", null,
        h("strong", null, say(fault.title) || fault.kind), " ",
        h("span", { class: "quiet-text" }, t("sensor.since", { time: shortText(parseMs(fault.started_at)) })))))];
  }
}

/** The registry counts 0 for the ground floor, -1 for the first basement; in China the ground floor is 1. */
function floorText(floor) {
  if (!Number.isFinite(floor)) return null;
  if (floor < 0) return t("sensor.basement", { n: -floor });
  return floor === 0 ? t("sensor.ground") : t("sensor.floor", { n: currentLanguage() === "zh" ? floor + 1 : floor });
}
