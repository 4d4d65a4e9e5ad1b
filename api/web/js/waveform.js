// Plots of what the device measured around an alert: three axes of a waveform, or one
// scalar metric with its limit. Ink only; the severity's colour is kept for the limit.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { fill, h } from "./dom.js";
import { numberText, t, term } from "./i18n.js";
import { AXES, joinPackets, peakOf, windowOf } from "./packets.js";
import { FILLS } from "./severity.js";
import { clockText, nowMs, parseMs, zoneLabel } from "./time.js";

const LONGEST_WAVEFORM_S = 80;

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function iso(seconds) {
  return new Date(seconds * 1000).toISOString();
}

function shade([from, to]) {
  return (plot) => {
    const { left, width, top, height } = plot.bbox;
    const clamp = (x) => Math.min(left + width, Math.max(left, x));
    const a = clamp(plot.valToPos(from, "x", true));
    const b = clamp(plot.valToPos(to, "x", true));
    plot.ctx.fillStyle = css("--plot-window");
    plot.ctx.fillRect(a, top, Math.max(1, b - a), height);
  };
}

function limitLine(limit, severity) {
  return (plot) => {
    if (limit === null) return;
    const { left, width, top, height } = plot.bbox;
    const y = plot.valToPos(limit, "y", true);
    if (y < top || y > top + height) return;
    const g = plot.ctx;
    g.save();
    g.strokeStyle = severity === 1 ? css("--severity-1-ink") : FILLS[severity];
    g.lineWidth = 2;
    g.setLineDash([7, 5]);
    g.beginPath();
    g.moveTo(left, y);
    g.lineTo(left + width, y);
    g.stroke();
    g.restore();
  };
}

// A single reading has no extent, and uPlot would make one up: half a minute each side instead.
function aroundOne(plot, from, to) {
  const times = plot.data[0];
  return times.length === 1 ? [times[0] - 30, times[0] + 30] : [from, to];
}

function options({ width, height, range, window, limit, severity, bottom, sync, onCursor, points }) {
  const axis = { stroke: css("--muted"), grid: { stroke: css("--plot-grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width, height, padding: [8, 8, 0, 0], legend: { show: false },
    cursor: { sync: { key: sync }, drag: { x: true, y: false }, y: false, points: { size: 6 } },
    scales: { x: { time: false, range: aroundOne }, y: { range } },
    axes: [
      { ...axis, show: bottom, size: bottom ? 24 : 0, space: 70, values: (_plot, splits) => {
        const fine = splits.length > 1 && splits[1] - splits[0] < 1;
        return splits.map((second) => clockText(Math.round(second * 1000), fine ? 1 : 0));
      } },
      { ...axis, size: 54, space: 16, values: (_plot, splits) => splits.map((v) => numberText(v, 3)) },
    ],
    series: [{}, { stroke: css("--plot-ink"), width: 1.1, points: { show: points, size: 4 }, spanGaps: false }],
    hooks: { drawClear: [shade(window)], draw: [limitLine(limit, severity)], setCursor: [onCursor] },
  };
}

/** Plots in a container that follow its width; `dispose` frees them. */
class Plots {
  constructor(container) {
    this.container = container;
    this.plots = [];
    this.observer = new ResizeObserver(() => {
      const width = container.clientWidth;
      for (const { plot, height } of this.plots) if (width > 80) plot.setSize({ width, height });
    });
    this.observer.observe(container);
  }

  add(target, setup, columns) {
    const width = Math.max(200, this.container.clientWidth);
    const plot = new uPlot({ ...options({ ...setup, width }) }, columns, target);
    this.plots.push({ plot, height: setup.height });
  }

  dispose() {
    this.observer.disconnect();
    for (const { plot } of this.plots) plot.destroy();
    this.plots = [];
  }
}

function timeNote(unit) {
  return t("plot.note", { unit, zone: zoneLabel() });
}

function drawWaveform(container, alert, joined) {
  const plots = new Plots(container);
  const range = Math.max(...AXES.map((axis) => peakOf(joined[axis]))) * 1.08 || 1;
  const readout = h("span", { class: "plot-readout" });
  const present = AXES.filter((axis) => joined[axis].some((value) => value !== null));
  const summary = present.map((axis) => `${axis} ${numberText(peakOf(joined[axis]), 3)}`).join(", ");
  fill(container, h("div", { class: "plot-note" }, h("span", null, timeNote(term("unit", joined.unit))), readout));
  present.forEach((axis, i) => {
    const bottom = i === present.length - 1;
    const target = h("div", {
      class: "plot", role: "img", "aria-label": t("plot.axis_label", { axis, peak: numberText(peakOf(joined[axis]), 3), unit: term("unit", joined.unit) }),
    }, h("span", { class: "plot-axis" }, axis),
    h("span", { class: "plot-peak" }, t("plot.peak", { value: numberText(peakOf(joined[axis]), 3) })));
    container.append(target);
    plots.add(target, {
      height: bottom ? 104 : 80, range: [-range, range], window: windowOf(alert), limit: null, severity: alert.severity,
      bottom, sync: `alert-${alert.id}`, points: false,
      onCursor: (plot) => {
        const at = plot.cursor.idx;
        if (at === null || at === undefined) return;
        readout.textContent = `${clockText(joined.time[at] * 1000, 3)}  `
          + present.map((name) => `${name} ${numberText(joined[name][at], 3)}`).join("  ");
      },
    }, [joined.time, joined[axis]]);
  });
  return { dispose: () => plots.dispose(), points: joined.time.length, kind: "waveform", summary };
}

function drawReadings(container, alert, rows) {
  const plots = new Plots(container);
  const time = rows.map((row) => parseMs(row.t ?? row.time) / 1000);
  const value = rows.map((row) => row.value ?? row.mean ?? row.avg ?? null);
  const limit = Number.isFinite(alert.limit) ? alert.limit : null;
  const known = value.filter((v) => v !== null).concat(limit === null ? [] : [limit]);
  const low = Math.min(...known), high = Math.max(...known);
  const room = (high - low || Math.abs(high) || 1) * 0.12;
  const name = term("metric", alert.metric);
  const readout = h("span", { class: "plot-readout" });
  const target = h("div", {
    class: "plot", role: "img", "aria-label": t("plot.metric_label", { name, unit: term("unit", alert.unit), n: rows.length }),
  });
  fill(container, h("div", { class: "plot-note" }, h("span", null, `${name} · ${timeNote(term("unit", alert.unit))}`), readout), target);
  plots.add(target, {
    height: 168, range: [low - room, high + room], window: windowOf(alert), limit, severity: alert.severity, bottom: true,
    sync: `alert-${alert.id}`, points: rows.length < 200,
    onCursor: (plot) => {
      const at = plot.cursor.idx;
      if (at !== null && at !== undefined) readout.textContent = `${clockText(time[at] * 1000)}  ${numberText(value[at])} ${term("unit", alert.unit)}`;
    },
  }, [time, value]);
  return { dispose: () => plots.dispose(), points: time.length, kind: "readings" };
}

function asked(alert, extra) {
  return { device: alert.device?.id, exercise: alert.exercise, ...extra };
}

async function waveformOf(api, alert) {
  const [from, to] = windowOf(alert);
  const answer = await api.get("waveforms", asked(alert, {
    from: iso(from - 5), to: iso(Math.min(to + 8, from + LONGEST_WAVEFORM_S)),
  }));
  return joinPackets(answer.items ?? answer.packets ?? []);
}

async function readingsOf(api, alert) {
  const [from, to] = windowOf(alert);
  const room = Math.max(600, to - from);
  const answer = await api.get("readings", asked(alert, {
    metric: alert.metric, from: iso(from - room), to: iso(Math.min(to + room, nowMs() / 1000)),
  }));
  return answer.items ?? answer.points ?? [];
}

// Values that are made here: no metric was ever sent.
const WITHOUT_READINGS = ["vehicle", "camera"];
const MADE_HERE = ["silent_s", "clock_skew_s", "flat_s"];

/** Draw what there is for an alert; resolves to {dispose, points, kind}. */
export async function drawMeasured(container, api, alert) {
  fill(container, h("p", { class: "quiet-text" }, t("plot.loading")));
  const nothing = (text) => {
    fill(container, h("p", { class: "quiet-text" }, text));
    return { dispose() {}, points: 0, kind: "none" };
  };
  try {
    if (alert.device?.kind === "vibration" || alert.kind?.startsWith("vibration")) {
      const joined = await waveformOf(api, alert);
      if (!container.isConnected) return nothing("");
      if (joined.time.length) return drawWaveform(container, alert, joined);
    }
    if (WITHOUT_READINGS.includes(alert.device?.kind) || MADE_HERE.includes(alert.metric)) return nothing("");
    const rows = alert.metric ? await readingsOf(api, alert) : [];
    if (!container.isConnected) return nothing("");
    return rows.length ? drawReadings(container, alert, rows) : nothing(t("plot.nothing"));
  } catch (error) {
    return nothing(error.status === 404 ? t("plot.nothing") : t("plot.failed", { reason: error.message }));
  }
}
