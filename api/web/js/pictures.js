// The picture and the clip of an alert, where the server keeps them. They need the token, so they
// are fetched and shown from memory; a picture that was not fetched yet is asked for again.

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
    this.key = "";
  }

  /** Show what belongs to this alert; the same picture is not fetched twice. */
  show(alert) {
    const { snapshot_url: picture, clip_url: clip } = alert.evidence?.features ?? {};
    const key = JSON.stringify([alert.id, picture ?? "", clip ?? ""]);
    if (key === this.key) return;
    this.clear();
    this.key = key;
    if (picture) this.load(key, `alerts/${encodeURIComponent(alert.id)}/snapshot`, TRIES);
    if (clip) this.node.append(this.clipButton(key, `alerts/${encodeURIComponent(alert.id)}/clip`));
  }

  clear() {
    clearTimeout(this.timer);
    this.addresses.forEach((address) => URL.revokeObjectURL(address));
    this.addresses = [];
    this.key = "";
    fill(this.node);
  }

  async load(key, path, tries) {
    try {
      const address = await this.address(path);
      if (key !== this.key) return;
      this.node.prepend(h("img", { src: address, alt: t("picture.alt"), class: "picture" }));
    } catch {
      // It may come in a moment, or never: its address stays among the facts.
      if (key === this.key && tries > 1) this.timer = setTimeout(() => this.load(key, path, tries - 1), AGAIN_MS);
    }
  }

  clipButton(key, path) {
    const button = h("button", {
      type: "button", class: "copy",
      onclick: async () => {
        button.disabled = true;
        try {
          const address = await this.address(path, CLIP_MS);
          if (key === this.key) button.replaceWith(h("video", { src: address, controls: true, class: "picture" }));
        } catch {
          button.textContent = t("picture.no_clip");
        }
      },
    }, t("picture.clip"));
    return button;
  }

  async address(path, withinMs) {
    const address = URL.createObjectURL(await this.api.blob(path, withinMs));
    this.addresses.push(address);
    return address;
  }
}
