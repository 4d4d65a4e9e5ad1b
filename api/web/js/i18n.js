// Two flat dictionaries and a lookup. Server texts come as {zh, en} or as plain text.

export const LANGUAGES = ["zh", "en"];
const STORED = "gridpulse.language";
const HTML_LANG = { zh: "zh-CN", en: "en" };

const dictionaries = {};
let language = "zh";

export function currentLanguage() {
  return language;
}

/** What the person chose before, else what the browser speaks. */
export function preferredLanguage() {
  const stored = localStorage.getItem(STORED);
  if (LANGUAGES.includes(stored)) return stored;
  return (navigator.language ?? "zh").toLowerCase().startsWith("zh") ? "zh" : "en";
}

export function languageWasChosen() {
  return LANGUAGES.includes(localStorage.getItem(STORED));
}

/** Load and switch; `remember` only when a person asked for it. */
export async function useLanguage(name, { remember = false } = {}) {
  const wanted = LANGUAGES.includes(name) ? name : "zh";
  if (!dictionaries[wanted]) {
    const answer = await fetch(new URL(`../i18n/${wanted}.json`, import.meta.url));
    if (!answer.ok) throw new Error(`dictionary ${wanted}: HTTP ${answer.status}`);
    dictionaries[wanted] = await answer.json();
  }
  language = wanted;
  document.documentElement.lang = HTML_LANG[wanted];
  if (remember) localStorage.setItem(STORED, wanted);
}

/** The text of a key with `{name}` filled in; a missing key shows itself, so that it is noticed. */
export function t(key, params = {}) {
  const text = dictionaries[language]?.[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in params ? String(params[name]) : whole));
}

/** The text of `prefix.value`, or the value itself when no word is known for it. */
export function term(prefix, value) {
  if (value === null || value === undefined || value === "") return "";
  return dictionaries[language]?.[`${prefix}.${value}`] ?? String(value);
}

const HAN = /\p{Script=Han}/u;

/** A server's text: {zh, en}, plain, or both languages in one as `中文 · English`. */
export function say(text) {
  if (text === null || text === undefined) return "";
  if (typeof text === "object") return text[language] || text.zh || text.en || "";
  const [zh, en, ...rest] = String(text).split(" · ");
  const both = en && !rest.length && HAN.test(zh) && !HAN.test(en);
  return both ? { zh, en }[language] : String(text);
}

/** A number with at most `digits` significant digits, grouped; absent is a dash. */
export function numberText(value, digits = 4) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  return new Intl.NumberFormat(language === "zh" ? "zh-CN" : "en", { maximumSignificantDigits: digits }).format(value);
}

/** Fill the static parts of the page. */
export function translatePage(root = document) {
  for (const node of root.querySelectorAll("[data-i18n]")) node.textContent = t(node.dataset.i18n);
  for (const [attribute, name] of [["aria-label", "i18nLabel"], ["placeholder", "i18nPlaceholder"], ["title", "i18nTitle"]]) {
    const selector = `[data-${name.replace(/[A-Z]/g, (c) => "-" + c.toLowerCase())}]`;
    for (const node of root.querySelectorAll(selector)) node.setAttribute(attribute, t(node.dataset[name]));
  }
}
