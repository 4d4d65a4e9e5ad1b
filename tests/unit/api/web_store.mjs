const { AlertStore, matches } = await import(process.argv[2] + "store.js");

const alert = (id, severity, started, more = {}) => ({
  id, severity, version: 1, state: "new", condition: "active", started_at: `2026-11-23T${started}:00Z`,
  place: { town: "441900003" }, title: { zh: "房屋振动超限", en: "Vibration" }, device: { id: "VB-" + id }, duty: [], ...more,
});
const now = Date.parse("2026-11-23T06:10:00Z");
const store = new AlertStore();
store.reset([
  alert("a", 3, "06:00"), alert("b", 1, "05:00"), alert("c", 3, "06:05"),
  alert("d", 1, "06:06", { shelved_until: "2026-11-23T07:00:00Z" }),
], 10);
const order = () => store.open(now).map((a) => a.id).join("");
const out = [order()];
out.push(store.apply({ cursor: 10, alert: alert("x", 1, "06:07") }));
out.push(store.apply({ cursor: 12, alert: alert("a", 2, "06:00", { version: 3 }) }), order());
out.push(store.take(alert("a", 4, "06:00", { version: 2 })), order());
out.push(store.apply({ cursor: 13, alert: alert("b", 1, "05:00", { version: 2, state: "closed" }) }));
out.push(order(), store.byTown(now).get("441900003"), store.recent(now).count, store.cursor);
const filter = { severities: new Set(), state: "", town: "", text: "" };
const shown = (part) => store.open(now).filter((a) => matches(a, { ...filter, ...part }, now)).map((a) => a.id).join("");
out.push(shown({ severities: new Set([2]) }), shown({ text: "振动 vb-c" }), shown({ state: "shelved" }), shown({ town: "1" }));
const flood = new AlertStore();
const member = (id, incident_id) => alert(id, 2, "06:05", { incident_id, place: { town: id } });
flood.reset([member("a", null), member("b", null), member("c", "I"), member("d", "I")], 1);
flood.apply({ cursor: 2, alert: { ...member("a", "I"), version: 2 } });
out.push(flood.recent(now));
console.log(JSON.stringify(out));
