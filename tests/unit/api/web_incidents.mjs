const { IncidentStore, circleRing, incidentOf, rowId } = await import(process.argv[2] + "incident_store.js");

const alert = (id, severity, minute, incident_id = null) => ({
  id, severity, incident_id, state: "new", condition: "active", started_at: `2026-11-23T06:${minute}:00Z`,
});
const incident = (id, severity, minute, more = {}) => ({
  id, severity, version: 1, state: "open", started_at: `2026-11-23T06:${minute}:00Z`, ...more,
});
const store = new IncidentStore();
store.reset([incident("I", 2, "10")], 5);
const rows = [alert("a", 1, "00"), alert("b", 2, "11", "I"), alert("c", 2, "05"), alert("d", 3, "12", "I"), alert("e", 4, "01", "J")];
const ids = () => store.fold(rows).map((row) => row.id).join(" ");
const out = [ids(), store.foldedIn(rows[1]), store.foldedIn(rows[4])];
out.push(store.toggle("I"), ids(), store.foldedIn(rows[1]), store.toggle("I"));
out.push(store.apply({ cursor: 5, incident: incident("X", 1, "00") }), store.byId.size);
out.push(store.apply({ cursor: 6, incident: incident("I", 1, "10", { version: 2 }) }), ids());
const many = [...rows, { ...alert("f", 2, "13", "I"), state: "acknowledged" }, { ...alert("g", 3, "14"), state: "closed" }];
out.push(store.count(many), store.severityOf(rows[3]), store.severityOf(rows[4]));
out.push(store.apply({ cursor: 7, incident: incident("I", 1, "10", { version: 3, state: "closed" }) }), ids());
out.push(incidentOf(rowId("I")), incidentOf("I"));
const ring = circleRing({ lon: 113, lat: 60 }, 1000);
out.push(ring.length, Math.round((ring[0][0] - 113) * 111195 * 0.5), Math.round((ring[16][1] - 60) * 111195));
console.log(JSON.stringify(out));
