// What the page knows of alerts. Newer versions win; a closed alert leaves the open list.
// Pure: no DOM, no clock, no network.

const FLOOD_WINDOW_MS = 10 * 60_000;
export const FLOOD_LIMIT = 10;

export function isShelved(alert, nowMs) {
  return Boolean(alert.shelved_until) && Date.parse(alert.shelved_until) > nowMs;
}

/** Shelved last, then the most severe, then the newest. */
export function compareAlerts(a, b, nowMs) {
  return (isShelved(a, nowMs) - isShelved(b, nowMs))
    || (a.severity - b.severity)
    || b.started_at.localeCompare(a.started_at)
    || a.id.localeCompare(b.id);
}

/** Who leads, of the duty rows. */
export function leadOf(alert) {
  return (alert.duty ?? []).find((duty) => duty.role === "lead") ?? null;
}

export class AlertStore {
  constructor() {
    this.alerts = new Map();
    this.raised = new Map(); // id -> {ms, town, incident}: what the flood banner counts
    this.cursor = null;
  }

  /** Take a snapshot: it replaces everything. */
  reset(items, cursor) {
    this.alerts = new Map(items.map((alert) => [alert.id, alert]));
    this.raised = new Map();
    for (const alert of items) this.noteRaised(alert);
    this.cursor = cursor;
  }

  /** Take one change; true when it was news. */
  apply({ cursor, alert }) {
    if (this.cursor !== null && cursor <= this.cursor) return false;
    this.cursor = cursor;
    this.noteRaised(alert);
    return this.take(alert);
  }

  /** Take an alert from an answer; an older version than ours is ignored. */
  take(alert) {
    const known = this.alerts.get(alert.id);
    if (known && known.version > alert.version) return false;
    if (known && known.version === alert.version && known.timeline?.pushed && !alert.timeline?.pushed) return false;
    if (alert.state === "closed") this.alerts.delete(alert.id);
    else this.alerts.set(alert.id, alert);
    return true;
  }

  noteRaised(alert) {
    const known = this.raised.get(alert.id);
    const ms = known?.ms ?? Date.parse(alert.timeline?.committed ?? alert.started_at);
    this.raised.set(alert.id, { ms, town: alert.place?.town ?? null, incident: alert.incident_id ?? null });
  }

  open(nowMs) {
    return [...this.alerts.values()].sort((a, b) => compareAlerts(a, b, nowMs));
  }

  /** Open alerts by town: Map(code -> {count, worst}); shelved ones do not colour the map. */
  byTown(nowMs) {
    const towns = new Map();
    for (const alert of this.alerts.values()) {
      const code = alert.place?.town;
      if (!code || isShelved(alert, nowMs)) continue;
      const entry = towns.get(code) ?? { count: 0, worst: 9 };
      entry.count += 1;
      entry.worst = Math.min(entry.worst, alert.severity);
      towns.set(code, entry);
    }
    return towns;
  }

  /**
   * Alerts of the last ten minutes, as {count, rows, towns: [[code, n], …]} by number; `rows` is what they
   * fold to, an incident being one however many alerts it has.
   */
  recent(nowMs) {
    const rows = new Set();
    const towns = new Map();
    let count = 0;
    for (const [id, { ms, town, incident }] of this.raised) {
      if (ms < nowMs - FLOOD_WINDOW_MS) {
        this.raised.delete(id);
        continue;
      }
      count += 1;
      rows.add(incident ?? id);
      towns.set(town, (towns.get(town) ?? 0) + 1);
    }
    return { count, rows: rows.size, towns: [...towns].sort((a, b) => b[1] - a[1]) };
  }
}

/** Everything of an alert a person might type into the search box, lower case. */
export function searchText(alert) {
  const place = alert.place ?? {};
  return [
    alert.id, alert.kind, alert.device?.id, alert.title?.zh, alert.title?.en, place.address, place.address_id,
    place.grid, place.names?.town, place.names?.village, alert.assignee,
    ...(alert.duty ?? []).flatMap((duty) => [duty.unit, duty.name?.zh, duty.name?.en]),
  ].filter(Boolean).join(" ").toLowerCase();
}

/** Whether an alert passes the list's filter; `severity` is that of the row which stands for it. */
export function matches(alert, filter, nowMs, severity = alert.severity) {
  if (filter.severities.size && !filter.severities.has(severity)) return false;
  if (filter.state === "shelved" && !isShelved(alert, nowMs)) return false;
  if (["new", "acknowledged", "assigned"].includes(filter.state) && alert.state !== filter.state) return false;
  if (filter.town && alert.place?.town !== filter.town) return false;
  const words = filter.text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const text = searchText(alert);
  return words.every((word) => text.includes(word));
}
