// The map with MapLibre GL: own GeoJSON only, no tiles, no glyph files (labels are drawn
// from the machine's fonts). Devices and alerts are GPU symbols, never HTML markers.

import * as maplibregl from "../vendor/maplibre-gl/maplibre-gl.mjs";
import { boundsOf } from "./geometry.js";
import { circleRing } from "./incident_store.js";
import { alertLabel, pointOf } from "./map.js";
import { BASELINES, EDGES, FILLS, INKS, NUMERALS, NUMERAL_SIZES, SEVERITIES, SHAPES } from "./severity.js";

const FONTS = ["Noto Sans CJK SC", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", "sans-serif"];
const START_MS = 12_000;
const ICON_PX = 26;
const VILLAGES_FROM_ZOOM = 10.8;
const CIRCLE_M_MIN = 60;
const EMPTY = { type: "FeatureCollection", features: [] };

function collection(features) {
  return { type: "FeatureCollection", features };
}

function feature(geometry, properties) {
  return { type: "Feature", geometry, properties };
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** A severity's mark as pixels, at twice the size for sharp screens. */
function markImage(severity, cleared) {
  const scale = 2;
  const size = ICON_PX * scale;
  const canvas = new OffscreenCanvas(size, size);
  const g = canvas.getContext("2d");
  g.scale(size / 26, size / 26);
  g.translate(1, 1);
  g.beginPath();
  SHAPES[severity].forEach(([x, y], i) => (i ? g.lineTo(x, y) : g.moveTo(x, y)));
  g.closePath();
  g.lineJoin = "round";
  g.lineWidth = cleared ? 2.4 : 1.6;
  g.fillStyle = cleared ? "#FFFFFF" : FILLS[severity];
  g.strokeStyle = cleared ? FILLS[severity] : EDGES[severity];
  g.fill();
  g.stroke();
  g.fillStyle = cleared ? "#1B1D20" : INKS[severity];
  g.font = `600 ${NUMERAL_SIZES[severity]}px "Noto Sans CJK SC", "Noto Sans SC", "PingFang SC", sans-serif`;
  g.textAlign = "center";
  g.fillText(NUMERALS[severity], 12, BASELINES[severity]);
  return { image: g.getImageData(0, 0, size, size), pixelRatio: scale };
}

const worst = ["coalesce", ["feature-state", "worst"], 0];

function opacity(calm) {
  return ["case", ["==", worst, 0], 1, ["boolean", ["feature-state", "hover"], false], calm + 0.12, calm];
}

function style() {
  return {
    version: 8,
    sources: {
      towns: { type: "geojson", data: EMPTY, promoteId: "code" },
      villages: { type: "geojson", data: EMPTY },
      labels: { type: "geojson", data: EMPTY },
      devices: { type: "geojson", data: EMPTY },
      alerts: { type: "geojson", data: EMPTY },
      incidents: { type: "geojson", data: EMPTY },
    },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": css("--map-ground") } },
      {
        id: "towns", type: "fill", source: "towns",
        paint: {
          "fill-color": ["match", worst, 1, FILLS[1], 2, FILLS[2], 3, FILLS[3], 4, FILLS[4], css("--map-town")],
          // Close up a whole town's colour would drown its streets.
          "fill-opacity": ["interpolate", ["linear"], ["zoom"], 10, opacity(0.36), 13, opacity(0.15)],
        },
      },
      {
        id: "village-lines", type: "line", source: "villages", minzoom: VILLAGES_FROM_ZOOM,
        paint: { "line-color": css("--map-line"), "line-width": 0.8, "line-dasharray": [3, 2] },
      },
      { id: "town-lines", type: "line", source: "towns", paint: { "line-color": css("--map-line"), "line-width": 1.4 } },
      {
        id: "town-chosen", type: "line", source: "towns", filter: ["==", ["get", "code"], ""],
        paint: { "line-color": css("--ink"), "line-width": 2.5 },
      },
      {
        id: "devices", type: "circle", source: "devices", minzoom: 9.5,
        paint: {
          "circle-radius": ["interpolate", ["linear"], ["zoom"], 9.5, 1.2, 13, 3.2, 16, 5],
          "circle-color": css("--map-device"), "circle-opacity": 0.75,
        },
      },
      {
        id: "town-labels", type: "symbol", source: "labels",
        layout: {
          "text-field": ["format", ["get", "name"], {}, ["get", "count"], { "font-scale": 1.15, "text-color": css("--ink") }],
          "text-font": FONTS, "text-size": ["interpolate", ["linear"], ["zoom"], 8, 9.5, 12, 15],
          "text-padding": 1, "text-variable-anchor": ["center", "top", "bottom"], "text-radial-offset": 0.8,
          "symbol-sort-key": ["get", "order"], "text-max-width": 7,
        },
        paint: { "text-color": css("--map-label"), "text-halo-color": css("--map-halo"), "text-halo-width": 1.4 },
      },
      {
        id: "village-labels", type: "symbol", source: "villages", minzoom: VILLAGES_FROM_ZOOM + 0.7,
        layout: { "text-field": ["get", "name"], "text-font": FONTS, "text-size": 11, "text-padding": 6 },
        paint: { "text-color": css("--map-label"), "text-halo-color": css("--map-halo"), "text-halo-width": 1.2 },
      },
      {
        id: "incidents", type: "fill", source: "incidents",
        paint: { "fill-color": css("--ink"), "fill-opacity": 0.07 },
      },
      {
        id: "incident-lines", type: "line", source: "incidents",
        paint: { "line-color": css("--ink"), "line-width": 1.8, "line-dasharray": [4, 2] },
      },
      {
        id: "alert-chosen", type: "circle", source: "alerts", filter: ["==", ["get", "id"], ""],
        paint: {
          "circle-radius": 21, "circle-color": "rgba(0,0,0,0)",
          "circle-stroke-color": css("--ink"), "circle-stroke-width": 2.5,
        },
      },
      {
        id: "alerts", type: "symbol", source: "alerts",
        layout: {
          "icon-image": ["get", "icon"], "icon-allow-overlap": true,
          "symbol-sort-key": ["-", 0, ["get", "severity"]],
          "icon-size": ["interpolate", ["linear"], ["zoom"], 8, 0.75, 12, 1.1],
        },
      },
    ],
  };
}

export class GlMap {
  constructor(container, towns, events) {
    this.kind = "webgl";
    this.towns = towns;
    this.events = events;
    this.idle = false;
    this.open = new Map();
    this.alerts = [];
    this.painted = new Set();
    this.reduced = matchMedia("(prefers-reduced-motion: reduce)");
    this.map = new maplibregl.Map({
      container, style: style(), attributionControl: false, center: [113.85, 22.95], zoom: 9,
      minZoom: 7, maxZoom: 18, dragRotate: false, pitchWithRotate: false, touchPitch: false, fadeDuration: 0,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "bottom-right");
    this.map.addControl(new maplibregl.ScaleControl({ unit: "metric" }), "bottom-left");
    this.map.on("idle", () => { this.idle = true; });
    this.map.on("dataloading", () => { this.idle = false; });
    this.map.on("movestart", () => { this.idle = false; });
    this.ready = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the map did not load in time")), START_MS);
      this.map.once("load", () => { clearTimeout(timer); this.begin(); resolve(); });
      this.map.on("error", ({ error }) => { clearTimeout(timer); reject(error); });
    });
  }

  begin() {
    for (const severity of SEVERITIES) {
      for (const cleared of [false, true]) {
        const { image, pixelRatio } = markImage(severity, cleared);
        this.map.addImage(`mark-${severity}-${cleared ? "cleared" : "active"}`, image, { pixelRatio });
      }
    }
    this.map.on("click", (event) => this.clicked(event.point));
    let hovered = null;
    this.map.on("mousemove", "towns", ({ features }) => {
      this.map.getCanvas().style.cursor = "pointer";
      if (hovered) this.map.setFeatureState({ source: "towns", id: hovered }, { hover: false });
      hovered = features[0].properties.code;
      this.map.setFeatureState({ source: "towns", id: hovered }, { hover: true });
    });
    this.map.on("mouseleave", "towns", () => {
      this.map.getCanvas().style.cursor = "";
      if (hovered) this.map.setFeatureState({ source: "towns", id: hovered }, { hover: false });
      hovered = null;
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
    this.map.on("zoomend", () => this.zoomed());
    this.setTowns();
  }

  clicked(point) {
    const reach = 8;
    const box = [[point.x - reach, point.y - reach], [point.x + reach, point.y + reach]];
    const hits = this.map.queryRenderedFeatures(box, { layers: ["alerts"] });
    if (hits.length) {
      const worst = hits.reduce((a, b) => (b.properties.severity < a.properties.severity ? b : a));
      this.events.alert(worst.properties.id);
      return;
    }
    const [town] = this.map.queryRenderedFeatures(point, { layers: ["towns"] });
    if (town) this.events.town(town.properties.code);
  }

  recolour() {
    for (const layer of style().layers) {
      for (const [name, value] of Object.entries(layer.paint ?? {})) this.map.setPaintProperty(layer.id, name, value);
      if (layer.id === "town-labels") this.map.setLayoutProperty(layer.id, "text-field", layer.layout["text-field"]);
    }
  }

  setTowns() {
    const features = this.towns.rows.map((town) => feature(town.geometry, { code: town.code }));
    this.map.getSource("towns").setData(collection(features));
    this.home({ animate: false });
    this.update(this.open, this.alerts);
  }

  /** Villages are asked for once somebody looks that close. */
  async zoomed() {
    if (this.villagesAsked || this.map.getZoom() < VILLAGES_FROM_ZOOM) return;
    this.villagesAsked = true;
    const villages = await this.events.villages();
    this.villagesAsked = villages.length > 0;
    this.map.getSource("villages").setData(collection(
      villages.map((village) => feature(village.geometry, { code: village.code, name: village.name }))));
  }

  setDevices(devices) {
    const features = devices.filter((device) => pointOf({ location: device.location ?? device })).map((device) => {
      return feature({ type: "Point", coordinates: pointOf({ location: device.location ?? device }) }, { id: device.id });
    });
    this.map.getSource("devices").setData(collection(features));
  }

  /** The whole city. */
  home({ animate = true } = {}) {
    const box = boundsOf(this.towns.rows.map((town) => town.geometry));
    if (box) this.map.fitBounds(box, { padding: { top: 30, left: 24, right: 24, bottom: 84 }, animate: animate && !this.reduced.matches });
  }

  relabel() {
    this.idle = false;
    const features = this.towns.rows.filter((town) => town.label).map((town) => {
      const entry = this.open.get(town.code);
      return feature({ type: "Point", coordinates: town.label }, {
        name: this.towns.name(town.code), count: entry ? `\n${entry.count}` : "", order: entry ? entry.worst : 9,
      });
    });
    this.map.getSource("labels").setData(collection(features));
  }

  update(open, alerts, incidents = this.incidents ?? []) {
    this.open = open;
    this.alerts = alerts;
    this.incidents = incidents;
    this.map.getSource("incidents").setData(collection(incidents.filter((incident) => incident.center).map((incident) => feature(
      { type: "Polygon", coordinates: [circleRing(incident.center, Math.max(CIRCLE_M_MIN, incident.radius_m ?? 0))] },
      { id: incident.id, severity: incident.severity }))));
    for (const code of this.painted) {
      if (!open.has(code)) this.map.setFeatureState({ source: "towns", id: code }, { worst: 0 });
    }
    for (const [code, { worst }] of open) this.map.setFeatureState({ source: "towns", id: code }, { worst });
    this.painted = new Set(open.keys());
    this.relabel();
    this.map.getSource("alerts").setData(collection(alerts.filter((alert) => pointOf(alert)).map((alert) => feature(
      { type: "Point", coordinates: pointOf(alert) },
      {
        id: alert.id, severity: alert.severity, title: alertLabel(alert),
        icon: `mark-${alert.severity}-${alert.condition === "cleared" ? "cleared" : "active"}`,
      }))));
  }

  /** Ring the alert and fly to it. */
  select(alert) {
    this.map.setFilter("alert-chosen", ["==", ["get", "id"], alert?.id ?? ""]);
    const point = alert && pointOf(alert);
    if (!point) return;
    const zoom = Math.max(this.map.getZoom(), 11.5);
    if (this.reduced.matches) this.map.jumpTo({ center: point, zoom });
    else this.map.flyTo({ center: point, zoom, duration: 900 });
  }

  /** The whole of an incident in view. */
  showIncident(incident) {
    if (!incident?.center) return;
    const ring = circleRing(incident.center, Math.max(CIRCLE_M_MIN, incident.radius_m ?? 0));
    const box = boundsOf([{ type: "Polygon", coordinates: [ring] }]);
    this.map.fitBounds(box, { padding: 60, maxZoom: 15, animate: !this.reduced.matches });
  }

  filterTown(code) {
    this.map.setFilter("town-chosen", ["==", ["get", "code"], code]);
    const town = this.towns.byCode.get(code);
    if (town) this.map.fitBounds(boundsOf([town.geometry]), { padding: 60, maxZoom: 12, animate: !this.reduced.matches });
  }

  resize() {
    this.map.resize();
  }

  counts() {
    return { towns: this.towns.rows.length, alerts: this.alerts.filter((alert) => pointOf(alert)).length };
  }

  /** What is really drawn, for tests. */
  rendered(layer) {
    return this.map.queryRenderedFeatures({ layers: [layer] }).length;
  }
}
