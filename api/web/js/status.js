// What the page honestly knows of itself: is it live, since when, how many alerts came.

import { byId, fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { FLOOD_LIMIT } from "./store.js";
import { clockOffsetMs, clockText, lagText, nowMs, zoneLabel } from "./time.js";

/** The connection pill and, when not live, the banner that says so. */
export function showConnection(live) {
  const pill = byId("connection");
  const heard = live.lastFrameMs;
  const serverMs = (ms) => ms + clockOffsetMs();
  pill.dataset.state = live.state;
  byId("connection-text").textContent = t(`connection.${live.state}`);
  pill.title = heard ? t("connection.heard", { time: `${clockText(serverMs(heard))} ${zoneLabel()}` }) : t("connection.never");
  const stale = live.state === "reconnecting" || live.state === "refused" || (live.state === "connecting" && Date.now() - live.sinceMs > 3000);
  document.body.classList.toggle("is-stale", stale && live.cursor !== null);
  byId("stale").hidden = !stale;
  if (!stale) return;
  const seconds = live.nextTryMs === null ? 0 : Math.max(0, Math.ceil((live.nextTryMs - Date.now()) / 1000));
  const text = live.state === "refused" ? t("stale.refused")
    : heard === null ? t("stale.never")
      : t("stale.since", { time: `${clockText(serverMs(heard))} ${zoneLabel()}` });
  const next = live.state === "refused" ? "" : seconds ? ` ${t("stale.next", { n: seconds })}` : ` ${t("stale.trying")}`;
  const whole = text + next;
  if (byId("stale-text").textContent !== whole) byId("stale-text").textContent = whole;
}

/** More than ten alerts in ten minutes: say how many, what they fold to in the list, and where. */
export function showFlood(store, townName) {
  const banner = byId("flood");
  const { count, rows, towns } = store.recent(nowMs());
  banner.hidden = count <= FLOOD_LIMIT;
  if (banner.hidden) return;
  const where = towns.slice(0, 4).map(([code, n]) => `${(code && townName(code)) || t("place.unknown")} ${n}`);
  const folded = rows < count ? t("flood.folded", { rows }) : "";
  const text = t("flood.banner", { n: count, folded, where: where.join(t("flood.separator")) });
  if (banner.textContent !== text) fill(banner, h("span", null, text));
}

export function showSkew() {
  const offset = clockOffsetMs();
  byId("skew").hidden = Math.abs(offset) < 5000;
  byId("skew").textContent = t("skew.banner", { lag: lagText(Math.abs(offset)) });
}

export function showClock() {
  const clock = byId("clock");
  const ms = nowMs();
  clock.dateTime = new Date(ms).toISOString();
  clock.textContent = `${clockText(ms)} ${zoneLabel()}`;
}

let toastTimer = 0;
export function toast(text) {
  const node = byId("toast");
  node.textContent = text;
  node.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { node.hidden = true; }, 5000);
}
