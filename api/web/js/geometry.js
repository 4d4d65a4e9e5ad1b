// Plane geometry on small GeoJSON polygons, enough for labels and an SVG map.

function outerRings(geometry) {
  if (geometry?.type === "Polygon") return [geometry.coordinates[0]];
  if (geometry?.type === "MultiPolygon") return geometry.coordinates.map((polygon) => polygon[0]);
  return [];
}

/** Area-weighted centre of the largest ring, [lon, lat]. */
export function labelPoint(geometry) {
  let best = null;
  for (const ring of outerRings(geometry)) {
    let area = 0;
    let x = 0;
    let y = 0;
    const [x0, y0] = ring[0];
    for (let i = 0; i + 1 < ring.length; i += 1) {
      const ax = ring[i][0] - x0, ay = ring[i][1] - y0, bx = ring[i + 1][0] - x0, by = ring[i + 1][1] - y0;
      const cross = ax * by - bx * ay;
      area += cross;
      x += (ax + bx) * cross;
      y += (ay + by) * cross;
    }
    if (area && (!best || Math.abs(area) > best.area)) {
      best = { area: Math.abs(area), point: [x0 + x / (3 * area), y0 + y / (3 * area)] };
    }
  }
  return best?.point ?? null;
}

/** [west, south, east, north] of several geometries, or null. */
export function boundsOf(geometries) {
  let box = null;
  for (const geometry of geometries) {
    for (const ring of outerRings(geometry)) {
      for (const [lon, lat] of ring) {
        box ??= [lon, lat, lon, lat];
        box = [Math.min(box[0], lon), Math.min(box[1], lat), Math.max(box[2], lon), Math.max(box[3], lat)];
      }
    }
  }
  return box;
}

export { outerRings };

/** One row of `GET /regions`, whichever way it is written, as {code, name, name_en, geometry}. */
export function regionOf(row) {
  const fields = row.properties ?? row;
  const geometry = row.geometry ?? row.outline ?? fields.outline ?? null;
  return {
    code: String(fields.code ?? row.id ?? ""), name: fields.name ?? "", name_en: fields.name_en ?? "",
    geometry: typeof geometry === "string" ? JSON.parse(geometry) : geometry,
  };
}
