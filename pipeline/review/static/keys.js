// Keyboard shortcuts: pages register theirs for as long as they are shown; ? lists what works here.

import { h } from "./dom.js";
import { openDialog } from "./dialog.js";

const CHORD_MS = 1500;

const groups = new Set();
let first = null; // the first key of a chord such as "g l", and when it was pressed
let list = null;

/**
 * Shortcuts for as long as `signal` lasts. Each: {keys: "f" | "g l" | "ArrowLeft", label, run(event)};
 * a run that returns false leaves the key to the browser; `isAllowed()` says whether it works for who is signed in. `shown` is what the list says in place of `keys`.
 */
export function shortcuts(title, entries, signal = null) {
  const group = { title, entries };
  groups.add(group);
  signal?.addEventListener("abort", () => groups.delete(group), { once: true });
}

/** Whether a key belongs to what has the focus (a field), not to the page. */
function typing(target) {
  return target instanceof HTMLElement
    && (target.isContentEditable || target.matches("input:not([type=checkbox], [type=radio], [type=range], [type=button]), textarea, select"));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const chord = first && performance.now() - first.at < CHORD_MS ? `${first.key} ${key}` : null;
  first = null;
  const entries = [...groups].reverse().flatMap((group) => group.entries).filter((entry) => entry.isAllowed?.() ?? true);
  const found = (chord && entries.find((entry) => entry.keys === chord))
    ?? entries.find((entry) => entry.keys === key);
  if (found) {
    if (found.run(event) !== false) event.preventDefault();
  } else if (entries.some((entry) => entry.keys.startsWith(`${key} `))) {
    first = { key, at: performance.now() };
  }
}

/** Those without words are not for people; those of pages that a role does not have do nothing. */
const isListed = (entry) => entry.label && (entry.isAllowed?.() ?? true);

/** The list of what works on this page. */
export function showShortcuts() {
  if (list) return;
  const rows = [...groups].filter((group) => group.entries.some(isListed)).map((group) =>
    h("section", { class: "section" },
      h("h3", {}, group.title),
      h("dl", { class: "facts keys" },
        group.entries.filter(isListed).map((entry) => [
          h("dt", {}, (entry.shown ?? entry.keys).split(" ").map((key) => [h("kbd", {}, key), " "])),
          h("dd", {}, entry.label),
        ]))));
  list = openDialog({ title: "Keyboard", body: rows });
  list.done.then(() => { list = null; });
}

document.addEventListener("keydown", onKey);
