// The picture and the clip of an alert, where the server keeps them (links in its evidence). They need
// the token, so they are fetched and shown from memory; what is still on its way is asked for again.

import { fill, h } from "./dom.js";
import { t } from "./i18n.js";

const AGAIN_MS = 4_000;
const TRIES = 4;
const CLIP_MS = 120_000;

export class Pictures {
  constructor(api) {
    this.api = api;
    this.node = h("div", { class: "pictures" });
    this.addresses = [];
    this.clear();
  }

  /** Show what belongs to this alert, as `GET alerts/{id}` gave it; the same picture is not fetched twice. */
  show(alert, tries = TRIES) {
    clearTimeout(this.timer);
    const { links = {}, features = {} } = alert.evidence ?? {};
    const key = `${alert.id} ${features.snapshot_url ?? ""} ${features.clip_url ?? ""}`;
    if (key !== this.key) this.clear();
    this.key = key;
    if (links.snapshot && !this.shown.has("snapshot")) this.picture(key, `alerts/${encodeURIComponent(alert.id)}/snapshot`);
    if (links.clip && !this.shown.has("clip")) this.clip(key, `alerts/${encodeURIComponent(alert.id)}/clip`);
    const missing = (features.snapshot_url && !links.snapshot) || (features.clip_url && !links.clip);
    if (missing && tries > 1) this.timer = setTimeout(() => this.again(key, alert.id, tries - 1), AGAIN_MS);
  }

  clear() {
    clearTimeout(this.timer);
    this.addresses.forEach((address) => URL.revokeObjectURL(address));
    this.addresses = [];
    this.shown = new Set();
    this.key = "";
    fill(this.node);
  }

  async again(key, id, tries) {
    const full = await this.api.get(`alerts/${encodeURIComponent(id)}`).catch(() => null);
    if (full && key === this.key) this.show(full, tries);
  }

  async picture(key, path) {
    this.shown.add("snapshot");
    const address = await this.address(path).catch(() => null);
    if (address && key === this.key) this.node.prepend(h("img", { src: address, alt: t("picture.alt"), class: "picture" }));
  }

  clip(key, path) {
    this.shown.add("clip");
    const button = h("button", {
      type: "button", class: "copy",
      onclick: async () => {
        button.disabled = true;
        const address = await this.address(path, CLIP_MS).catch(() => null);
        if (!address) button.textContent = t("picture.no_clip");
        else if (key === this.key) button.replaceWith(h("video", { src: address, controls: true, class: "picture" }));
      },
    }, t("picture.clip"));
    this.node.append(button);
  }

  async address(path, withinMs) {
    const address = URL.createObjectURL(await this.api.blob(path, withinMs));
    this.addresses.push(address);
    return address;
  }
}
