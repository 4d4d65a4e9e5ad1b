// The sensor behind an alert: is it heard of, and is anything wrong with itself?

import { fill, h } from "./dom.js";
import { say, t, term } from "./i18n.js";
import { ageNode } from "./list.js";
import { nowMs, parseMs, shortText, zoneLabel } from "./time.js";

const NOTED_AFTER_MS = 7000; // when it was last heard is written down every few seconds

export class SensorCard {
  constructor(api) {
    this.api = api;
    this.alert = null;
    this.found = null;
    this.node = h("section", { class: "card sensor" });
  }

  show(alert) {
    const other = alert.id !== this.alert?.id;
    const moved = !other && alert.condition !== this.alert.condition;
    this.alert = alert;
    if (other) this.found = null;
    if (other || moved) this.load();
    this.render();
  }

  async load() {
    const { id, device, exercise } = this.alert;
    clearTimeout(this.again);
    if (!device?.id) return;
    let found;
    try {
      found = await this.api.get(`devices/${encodeURIComponent(device.id)}`, exercise ? { exercise } : {});
    } catch (error) {
      found = error.status === 404 ? null : { problem: error.message };
    }
    if (this.alert.id !== id) return;
    this.found = found;
    this.render();
    if (found && !found.problem && this.isBehind() && nowMs() - this.receivedMs() < 4 * NOTED_AFTER_MS) {
      this.again = setTimeout(() => this.alert.id === id && this.load(), NOTED_AFTER_MS);
    }
  }

  receivedMs() {
    return parseMs(this.alert.timeline?.received);
  }

  /** Whether the registry does not know yet what the alert shows: that the sensor was heard. */
  isBehind() {
    return !(parseMs(this.found.last_seen) >= this.receivedMs()) && Number.isFinite(this.receivedMs());
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
    const known = [name, product, floor && t("sensor.floor", { floor }), Number.isFinite(battery) && t("sensor.battery", { pct: Math.round(battery) })];
    return [
      h("p", null, !behind && [h("strong", null, term("device_status", status)), seen && " · "], seen && [t("sensor.heard"), " ", ageNode(seen)]),
      known.some(Boolean) && h("p", { class: "quiet-text" }, known.filter(Boolean).join(" · "))];
  }

  faults() {
    const faults = this.found.faults.filter((fault) => fault.alert !== this.alert.id);
    if (!faults.length) return h("p", { class: "quiet-text" }, t("sensor.no_fault"));
    return [h("p", { class: "sensor-doubt" }, t("sensor.doubt")),
      h("ul", { class: "sensor-faults" }, faults.map((fault) => h("li", null,
        h("strong", null, say(fault.title) || fault.kind), " ",
        h("span", { class: "quiet-text" }, t("sensor.since", { time: shortText(parseMs(fault.started_at)) })))))];
  }
}
