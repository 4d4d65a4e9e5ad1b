// Keyboard for people who live in this page. Nothing happens while typing or composing.

import { byId, fill, h } from "./dom.js";
import { t } from "./i18n.js";

export const SHORTCUTS = [
  [["j", "↓"], "help.next"], [["k", "↑"], "help.previous"], [["Enter"], "help.open_alert"], [["a"], "help.acknowledge"],
  [["n"], "help.newest"], [["/"], "help.search"], [["m"], "help.sound"], [["Esc"], "help.close"], [["?"], "help.help"],
];

function typing(event) {
  const node = event.target;
  return event.isComposing || node.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(node.tagName);
}

/** `verbs`: next, previous, open, acknowledge, newest, search, sound, close, help. */
export function listenForKeys(verbs) {
  const plain = {
    j: verbs.next, k: verbs.previous, a: verbs.acknowledge, n: verbs.newest, m: verbs.sound, "/": verbs.search, "?": verbs.help,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("console").hidden || byId("help").open) return;
    if (event.key === "Escape" && !event.isComposing) {
      verbs.close(event);
      return;
    }
    if (typing(event)) return;
    const inList = event.target.closest?.("[role=listbox]");
    const verb = plain[event.key]
      ?? (inList && { ArrowDown: verbs.next, ArrowUp: verbs.previous, Enter: verbs.open, " ": verbs.open }[event.key])
      ?? (event.target === document.body && { ArrowDown: verbs.next, ArrowUp: verbs.previous, Enter: verbs.open }[event.key]);
    if (!verb) return;
    event.preventDefault();
    verb();
  });
}

export function showHelp() {
  const dialog = byId("help");
  fill(dialog,
    h("h2", null, t("help.title")),
    h("dl", { class: "keys" }, SHORTCUTS.map(([keys, text]) => [
      h("dt", null, keys.map((key) => h("kbd", null, key))), h("dd", null, t(text))])),
    h("form", { method: "dialog" }, h("button", { class: "primary", autofocus: true }, t("help.done"))));
  dialog.showModal();
}
