const { boundsOf, labelPoint, regionOf } = await import(process.argv[2] + "geometry.js");
const square = { type: "Polygon", coordinates: [[[0, 0], [4, 0], [4, 2], [0, 2], [0, 0]]] };
const far = { type: "MultiPolygon", coordinates: [[[[9, 9], [9.1, 9], [9.1, 9.1], [9, 9]]], square.coordinates] };
console.log(JSON.stringify([
  labelPoint(square), labelPoint(far), boundsOf([square]), labelPoint(null), boundsOf([]),
  regionOf({ code: 441900003, name: "东城街道", outline: square }).code,
  regionOf({ type: "Feature", geometry: square, properties: { code: "1", name: "x" } }).name,
]));
