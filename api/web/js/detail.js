// One alert in full: where, why, what was measured, who is told, how fast, and who did what.

import { Actions } from "./actions.js";
import { Around } from "./around.js";
import { copyText, fill, h } from "./dom.js";
import { DutyCard } from "./duty.js";
import { numberText, say, t, term } from "./i18n.js";
import { ageNode, chips } from "./list.js";
import { Pictures } from "./pictures.js";
import { SensorCard } from "./sensor.js";
import { FILLS, NUMERALS, severityMark } from "./severity.js";
import { dateTimeText, lagText, nowMs, parseMs, shortText, zoneLabel } from "./time.js";
import { TripCard } from "./trips.js";
import { drawMeasured } from "./waveform.js";

const STAGES = ["sampled", "received", "committed", "detected", "placed", "pushed"];
const HISTORY_DELAY_MS = 250;
const LINKS = ["snapshot_url", "clip_url"];
const WITHOUT_ZERO = /_delay_s$|^rise_over_s$/;
const MEASURE_DELAY_MS = 1500;
const PUSH_SETTLED_MS = 10_000;

/** [{stage, ms, lag}] of the stages known, in order; lag = ms since the stage before. */
export function stagesOf(timeline) {
  const known = STAGES.map((stage) => ({ stage, ms: parseMs(timeline?.[stage]) })).filter(({ ms }) => Number.isFinite(ms));
  return known.map((entry, i) => ({ ...entry, lag: i ? entry.ms - known[i - 1].ms : null }));
}

function pair(label, ...content) {
  return [h("dt", null, label), h("dd", null, ...content)];
}

function code(text) {
  return text ? h("code", null, text) : h("span", { class: "quiet-text" }, "–");
}

/** A nested evidence value as short text. */
function featureText(value) {
  if (typeof value === "number") return numberText(value);
  if (Array.isArray(value)) return value.slice(0, 12).map(featureText).join(", ") + (value.length > 12 ? " …" : "");
  if (value !== null && typeof value === "object") return say(value) || JSON.stringify(value);
  return term("value", value);
}

function webLink(address) {
  try {
    const url = new URL(address);
    if (!["http:", "https:"].includes(url.protocol)) return h("span", null, address);
    return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, url.host + url.pathname);
  } catch {
    return h("span", null, address);
  }
}

export class Detail extends EventTarget {
  /** Fires `close` and `alert` (a newer alert came with an answer). */
  constructor({ root, api, townName }) {
    super();
    Object.assign(this, { root, api, townName, alert: null, history: [], plot: null });
    this.parts = {
      head: h("header", { class: "detail-head" }), actions: h("div", { class: "actions" }),
      where: h("section", { class: "card" }), why: h("div"),
      plot: h("div", { class: "plots" }),
      facts: h("div"), times: h("section", { class: "card" }), history: h("section", { class: "card" }),
    };
    const p = this.parts;
    this.around = new Around(api);
    this.sensor = new SensorCard(api);
    this.duty = new DutyCard(api);
    this.trip = new TripCard(api);
    this.pictures = new Pictures(api);
    fill(root, p.head, h("div", { class: "detail-scroll" }, p.actions, p.where,
      h("section", { class: "card" }, p.why, this.pictures.node, p.plot, p.facts), this.sensor.node, this.trip.node, this.duty.node, this.around.node, p.times, p.history));
    this.actions = new Actions({
      api, root: p.actions, changed: (alert) => this.dispatchEvent(new CustomEvent("alert", { detail: alert })),
      historyOf: async (id) => (await api.get(`alerts/${encodeURIComponent(id)}`)).history ?? [],
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.alert && this.measure());
  }

  get openId() {
    return this.alert?.id ?? null;
  }

  open(alert) {
    const other = this.alert?.id !== alert.id;
    clearTimeout(this.measureTimer);
    if (other) {
      this.history = [];
      this.pictures.clear();
      this.root.querySelector(".detail-scroll").scrollTop = 0;
    }
    this.alert = alert;
    this.root.hidden = false;
    this.render();
    if (other) this.measure();
    this.loadHistory(0);
  }

  /** A newer state of the open alert. */
  update(alert) {
    if (alert.id !== this.openId || alert.version < this.alert.version) return;
    const longer = alert.condition !== this.alert.condition || alert.evidence?.window?.[1] !== this.alert.evidence?.window?.[1];
    this.alert = alert;
    this.render();
    if (longer) {
      clearTimeout(this.measureTimer);
      this.measureTimer = setTimeout(() => this.alert && this.measure(), MEASURE_DELAY_MS);
    }
    this.loadHistory(HISTORY_DELAY_MS);
  }

  close() {
    if (!this.alert) return;
    this.alert = null;
    clearTimeout(this.historyTimer);
    clearTimeout(this.measureTimer);
    this.dropPlot();
    this.pictures.clear();
    this.sensor.clear();
    this.root.hidden = true;
  }

  /** Draw the measured data; what is drawn of the same alert stays until the newer is there. */
  async measure() {
    const { id } = this.alert;
    const older = this.plot?.alert === id ? [...this.parts.plot.children] : [];
    if (!older.length) this.dropPlot();
    const holder = h("div", { class: older.length ? "plot-coming" : "" });
    this.parts.plot.append(holder);
    const plot = await drawMeasured(holder, this.api, this.alert);
    if (this.openId !== id || !holder.isConnected) {
      plot.dispose();
      return;
    }
    this.plot?.dispose();
    older.forEach((node) => node.remove());
    holder.className = "";
    this.plot = { ...plot, alert: id };
  }

  dropPlot() {
    this.plot?.dispose();
    this.plot = null;
    this.parts.plot.replaceChildren();
  }

  loadHistory(delayMs) {
    clearTimeout(this.historyTimer);
    const { id } = this.alert;
    this.historyTimer = setTimeout(async () => {
      try {
        const full = await this.api.get(`alerts/${encodeURIComponent(id)}`);
        if (this.openId !== id) return;
        this.history = full.history ?? [];
        this.historyProblem = "";
        this.pictures.show(full);
        if (full.version > this.alert.version) this.dispatchEvent(new CustomEvent("alert", { detail: full }));
        else if (full.timeline?.pushed && !this.alert.timeline?.pushed) {
          this.alert = { ...this.alert, timeline: full.timeline };
          this.renderTimes();
        }
      } catch (error) {
        this.historyProblem = error.message;
      }
      if (this.openId === id) this.renderHistory();
    }, delayMs);
  }

  render() {
    this.renderHead();
    this.actions.show(this.alert);
    this.renderWhere();
    this.renderWhy();
    this.sensor.show(this.alert);
    this.trip.show(this.alert);
    this.duty.show(this.alert);
    this.around.show(this.alert);
    this.renderTimes();
    this.renderHistory();
  }

  /** After a change of language. */
  relabel() {
    if (!this.alert) return;
    this.actions.closeForm();
    this.render();
    this.measure();
  }

  renderHead() {
    const alert = this.alert;
    const focusInside = this.parts.head.contains(document.activeElement);
    fill(this.parts.head,
      h("button", { type: "button", class: "back", onclick: () => this.dispatchEvent(new Event("close")) },
        h("span", { class: "back-arrow", "aria-hidden": "true" }, "←"), h("span", { class: "back-text" }, t("detail.back"))),
      severityMark(alert.severity, { size: 44, cleared: alert.condition === "cleared" }),
      h("div", { class: "detail-heading" },
        h("div", { class: "detail-kicker" }, `${t("severity.label")} ${NUMERALS[alert.severity]} · ${term("severity", alert.severity)}`,
          " · ", ageNode(alert.started_at, "age")),
        h("h2", null, say(alert.title) || alert.kind),
        h("div", { class: "row-chips" }, chips(alert))));
    if (focusInside) this.parts.head.querySelector(".back").focus();
  }

  renderWhere() {
    const alert = this.alert;
    const place = alert.place ?? {};
    const { lon, lat } = alert.location ?? {};
    const known = Number.isFinite(lon) && Number.isFinite(lat);
    const territory = [this.townName(place.town) || place.names?.town, place.names?.village].filter(Boolean).join(" · ");
    fill(this.parts.where,
      h("h3", null, t("detail.where")),
      h("p", { class: "address" }, place.address || territory || t("place.unknown")),
      place.address && territory && h("p", { class: "territory" }, territory),
      !place.town && h("p", { class: "quiet-text" }, t("place.city_desk_why")),
      h("dl", { class: "codes" },
        pair(t("place.grid"), code(place.grid)), pair(t("place.village"), code(place.village)),
        pair(t("place.town"), code(place.town)), pair(t("place.address_id"), code(place.address_id)),
        pair(t("place.how"), this.howFound(place)),
        pair(t("place.coordinates"), known ? this.coordinates(lon, lat) : code(""))));
  }

  howFound(place) {
    const bits = [term("method", place.method || "none")];
    const near = place.method === "device" && place.distance_m < 1;
    if (Number.isFinite(place.distance_m) && !near) bits.push(t("place.distance", { m: numberText(place.distance_m, 3) }));
    if (Number.isFinite(place.score) && place.score > 0) bits.push(t("place.score", { score: Math.round(place.score * 100) }));
    return bits.join(" · ");
  }

  coordinates(lon, lat) {
    const text = `${lon.toFixed(6)}, ${lat.toFixed(6)}`;
    const label = h("span", { class: "copy-label" }, t("copy.button"));
    const button = h("button", {
      type: "button", class: "copy", title: t("copy.title"),
      onclick: async () => {
        label.textContent = (await copyText(text)) ? t("copy.done") : t("copy.failed");
        setTimeout(() => { label.textContent = t("copy.button"); }, 2000);
      },
    }, label);
    return h("span", { class: "coordinates" }, h("code", null, text), " ", h("span", { class: "quiet-text" }, "WGS-84"), button);
  }

  renderWhy() {
    const alert = this.alert;
    const evidence = alert.evidence ?? {};
    const links = LINKS.filter((name) => evidence[name] ?? evidence.features?.[name]);
    const window = (evidence.window ?? []).map(parseMs);
    fill(this.parts.why, h("h3", null, t("detail.why")),
      Number.isFinite(alert.value) && this.valueLine(alert, term("metric", alert.metric)));
    fill(this.parts.facts, h("dl", { class: "facts" },
      pair(t("why.rule"), code(evidence.rule ?? alert.rule)),
      pair(t("why.device"), code(alert.device?.id), ` ${term("device", alert.device?.kind)}`),
      alert.exercise && pair(t("chip.exercise"), code(alert.exercise)),
      pair(t("why.started"), `${dateTimeText(parseMs(alert.started_at))} ${zoneLabel()}`),
      alert.cleared_at && pair(t("why.cleared"), `${dateTimeText(parseMs(alert.cleared_at))} ${zoneLabel()}`),
      window[1] - window[0] > 1
        && pair(t("why.window"), `${shortText(window[0])} – ${shortText(window[1])} (${lagText(window[1] - window[0])})`),
      evidence.association && pair(t("why.association"), this.associationText(evidence.association)),
      alert.count > 1 && pair(t("why.count"), numberText(alert.count)),
      this.features().map(([name, value]) => pair(term("feature", name), featureText(value))),
      links.map((name) => pair(t(`why.${name}`), webLink(evidence[name] ?? evidence.features[name])))));
  }

  /** What association decided, with its distance and lag. */
  associationText({ decision, distance_m: metres, lag_s: lag, offset_s: offset }) {
    const bits = [term("association", decision)];
    if (Number.isFinite(metres)) bits.push(t("association.distance", { km: numberText(metres / 1000, 3) }));
    if (Number.isFinite(lag)) bits.push(t("association.lag", { s: numberText(lag, 3) }));
    if (Number.isFinite(offset)) bits.push(t("association.offset", { s: numberText(Math.abs(offset)) }));
    return bits.join(" · ");
  }

  /** What the detector knew beside the value, less what says nothing. */
  features() {
    const features = this.alert.evidence?.features ?? {};
    const unused = features.of === 1 ? ["n", "of"] : []; // one value is enough: no "n of m"
    return Object.entries(features).filter(([name, value]) => (
      value !== null && value !== "" && name !== "metric_keys" && !LINKS.includes(name) && !unused.includes(name)
      && !(WITHOUT_ZERO.test(name) && value === 0)));
  }

  valueLine(alert, metric) {
    const hasLimit = Number.isFinite(alert.limit) && alert.limit > 0;
    const ratio = hasLimit ? alert.value / alert.limit : null;
    const scale = Math.max(1.25, ratio ?? 1);
    return h("div", { class: "value-line" },
      h("div", { class: "value-figures" },
        h("span", { class: "value-number" }, numberText(alert.value)), h("span", { class: "value-unit" }, term("unit", alert.unit)),
        h("span", { class: "value-text" }, metric),
        Number.isFinite(alert.limit) && h("span", { class: "value-limit" }, t("why.limit", { limit: numberText(alert.limit), unit: term("unit", alert.unit) }),
          ratio && ratio > 0 ? ` · ${Math.round(ratio * 100)}%` : "")),
      ratio > 0 && h("div", { class: "gauge", "aria-hidden": "true" },
        h("div", {
          class: `gauge-fill severity-${alert.severity}`,
          style: { width: `${Math.min(100, (ratio / scale) * 100).toFixed(1)}%`, background: FILLS[alert.severity] },
        }),
        h("div", { class: "gauge-limit", style: { left: `${(100 / scale).toFixed(1)}%` } })));
  }

  renderTimes() {
    const stages = stagesOf(this.alert.timeline);
    const longest = Math.max(1, ...stages.map(({ lag }) => lag ?? 0));
    const first = stages[0], last = stages.at(-1);
    const received = stages.find(({ stage }) => stage === "received");
    fill(this.parts.times,
      h("h3", null, t("detail.times"), h("span", { class: "zone" }, zoneLabel())),
      h("table", { class: "times" },
        h("tbody", null, stages.map(({ stage, ms, lag }) => h("tr", null,
          h("th", { scope: "row" }, t(`stage.${stage}`)),
          h("td", { class: "times-clock" }, dateTimeText(ms, 3)),
          h("td", { class: "times-lag" }, lag === null ? "" : `+${lagText(lag)}`),
          h("td", { class: "times-bar" }, lag > 0 && h("span", { style: { width: `${((lag / longest) * 100).toFixed(1)}%` } })))))),
      stages.length > 1 && h("p", { class: "times-total" },
        h("strong", null, t("times.total", { lag: lagText(last.ms - first.ms) })),
        received && last.ms > received.ms ? ` · ${t("times.server", { lag: lagText(last.ms - received.ms) })}` : "",
        last.stage !== "pushed" && nowMs() - last.ms > PUSH_SETTLED_MS ? ` · ${t("times.not_pushed")}` : ""));
  }

  renderHistory() {
    const rows = [...this.history].reverse();
    fill(this.parts.history,
      h("h3", null, t("detail.history"), h("span", { class: "zone" }, zoneLabel())),
      this.historyProblem ? h("p", { class: "quiet-text" }, t("history.failed", { reason: this.historyProblem })) : null,
      h("ol", { class: "history", reversed: true }, rows.map((row) => h("li", null,
        h("time", { datetime: row.at }, shortText(parseMs(row.at))),
        h("span", { class: "history-what" }, term("change", row.change)),
        h("span", { class: "history-who" }, row.actor === "detector" ? t("actor.detector") : row.actor),
        row.reason && h("span", { class: "history-reason" }, say(row.reason))))));
  }
}
