// Waveform packets as columns to plot. Pure: no DOM, no network.

import { parseMs } from "./time.js";

export const AXES = ["x", "y", "z"];

/** The alert's own window in seconds since 1970, [from, to]. */
export function windowOf(alert) {
  const started = parseMs(alert.started_at) / 1000;
  const [from, to] = (alert.evidence?.window ?? []).map((iso) => parseMs(iso) / 1000);
  const begin = Number.isFinite(from) ? from : started;
  return [begin, Number.isFinite(to) && to > begin ? to : begin + 1];
}

/** Packets as columns {time, x, y, z, unit}; a gap becomes a null so that no line crosses it. */
export function joinPackets(packets) {
  const rows = packets.map((packet) => ({ ...packet, start: parseMs(packet.t ?? packet.time ?? packet.start) / 1000 }))
    .filter((packet) => Number.isFinite(packet.start) && packet.rate_hz > 0)
    .sort((a, b) => a.start - b.start);
  const joined = { time: [], x: [], y: [], z: [], unit: rows[0]?.unit ?? "" };
  let expected = null;
  for (const row of rows) {
    if (row.unit !== joined.unit) continue;
    const step = 1 / row.rate_hz;
    if (expected !== null && row.start > expected + 0.5 * step) {
      joined.time.push(expected);
      for (const axis of AXES) joined[axis].push(null);
    }
    const n = Math.max(...AXES.map((axis) => row[axis]?.length ?? 0));
    for (let i = 0; i < n; i += 1) {
      joined.time.push(row.start + i * step);
      for (const axis of AXES) joined[axis].push(row[axis]?.[i] ?? null);
    }
    expected = row.start + n * step;
  }
  return joined;
}

/** Largest absolute value, 0 of none. */
export function peakOf(values) {
  let peak = 0;
  for (const value of values) if (value !== null && Math.abs(value) > peak) peak = Math.abs(value);
  return peak;
}
