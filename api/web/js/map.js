// The map of towns. WebGL where the browser has it, else an SVG drawing; the list never
// waits for either. Both kinds offer the same few verbs:
//   setTowns(regions), setDevices(devices), update(towns, alerts, incidents), select(alert),
//   showIncident(incident), filterTown(code), relabel().

import { labelPoint, regionOf } from "./geometry.js";
import { currentLanguage, say } from "./i18n.js";

function hasWebGl2() {
  if (new URLSearchParams(location.search).get("map") === "svg") return false;
  try {
    return Boolean(document.createElement("canvas").getContext("webgl2"));
  } catch {
    return false;
  }
}

/** Towns of `GET /regions?level=town`, ready to draw and to name. */
export class Towns {
  constructor() {
    this.rows = [];
    this.byCode = new Map();
  }

  load(items) {
    this.rows = items.map(regionOf).filter((region) => region.code && region.geometry)
      .map((region) => ({ ...region, label: labelPoint(region.geometry) }));
    this.byCode = new Map(this.rows.map((region) => [region.code, region]));
  }

  name(code) {
    const region = this.byCode.get(code);
    if (!region) return null;
    return currentLanguage() === "en" && region.name_en ? region.name_en : region.name;
  }
}

/** Where to draw an alert: its own coordinate. */
export function pointOf(alert) {
  const { lon, lat } = alert.location ?? {};
  return Number.isFinite(lon) && Number.isFinite(lat) ? [lon, lat] : null;
}

export function alertLabel(alert) {
  return say(alert.title) || alert.kind;
}

/** Build a map in `container`; `events` receives `town` (code) and `alert` (id), and is asked for `villages`. */
export async function createMap(container, towns, events) {
  if (hasWebGl2()) {
    try {
      const { GlMap } = await import("./map_gl.js");
      const map = new GlMap(container, towns, events);
      await map.ready;
      return map;
    } catch (cause) {
      console.warn("The WebGL map did not start; drawing the simple one.", cause);
      container.replaceChildren();
    }
  }
  const { SvgMap } = await import("./map_svg.js");
  return new SvgMap(container, towns, events);
}
