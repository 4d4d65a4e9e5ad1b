// What stands round an alert, asked for when someone opens it: cameras that can see it, and the rings.

import { fill, h } from "./dom.js";
import { numberText, say, t, term } from "./i18n.js";

const CAMERAS = 5;
const KEY_PLACES = 3;
const COUNTED = ["addresses", "devices", "cameras", "key_places"];

export class Around {
  constructor(api) {
    this.api = api;
    this.alert = null;
    this.found = null;
    this.summary = h("summary");
    this.body = h("div", { class: "around-body" });
    this.node = h("details", { class: "card around", ontoggle: () => this.node.open && this.load() }, this.summary, this.body);
  }

  show(alert) {
    const other = alert.id !== this.alert?.id;
    const worse = !other && alert.severity !== this.alert.severity;
    this.alert = alert;
    if (other || worse) this.found = null;
    if (other) this.node.open = false;
    if (worse && this.node.open) this.load();
    this.render();
  }

  async load() {
    if (this.found && !this.found.problem) return;
    const { id, severity } = this.alert;
    const path = `alerts/${encodeURIComponent(id)}`;
    let found;
    try {
      const [cameras, zones] = await Promise.all([
        this.api.get(`${path}/cameras`, { limit: CAMERAS }), this.api.get(`${path}/zones`, { limit: KEY_PLACES }),
      ]);
      found = { cameras: cameras.items, lookFor: cameras.look_for, rings: zones.rings };
    } catch (error) {
      found = { problem: error.message };
    }
    if (this.alert.id !== id || this.alert.severity !== severity) return;
    this.found = found;
    this.render();
  }

  render() {
    fill(this.summary, t("around.title"));
    if (!this.found) fill(this.body, h("p", { class: "quiet-text" }, t("around.loading")));
    else if (this.found.problem) fill(this.body, h("p", { class: "quiet-text" }, this.found.problem));
    else fill(this.body, this.cameras(), this.found.rings.map((ring) => this.ring(ring)));
  }

  cameras() {
    const { cameras, lookFor } = this.found;
    if (!cameras.length) return h("p", { class: "quiet-text" }, t("around.no_camera"));
    return [
      lookFor && h("p", null, t("around.look_for", { what: say(lookFor) })),
      h("ul", { class: "around-list" }, cameras.map((camera) => h("li", null,
        h("code", null, camera.id), ` ${camera.name} · ${numberText(camera.distance_m, 3)} m · `,
        h("span", { class: camera.can_see ? "" : "quiet-text" }, term("sight", String(camera.can_see)))))),
    ];
  }

  ring(ring) {
    const edges = t("around.ring", { from: numberText(ring.from_m), to: numberText(ring.to_m) });
    return h("div", { class: "around-ring" },
      h("h3", null, ring.action_name ? `${edges} · ${say(ring.action_name)}` : edges),
      h("p", null, COUNTED.filter((what) => ring.counts[what]).map((what) => `${term("around_count", what)} ${numberText(ring.counts[what])}`).join(" · ")),
      ring.key_places.length > 0 && h("p", null, ring.key_places.map(placeText).join(" · ")),
      ring.recipients.length > 0 && h("ul", { class: "around-list" }, ring.recipients.map((unit) => h("li", null,
        say(unit.name) || unit.unit, h("span", { class: "quiet-text" }, ` ${say(unit.why)}`)))));
  }
}

function placeText(place) {
  return `${say({ zh: place.name, en: place.name_en || place.name })} ${numberText(place.distance_m, 3)} m`;
}
