// What the page knows of incidents, and how alerts fold under them. Pure: no DOM, no clock, no network.

const PREFIX = "incident:";

export function rowId(incidentId) {
  return PREFIX + incidentId;
}

/** The incident's id of a row's id, or null when the row is an alert. */
export function incidentOf(id) {
  return id?.startsWith(PREFIX) ? id.slice(PREFIX.length) : null;
}

export class IncidentStore {
  constructor() {
    this.byId = new Map();
    this.unfolded = new Set();
    this.cursor = null;
  }

  reset(items, cursor) {
    this.byId = new Map(items.map((incident) => [incident.id, incident]));
    this.cursor = cursor;
  }

  /** Take one change; true when it was news. */
  apply({ cursor, incident }) {
    if (this.cursor !== null && cursor <= this.cursor) return false;
    this.cursor = cursor;
    if (incident.state === "closed") this.byId.delete(incident.id);
    else this.byId.set(incident.id, incident);
    return true;
  }

  /** Fold or unfold; returns whether its members show now. */
  toggle(id) {
    if (!this.unfolded.delete(id)) this.unfolded.add(id);
    return this.unfolded.has(id);
  }

  /** Where an alert is shown: its incident when that is known and folded, else null. */
  foldedIn(alert) {
    const id = alert.incident_id;
    return id && this.byId.has(id) && !this.unfolded.has(id) ? id : null;
  }

  /** The severity of the row that stands for an alert: its incident's when that is known. */
  severityOf(alert) {
    return this.byId.get(alert.incident_id)?.severity ?? alert.severity;
  }

  /** What the folded list holds of these alerts: rows, rows with something new, and rows of each severity. */
  count(alerts) {
    const counts = { rows: 0, waiting: 0, severities: { 1: 0, 2: 0, 3: 0, 4: 0 } };
    const seen = new Map(); // row -> whether something in it is new
    for (const alert of alerts) {
      const row = this.byId.has(alert.incident_id) ? rowId(alert.incident_id) : alert.id;
      if (!seen.has(row)) counts.severities[this.severityOf(alert)] += 1;
      seen.set(row, seen.get(row) || alert.state === "new");
    }
    counts.rows = seen.size;
    for (const fresh of seen.values()) counts.waiting += fresh;
    return counts;
  }

  /**
   * Rows of the list: alerts as they are, those of a known incident as one entry
   * {id, incident, members} before the first alert that is less bad or older, with its members after it
   * when unfolded. `alerts` come sorted.
   */
  fold(alerts) {
    const members = new Map();
    for (const alert of alerts) {
      if (this.byId.has(alert.incident_id)) members.set(alert.incident_id, [...(members.get(alert.incident_id) ?? []), alert]);
    }
    const rows = alerts.filter((alert) => !members.has(alert.incident_id)).map((alert) => [alert]);
    const entries = [...members.keys()].map((id) => this.byId.get(id))
      .sort((a, b) => (a.severity - b.severity) || b.started_at.localeCompare(a.started_at));
    for (const incident of entries) {
      const entry = { id: rowId(incident.id), incident, members: members.get(incident.id) };
      const block = [entry, ...(this.unfolded.has(incident.id)
        ? entry.members.map((alert) => ({ ...alert, folded: incident.id })) : [])];
      const at = rows.findIndex(([row]) => !row.incident && (row.severity > incident.severity
        || (row.severity === incident.severity && row.started_at < incident.started_at)));
      rows.splice(at < 0 ? rows.length : at, 0, block);
    }
    return rows.flat();
  }
}

/** A circle on the ground as a GeoJSON ring: metres round [lon, lat]. */
export function circleRing({ lon, lat }, radiusM, corners = 64) {
  const north = radiusM / 111_195;
  const east = north / Math.cos((lat * Math.PI) / 180);
  return Array.from({ length: corners + 1 }, (_, i) => {
    const angle = (2 * Math.PI * (i % corners)) / corners;
    return [lon + east * Math.cos(angle), lat + north * Math.sin(angle)];
  });
}
