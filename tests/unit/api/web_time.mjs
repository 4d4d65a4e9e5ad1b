const time = await import(process.argv[2] + "time.js");
const ms = time.parseMs("2026-11-23T06:05:50.123456Z");
console.log(JSON.stringify([
  ms, time.dateTimeText(ms, 3), time.zoneLabel(), time.ageParts(59_000), time.ageParts(7_500_000),
  time.lagText(0.84), time.lagText(143.2), time.lagText(2310), time.lagText(245_000),
  time.parseMs("2026-11-23T14:05:50.5+08:00") - time.parseMs("2026-11-23T06:05:50Z"),
  time.clockText(time.parseMs("2026-11-22T16:00:00Z")), time.dateTimeText(NaN),
]));
