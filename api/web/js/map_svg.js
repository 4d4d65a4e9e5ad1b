// The map without WebGL: town polygons and alert marks as SVG, north up, equirectangular.

import { fill, s } from "./dom.js";
import { boundsOf, outerRings } from "./geometry.js";
import { circleRing } from "./incident_store.js";
import { alertLabel, pointOf } from "./map.js";
import { NUMERALS, SHAPES, BASELINES, NUMERAL_SIZES } from "./severity.js";

const WIDTH = 1000;
const CIRCLE_M_MIN = 300; // smaller would not show at this scale
const READABLE_PX = 800; // a narrower drawing has larger marks and names only where something is
const MAGNIFY_MAX = 2;

export class SvgMap {
  constructor(container, towns, events) {
    this.towns = towns;
    this.events = events;
    this.kind = "svg";
    this.idle = true;
    this.townPaths = s("g", { class: "map-towns" });
    this.labels = s("g", { class: "map-labels" });
    this.marks = s("g", { class: "map-marks" });
    this.circles = s("g", { class: "map-incidents" });
    this.svg = s("svg", { class: "svg-map", role: "group", viewBox: "0 0 1000 700" }, this.townPaths, this.labels, this.circles, this.marks);
    container.append(this.svg);
    this.selectedId = null;
    this.town = "";
    this.magnify = 1;
    this.setTowns();
    this.resize();
  }

  setTowns() {
    const box = boundsOf(this.towns.rows.map((town) => town.geometry));
    if (!box) return;
    const [west, south, east, north] = box;
    const shrink = Math.cos((((south + north) / 2) * Math.PI) / 180);
    const scale = (WIDTH - 40) / ((east - west) * shrink);
    this.project = ([lon, lat]) => [20 + (lon - west) * shrink * scale, 20 + (north - lat) * scale];
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${(40 + (north - south) * scale).toFixed(0)}`);
    fill(this.townPaths, this.towns.rows.map((town) => s("path", {
      class: "map-town", "data-code": town.code, d: this.path(town.geometry),
      onclick: () => this.events.town(town.code),
    })));
    this.relabel();
  }

  setDevices() {} // small dots would hide the marks at this scale

  path(geometry) {
    return outerRings(geometry).map((ring) => "M" + ring.map((point) => (
      this.project(point).map((v) => v.toFixed(1)).join(","))).join("L") + "Z").join("");
  }

  relabel() {
    if (!this.project) return;
    fill(this.labels, this.towns.rows.filter((town) => town.label).map((town) => {
      const [x, y] = this.project(town.label);
      const entry = this.open?.get(town.code);
      return s("text", { x: x.toFixed(1), y: y.toFixed(1), class: entry ? "has-alerts" : "" },
        this.towns.name(town.code) + (entry ? ` ${entry.count}` : ""));
    }));
  }

  update(open, alerts, incidents = this.incidents ?? []) {
    this.open = open;
    this.alerts = alerts;
    this.incidents = incidents;
    if (!this.project) return;
    fill(this.circles, incidents.filter((incident) => incident.center).map((incident) => s("path", {
      d: this.path({ type: "Polygon", coordinates: [circleRing(incident.center, Math.max(CIRCLE_M_MIN, incident.radius_m ?? 0))] }),
    })));
    for (const path of this.townPaths.children) {
      const entry = open.get(path.dataset.code);
      path.setAttribute("class", `map-town worst-${entry?.worst ?? 0}${path.dataset.code === this.town ? " is-filtered" : ""}`);
    }
    this.relabel();
    const drawn = alerts.filter((alert) => pointOf(alert)).sort((a, b) => b.severity - a.severity);
    fill(this.marks, drawn.map((alert) => this.mark(alert)));
  }

  mark(alert) {
    const [x, y] = this.project(pointOf(alert));
    const chosen = alert.id === this.selectedId;
    const size = (chosen ? 1.35 : 0.95) * this.magnify;
    return s("g", {
      class: `mark mark-${alert.severity}${alert.condition === "cleared" ? " is-cleared" : ""}${chosen ? " is-selected" : ""}`,
      transform: `translate(${(x - 12 * size).toFixed(1)} ${(y - 12 * size).toFixed(1)}) scale(${size})`,
      onclick: () => this.events.alert(alert.id),
    },
    s("title", null, alertLabel(alert)),
    s("polygon", { points: SHAPES[alert.severity].map((p) => p.join(",")).join(" ") }),
    s("text", { x: 12, y: BASELINES[alert.severity], "text-anchor": "middle", "font-size": NUMERAL_SIZES[alert.severity] },
      NUMERALS[alert.severity]));
  }

  select(alert) {
    this.selectedId = alert?.id ?? null;
    if (this.open) this.update(this.open, this.alerts);
  }

  showIncident() {} // the whole city is in view anyway

  filterTown(code) {
    this.town = code;
    if (this.open) this.update(this.open, this.alerts);
  }

  home() {}

  /** Marks and names keep a readable size however narrow the drawing is. */
  resize() {
    const width = this.svg.clientWidth || READABLE_PX;
    const magnify = Math.min(MAGNIFY_MAX, Math.max(1, READABLE_PX / width));
    this.svg.classList.toggle("is-small", magnify > 1.25);
    this.svg.style.setProperty("--magnify", magnify.toFixed(2));
    if (magnify === this.magnify) return;
    this.magnify = magnify;
    if (this.open) this.update(this.open, this.alerts);
  }

  counts() {
    return { towns: this.townPaths.children.length, alerts: this.marks.children.length };
  }
}
