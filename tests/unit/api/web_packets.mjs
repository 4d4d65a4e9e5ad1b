const { joinPackets, peakOf } = await import(process.argv[2] + "packets.js");
const joined = joinPackets([
  { t: "2026-11-23T06:00:02Z", rate_hz: 2, unit: "m/s2", x: [5, -9], z: [1, 1] },
  { t: "2026-11-23T06:00:00Z", rate_hz: 2, unit: "m/s2", x: [1, 2], z: [0, 0] },
  { t: "2026-11-23T06:00:03Z", rate_hz: 2, unit: "mm/s", x: [99, 99] },
]);
console.log(JSON.stringify([joined.x, joined.y.every((v) => v === null), peakOf(joined.x), joined.time.length]));
