// Severity is told three times: colour, shape, numeral. The colours form a lightness
// ramp that colour-blind eyes can rank; CSS variables hold the fills, here are the shapes.

import { s } from "./dom.js";

export const SEVERITIES = [1, 2, 3, 4];
export const NUMERALS = { 1: "Ⅰ", 2: "Ⅱ", 3: "Ⅲ", 4: "Ⅳ" };

/** Fills for canvas and WebGL, which cannot read CSS variables. */
export const FILLS = { 1: "#9E0018", 2: "#EE7200", 3: "#FFE000", 4: "#3B82F6" };
export const INKS = { 1: "#FFFFFF", 2: "#1B1D20", 3: "#1B1D20", 4: "#FFFFFF" };
export const EDGES = { 1: "#FFFFFF", 2: "#5A2B00", 3: "#4A4200", 4: "#FFFFFF" };

/** Outlines in a 24 x 24 box, points as [x, y]. The circle is drawn as a 24-gon. */
export const SHAPES = {
  1: [[8, 2], [16, 2], [22, 8], [22, 16], [16, 22], [8, 22], [2, 16], [2, 8]],
  2: [[12, 1.5], [23, 21.5], [1, 21.5]],
  3: [[12, 0.8], [23.2, 12], [12, 23.2], [0.8, 12]],
  4: Array.from({ length: 24 }, (_, i) => [
    12 + 10.5 * Math.cos((i * Math.PI) / 12), 12 + 10.5 * Math.sin((i * Math.PI) / 12)]),
};
/** Height of the numeral's baseline: a triangle carries its weight low. */
export const BASELINES = { 1: 16.2, 2: 19.2, 3: 16, 4: 16.2 };
export const NUMERAL_SIZES = { 1: 12.5, 2: 10.5, 3: 11, 4: 12 };

/** The mark of a severity; hollow once the condition has cleared. */
export function severityMark(severity, { size = 28, cleared = false, label = "" } = {}) {
  const level = SHAPES[severity] ? severity : 4;
  const mark = s("svg", {
    class: `mark mark-${level}${cleared ? " is-cleared" : ""}`,
    viewBox: "-1 -1 26 26", width: size, height: size,
    role: label ? "img" : null, "aria-label": label || null, "aria-hidden": label ? null : "true",
  });
  mark.append(
    s("polygon", { points: SHAPES[level].map((p) => p.map((v) => v.toFixed(2)).join(",")).join(" ") }),
    s("text", {
      x: 12, y: BASELINES[level], "text-anchor": "middle", "font-size": NUMERAL_SIZES[level],
    }, NUMERALS[level]),
  );
  return mark;
}
