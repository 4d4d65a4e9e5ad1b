// Hand-overs and trips: a line on top for each vehicle that is now yours, and a sheet with all of them.

import { byId, fill, h } from "./dom.js";
import { say, t } from "./i18n.js";
import { parseMs, shortText, zoneLabel } from "./time.js";
import { tripNode } from "./trips.js";

const KEPT = 50;
const SHOWN = 20;
const HANDOVERS_SHOWN = 8;

export class Vehicles {
  constructor({ api, live }) {
    Object.assign(this, { api, live, handovers: [], trips: null, problem: "", newest: 0, mine: [] });
    this.dialog = byId("vehicles");
    live.addEventListener("handover", ({ detail }) => this.take(detail));
    live.addEventListener("state", () => live.state === "live" && this.catchUp());
  }

  /** After signing in, and after each lost connection: what was said while nobody listened. */
  async catchUp() {
    if (this.catching) return;
    this.catching = true;
    try {
      const exercise = this.live.exercises ? "any" : undefined;
      const { items } = await this.api.get("handovers", { limit: KEPT, exercise });
      const first = this.newest === 0;
      for (const one of [...items].reverse()) this.keep(one, { silent: first });
      this.render();
    } catch {
      // They come with the next connection; the alerts are the page.
    } finally {
      this.catching = false;
    }
  }

  take(handover) {
    this.keep(handover, { silent: false });
    this.render();
  }

  keep(handover, { silent }) {
    if (handover.seq <= this.newest) return;
    this.newest = handover.seq;
    this.handovers = [handover, ...this.handovers].slice(0, KEPT);
    const of = (other) => other.vehicle === handover.vehicle && other.crossed_at === handover.crossed_at;
    if (handover.change === "withdrawn") this.mine = this.mine.filter((other) => !of(other));
    // What has left is no longer yours, whatever was said before.
    if (handover.yours === false) this.mine = this.mine.filter((other) => other.vehicle !== handover.vehicle);
    if (!silent && handover.yours === true && handover.change === "crossed") {
      this.mine = [handover, ...this.mine];
      byId("polite").textContent = say(handover.text);
    }
  }

  /** Another account: nothing of the one before stays. */
  forget() {
    Object.assign(this, { handovers: [], trips: null, newest: 0, mine: [] });
    if (this.dialog.open) this.dialog.close();
    this.render();
  }

  async open() {
    this.trips = null;
    this.problem = "";
    this.render();
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const exercise = this.live.exercises ? "any" : undefined;
      this.trips = (await this.api.get("trips", { limit: SHOWN, exercise })).items;
    } catch (error) {
      this.problem = error.message;
    }
    this.render();
  }

  render() {
    this.renderBanner();
    byId("vehicles-button").textContent = this.mine.length ? t("vehicles.button_n", { n: this.mine.length }) : t("vehicles.button");
    if (this.dialog.open || this.trips === null) this.renderSheet();
  }

  renderBanner() {
    const banner = byId("handover");
    banner.hidden = this.mine.length === 0;
    if (banner.hidden) return;
    const [newest, ...others] = this.mine;
    fill(banner,
      h("span", null, say(newest.text), ` ${shortText(parseMs(newest.crossed_at))}`, others.length > 0 && ` · ${t("handover.more", { n: others.length })}`),
      h("button", { type: "button", onclick: () => this.open() }, t("handover.show")),
      h("button", { type: "button", onclick: () => { this.mine = []; this.render(); } }, t("handover.seen")));
  }

  renderSheet() {
    fill(this.dialog,
      h("header", { class: "sheet-head" }, h("h2", null, t("vehicles.title")),
        h("button", { type: "button", autofocus: true, onclick: () => this.dialog.close() }, t("vehicles.close"))),
      h("h3", null, t("vehicles.handovers"), h("span", { class: "zone" }, ` ${zoneLabel()}`)),
      this.handovers.length === 0 ? h("p", { class: "quiet-text" }, t("vehicles.no_handover")) : h("ul", { class: "handovers" },
        byTime(this.handovers).slice(0, HANDOVERS_SHOWN).map((one) => h("li", { class: one.yours ? "is-yours" : "" },
          h("time", { datetime: one.crossed_at }, shortText(parseMs(one.crossed_at))), " ", say(one.text),
          one.late && h("span", { class: "quiet-text" }, ` · ${t("chip.late")}`), one.exercise && h("span", { class: "quiet-text" }, ` · ${t("chip.exercise")}`)))),
      h("h3", null, t("vehicles.trips"), h("span", { class: "zone" }, ` ${zoneLabel()}`)),
      this.problem ? h("p", { class: "quiet-text" }, this.problem)
        : this.trips === null ? h("p", { class: "quiet-text" }, t("around.loading"))
          : this.trips.length === 0 ? h("p", { class: "quiet-text" }, t("vehicles.no_trip"))
            : this.trips.map((trip) => tripNode(trip)));
  }
}

/** By when it happened; what came late stands where it belongs. */
function byTime(handovers) {
  return [...handovers].sort((a, b) => (a.crossed_at < b.crossed_at ? 1 : -1));
}
