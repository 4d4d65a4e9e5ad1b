// Joins the parts: session -> live feed -> store -> list, map, detail. Decides nothing itself.

import { announce, showTitle } from "./announce.js";
import { Api } from "./api.js";
import { Detail } from "./detail.js";
import { byId, fill, h } from "./dom.js";
import { Filters } from "./filters.js";
import { regionOf } from "./geometry.js";
import { currentLanguage, languageWasChosen, preferredLanguage, t, term, translatePage, useLanguage } from "./i18n.js";
import { incidentOf, IncidentStore, rowId } from "./incident_store.js";
import { asAlarm } from "./incidents.js";
import { listenForKeys, showHelp } from "./keys.js";
import { AlertList, tickAges } from "./list.js";
import { Live } from "./live.js";
import { Login, ticketFromAddress } from "./login.js";
import { createMap, Towns } from "./map.js";
import { SEVERITIES, severityMark } from "./severity.js";
import { Sound } from "./sound.js";
import { showClock, showConnection, showFlood, showSkew, toast } from "./status.js";
import { AlertStore, matches } from "./store.js";
import { nowMs, setZone } from "./time.js";
import { Vehicles } from "./vehicles.js";

const MAP_EVERY_MS = 250;
const RETRY_TOWNS_MS = 10_000;
const PHONE = matchMedia("(max-width: 700px)");

const api = new Api();
const live = new Live(api);
const store = new AlertStore();
const incidents = new IncidentStore();
const sound = new Sound();
const towns = new Towns();
const townName = (code) => towns.name(code);
const filters = new Filters(towns);
const vehicles = new Vehicles({ api, live });
const login = new Login({ root: byId("login"), api });
const detail = new Detail({ root: byId("detail"), api, townName });
const list = new AlertList({
  list: byId("alerts"), empty: byId("list-empty"), more: byId("list-more"), fresh: byId("fresh"),
  scroller: byId("list-scroll"), townName, isUnfolded: (id) => incidents.unfolded.has(id),
});
let map = null;
let mapTimer = 0;
let frame = 0;
let closedRows = [];
let asked = false; // the next snapshot was asked for by the person: what it brings is no news

// ------------------------------------------------------------------ drawing

function visibleRows() {
  const now = nowMs();
  const closed = filters.value.state === "closed";
  const rows = closed ? closedRows : store.open(now);
  const severity = (alert) => (closed ? alert.severity : incidents.severityOf(alert));
  return rows.filter((alert) => matches(alert, filters.value, now, severity(alert)));
}

function emptyNote() {
  if (store.cursor === null) return live.state === "connecting" ? t("list.loading") : t("list.unknown");
  return filters.active ? t("list.filtered_empty") : t("list.calm");
}

function draw() {
  cancelAnimationFrame(frame);
  frame = 0;
  const rows = visibleRows();
  const closed = filters.value.state === "closed";
  const open = incidents.count(store.alerts.values());
  list.render(closed ? rows : incidents.fold(rows), emptyNote());
  filters.render({ open, shown: closed ? rows.length : incidents.count(rows).rows, alerts: store.alerts.size });
  showTitle(open.waiting);
  showFlood(store, townName);
  if (!mapTimer) mapTimer = setTimeout(drawMap, MAP_EVERY_MS);
}

/** Draw with the next frame, however many changes come before it. */
function redraw() {
  if (!frame) frame = requestAnimationFrame(draw);
}

function drawMap() {
  mapTimer = 0;
  map?.update(store.byTown(nowMs()), [...store.alerts.values()], [...incidents.byId.values()]);
}

function drawLegend() {
  fill(byId("legend"), SEVERITIES.map((level) => h("span", { class: "legend-item" },
    severityMark(level, { size: 18 }), term("severity", level))),
  h("span", { class: "legend-item" }, severityMark(2, { size: 18, cleared: true }), t("condition.cleared")));
}

function relabel() {
  translatePage();
  byId("sound").textContent = t(sound.on ? "sound.on" : "sound.off");
  byId("sound").setAttribute("aria-pressed", String(sound.on));
  byId("who").textContent = api.user?.name ?? "";
  filters.relabel();
  drawLegend();
  showMapNote();
  detail.relabel();
  vehicles.render();
  if (!byId("login").hidden) login.render();
  map?.relabel();
  showClock();
  showSkew();
  showConnection(live);
  draw();
}

function showMapNote() {
  byId("map-note").textContent = map?.kind === "svg" ? t("map.simple") : "";
}

// ------------------------------------------------------------------ the open alert

function showAlert(alert) {
  list.select(alert.id);
  detail.open(alert);
  document.body.classList.add("has-detail");
  map?.resize();
  map?.select(alert);
  if (PHONE.matches) byId("detail").focus({ preventScroll: true });
}

function hideAlert() {
  const id = detail.openId;
  detail.close();
  list.select(null);
  document.body.classList.remove("has-detail");
  map?.resize();
  map?.select(null);
  if (id && (document.activeElement === document.body || byId("detail").contains(document.activeElement))) list.setFocus(id);
}

/** Follow the address bar: `#alert=ID`. */
async function followAddress() {
  const id = /^#alert=(.+)$/.exec(location.hash)?.[1];
  if (!id) {
    if (detail.openId) hideAlert();
    return;
  }
  const wanted = decodeURIComponent(id);
  if (wanted === detail.openId) return;
  const known = store.alerts.get(wanted) ?? closedRows.find((alert) => alert.id === wanted);
  if (known) {
    showAlert(known);
    return;
  }
  try {
    const alert = await api.get(`alerts/${encodeURIComponent(wanted)}`);
    if (location.hash === `#alert=${id}`) showAlert(alert);
  } catch (error) {
    if (error.status === 404) {
      toast(t("detail.not_found"));
      closeAlert();
    } else if (error.status !== 401) toast(t("error.refused", { reason: error.message }));
  }
}

/** An incident opens in the list: its reasons and members; on the map its circle. */
function toggleIncident(id) {
  const unfolded = incidents.toggle(id);
  draw();
  list.setFocus(rowId(id));
  map?.showIncident(unfolded ? incidents.byId.get(id) : null);
}

function openAlert(id) {
  if (incidentOf(id)) {
    toggleIncident(incidentOf(id));
    return;
  }
  const hash = `#alert=${encodeURIComponent(id)}`;
  if (location.hash === hash) return;
  // One step back always leads from an alert to the list, however many were looked at.
  if (detail.openId) history.replaceState(null, "", hash);
  else history.pushState({ fromList: true }, "", hash);
  followAddress();
}

function closeAlert() {
  if (history.state?.fromList) history.back();
  else {
    history.replaceState(null, "", location.pathname + location.search);
    followAddress();
  }
}

function takeAnswer(alert) {
  store.take(alert);
  detail.update(alert);
  if (filters.value.state === "closed") loadClosed();
  redraw();
}

async function loadClosed() {
  try {
    closedRows = (await api.get("alerts", { state: "closed", limit: 200, exercise: live.exercises ? "any" : null })).items;
  } catch (error) {
    closedRows = [];
    toast(t("error.refused", { reason: error.message }));
  }
  redraw();
}

// ------------------------------------------------------------------ the feed

function alarm(alert) {
  announce(alert);
  sound.play(alert.severity);
}

function takeSnapshot({ items, cursor }) {
  const before = store.cursor === null || asked ? null : new Set(store.alerts.keys());
  asked = false;
  store.reset(items, cursor);
  draw();
  if (before) {
    for (const alert of items) {
      if (alert.state !== "new" || before.has(alert.id)) continue;
      if (!incidents.byId.has(alert.incident_id)) alarm(alert);
      list.announce(alert.id);
    }
  }
  if (detail.openId && store.alerts.has(detail.openId)) detail.update(store.alerts.get(detail.openId));
  else followAddress();
}

function takeChange(message) {
  const before = store.alerts.get(message.alert.id);
  if (!store.apply(message)) return;
  const { alert, change } = message;
  detail.update(alert);
  const worse = before && alert.severity < before.severity && alert.state !== "closed";
  if (change === "raised" || worse) {
    // A member of an incident is no alarm of its own: the incident was, and is when it gets worse.
    const folded = incidents.foldedIn(alert);
    if (!incidents.byId.has(alert.incident_id)) alarm(alert);
    draw();
    list.announce(folded ? rowId(folded) : alert.id);
  }
  if (filters.value.state === "closed" && (change === "closed" || change === "reopened")) loadClosed();
  redraw();
}

function takeIncident(message) {
  if (!incidents.apply(message)) return;
  const { incident, change } = message;
  if (incident.state !== "closed" && (change === "raised" || change === "worsened" || change === "reopened")) {
    alarm(asAlarm(incident));
    draw();
    list.announce(rowId(incident.id));
  }
  redraw();
}

// ------------------------------------------------------------------ the session

async function loadTowns() {
  try {
    towns.load(await api.all("regions", { level: "town" }));
    filters.relabel();
    map?.setTowns();
    redraw();
  } catch (error) {
    if (error.status !== 401) setTimeout(() => api.signedIn && loadTowns(), RETRY_TOWNS_MS);
  }
}

async function loadDevices() {
  try {
    map?.setDevices(await api.all("devices", {}));
  } catch {
    // Dots of devices are an extra; the page is whole without them.
  }
}

async function startMap() {
  if (map) return;
  map = await createMap(byId("map"), towns, {
    alert: openAlert, town: (code) => filters.set({ town: filters.value.town === code ? "" : code }),
    villages: async () => (await api.all("regions", { level: "village" }).catch(() => [])).map(regionOf),
  });
  showMapNote();
  drawMap();
  if (detail.alert) map.select(detail.alert);
}

async function begin() {
  if (!languageWasChosen() && api.user?.language) await useLanguage(api.user.language).catch(() => null);
  byId("console").hidden = false;
  byId("tabs").hidden = false;
  document.body.classList.add("is-signed-in");
  relabel();
  live.start();
  await loadTowns();
  await startMap();
  loadDevices();
}

function end(reason) {
  live.stop();
  store.reset([], null);
  incidents.reset([], null);
  closedRows = [];
  vehicles.forget();
  if (detail.openId) hideAlert();
  byId("console").hidden = true;
  byId("tabs").hidden = true;
  document.body.classList.remove("is-signed-in", "is-stale");
  draw();
  login.show(reason === "expired" ? "session.expired" : "");
}

async function loadAbout() {
  try {
    const about = await api.get("about");
    if (about.timezone) setZone(about.timezone);
    byId("demo").hidden = !about.demo;
    app.about = about;
  } catch {
    // A server that does not say what it is gets no banner.
  }
}

// ------------------------------------------------------------------ wiring

function wireEvents() {
  live.addEventListener("snapshot", ({ detail: message }) => takeSnapshot(message));
  live.addEventListener("incidents", ({ detail: { items, cursor } }) => {
    incidents.reset(items, cursor);
    redraw();
  });
  live.addEventListener("incident", ({ detail: message }) => takeIncident(message));
  live.addEventListener("alert", ({ detail: message }) => takeChange(message));
  live.addEventListener("state", () => {
    showConnection(live);
    redraw();
  });
  live.addEventListener("problem", ({ detail: reason }) => toast(t("error.refused", { reason })));
  api.addEventListener("signedout", ({ detail: { reason } }) => end(reason));
  login.addEventListener("signedin", begin);
  list.addEventListener("open", ({ detail: id }) => openAlert(id));
  detail.addEventListener("close", closeAlert);
  detail.addEventListener("alert", ({ detail: alert }) => takeAnswer(alert));
  sound.addEventListener("change", relabelSound);
  filters.addEventListener("change", () => {
    list.limit = 300;
    if (filters.value.state === "closed" && !closedRows.length) loadClosed();
    map?.filterTown(filters.value.town);
    redraw();
  });
  addEventListener("hashchange", () => {
    const ticket = ticketFromAddress();
    if (ticket) login.send({ ticket });
    else if (api.signedIn) followAddress();
  });
  addEventListener("popstate", () => api.signedIn && followAddress());
  addEventListener("online", () => live.retry());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && redraw());
  PHONE.addEventListener("change", () => map?.resize());
}

function relabelSound() {
  byId("sound").textContent = t(sound.on ? "sound.on" : "sound.off");
  byId("sound").setAttribute("aria-pressed", String(sound.on));
}

function openMenu(open) {
  byId("menu").classList.toggle("is-open", open);
  byId("menu-button").setAttribute("aria-expanded", String(open));
}

function wireButtons() {
  byId("menu-button").addEventListener("click", () => openMenu(!byId("menu").classList.contains("is-open")));
  document.addEventListener("click", ({ target }) => target.closest("#menu, #menu-button") || openMenu(false));
  byId("retry").addEventListener("click", () => live.retry());
  byId("connection").addEventListener("click", () => live.retry());
  byId("sound").addEventListener("click", () => sound.toggle());
  byId("sign-out").addEventListener("click", () => api.signOut());
  byId("help-button").addEventListener("click", showHelp);
  for (const id of ["vehicles-button", "vehicles-tab"]) byId(id).addEventListener("click", () => vehicles.open());
  byId("map-home").addEventListener("click", () => map?.home());
  byId("exercises").addEventListener("change", (event) => {
    closedRows = [];
    asked = true;
    live.showExercises(event.target.checked);
    if (filters.value.state === "closed") loadClosed();
  });
  byId("language").addEventListener("click", async () => {
    await useLanguage(currentLanguage() === "zh" ? "en" : "zh", { remember: true });
    relabel();
  });
  byId("tabs").addEventListener("click", ({ target }) => {
    const tab = target.closest("[data-tab]")?.dataset.tab;
    if (!tab) return;
    document.body.dataset.view = tab;
    for (const button of byId("tabs").children) button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
    map?.resize();
  });
}

function acknowledge() {
  const id = detail.openId ?? list.focusId;
  const alert = detail.openId ? detail.alert : store.alerts.get(id);
  if (!alert) return;
  if (alert.state !== "new") {
    toast(t("acknowledge.already", { state: term("state", alert.state) }));
    return;
  }
  openAlert(id);
  detail.actions.start("acknowledge");
}

function wireKeys() {
  const step = (delta) => {
    list.move(delta);
    if (detail.openId && !PHONE.matches && list.focusId && !incidentOf(list.focusId)) openAlert(list.focusId);
  };
  listenForKeys({
    next: () => step(1), previous: () => step(-1), open: () => list.open(list.focusId), acknowledge,
    newest: () => list.jumpToFresh(), sound: () => sound.toggle(), search: () => byId("search").focus(), help: showHelp,
    close: () => {
      openMenu(false);
      if (document.activeElement === byId("search")) list.setFocus(list.focusId);
      else if (detail.openId) closeAlert();
    },
  });
}

function everySecond() {
  tickAges();
  showClock();
  showConnection(live);
  showSkew();
  showFlood(store, townName);
  let red = false;
  for (const alert of store.alerts.values()) red ||= incidents.severityOf(alert) === 1 && alert.state === "new";
  sound.remind(red);
}

/** What tests and support may look at; nothing on the page depends on it. */
const app = {
  about: null,
  get connection() { return live.state; },
  get cursor() { return live.cursor; },
  get alerts() { return store.alerts.size; },
  get incidents() { return incidents.byId.size; },
  get selected() { return detail.openId; },
  get plot() { return detail.plot && { kind: detail.plot.kind, points: detail.plot.points }; },
  get sounds() { return sound.played; },
  get map() {
    return map && { kind: map.kind, idle: map.idle, ...map.counts() };
  },
  rendered: (layer) => map?.rendered?.(layer) ?? null,
  dropConnection: () => live.socket?.close(),
};
window.__app = app;

async function start() {
  await useLanguage(preferredLanguage());
  document.body.classList.remove("is-loading");
  document.body.dataset.view = "list";
  wireEvents();
  wireButtons();
  wireKeys();
  const ticket = ticketFromAddress();
  translatePage();
  setInterval(everySecond, 1000);
  await loadAbout();
  if (ticket) {
    if (!(await login.send({ ticket }))) relabel();
  } else if (api.signedIn) await begin();
  else {
    login.show();
    relabel();
  }
}

start();
