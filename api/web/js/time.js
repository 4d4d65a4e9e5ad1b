// Times on the page: 24 h, in the city's zone whatever the computer's own zone is, and
// ages against the server's clock (a wrong computer clock must not make an alert look old).

let zone = "Asia/Shanghai";
let offsetMs = 0;

export function setZone(name) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    zone = name;
  } catch {
    // A browser without this zone keeps the city's own.
  }
}

/** Learn the server's clock from an HTTP `Date` header; below 2 s it is rounding. */
export function learnServerClock(dateHeader, sentMs, receivedMs) {
  const server = Date.parse(dateHeader ?? "");
  if (Number.isNaN(server)) return;
  const difference = server + 500 - (sentMs + receivedMs) / 2;
  offsetMs = Math.abs(difference) > 2000 ? difference : 0;
}

export function clockOffsetMs() {
  return offsetMs;
}

export function nowMs() {
  return Date.now() + offsetMs;
}

/** Milliseconds since 1970 with the microseconds kept as a fraction; NaN when absent or wrong. */
export function parseMs(iso) {
  const match = /^(.+T\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)$/.exec(iso ?? "");
  if (!match) return Date.parse(iso ?? "");
  return Date.parse(match[1] + match[3]) + (match[2] ? Number(`0.${match[2]}`) * 1000 : 0);
}

const formats = new Map();
function parts(ms) {
  if (!formats.has(zone)) {
    formats.set(zone, new Intl.DateTimeFormat("en-GB", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit",
      hour: "2-digit", minute: "2-digit", second: "2-digit",
    }));
  }
  const found = {};
  for (const { type, value } of formats.get(zone).formatToParts(ms)) found[type] = value;
  return found;
}

/** `14:05:50`, or `14:05:50.123` with digits = 3. */
export function clockText(ms, digits = 0) {
  if (!Number.isFinite(ms)) return "–";
  const p = parts(ms);
  const fraction = digits ? "." + String(Math.floor(ms % 1000)).padStart(3, "0").slice(0, digits) : "";
  return `${p.hour}:${p.minute}:${p.second}${fraction}`;
}

/** `2026-11-23 14:05:50`. */
export function dateTimeText(ms, digits = 0) {
  if (!Number.isFinite(ms)) return "–";
  const p = parts(ms);
  return `${p.year}-${p.month}-${p.day} ${clockText(ms, digits)}`;
}

/** Time of day for today, with the date for other days. */
export function shortText(ms) {
  if (!Number.isFinite(ms)) return "–";
  const a = parts(ms);
  const b = parts(nowMs());
  const today = a.year === b.year && a.month === b.month && a.day === b.day;
  return today ? clockText(ms) : dateTimeText(ms);
}

/** `UTC+8`: the zone's label, so that no time stands without one. */
export function zoneLabel() {
  const found = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "shortOffset" })
    .formatToParts(nowMs()).find((part) => part.type === "timeZoneName");
  return (found?.value ?? "UTC").replace("GMT", "UTC");
}

/** An age as [key, params] for the dictionary, so that this module needs no language. */
export function ageParts(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return ["age.seconds", { n: seconds }];
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return ["age.minutes", { n: minutes }];
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return ["age.hours", { h: hours, m: String(minutes % 60).padStart(2, "0") }];
  return ["age.days", { n: Math.floor(hours / 24) }];
}

/** `0.8 ms`, `143 ms`, `2.31 s`, `4 min 05 s`: a lag a person can compare. */
export function lagText(ms) {
  if (!Number.isFinite(ms)) return "–";
  const size = Math.abs(ms);
  if (size < 10) return `${ms.toFixed(1)} ms`;
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 60_000) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(size / 1000);
  const sign = ms < 0 ? "-" : "";
  if (seconds < 3600) return `${sign}${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
  return `${sign}${Math.floor(seconds / 3600)} h ${String(Math.floor(seconds / 60) % 60).padStart(2, "0")} min`;
}
