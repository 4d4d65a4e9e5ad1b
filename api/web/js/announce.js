// New alerts to people who do not look: screen readers and the window's title. Red ones at once
// and assertively; the rest gathered for a moment, so that a flood is one sentence.

import { byId } from "./dom.js";
import { say, t } from "./i18n.js";
import { placeLine } from "./list.js";
import { NUMERALS } from "./severity.js";

const GATHER_MS = 600;
let gathered = [];
let timer = 0;

function sentence(alert) {
  return t("announce.one", { numeral: NUMERALS[alert.severity], title: say(alert.title) || alert.kind, place: placeLine(alert) });
}

export function announce(alert) {
  if (alert.severity === 1) {
    byId("assertive").textContent = sentence(alert);
    return;
  }
  gathered.push(alert);
  if (timer) return;
  timer = setTimeout(() => {
    const worst = gathered.reduce((a, b) => (b.severity < a.severity ? b : a));
    byId("polite").textContent = gathered.length === 1 ? sentence(worst)
      : t("announce.many", { n: gathered.length, worst: sentence(worst) });
    gathered = [];
    timer = 0;
  }, GATHER_MS);
}

export function showTitle(waiting) {
  document.title = waiting ? `(${waiting}) Gridpulse` : "Gridpulse";
}
