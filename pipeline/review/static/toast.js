// Short messages in the corner, read out by screen readers.

import { h } from "./dom.js";
import { icon } from "./icons.js";

const SHOWN_MS = 6000;

/** Says one line; `danger` for what went wrong (that one stays until it is closed). */
export function toast(text, kind = "") {
  const close = () => element.remove();
  const element = h("div", { class: `toast ${kind}`, role: kind === "danger" ? "alert" : "status" },
    h("p", {}, text),
    h("button", { class: "button quiet icon-only small", type: "button", "aria-label": "Close message", onclick: close },
      icon("close", 14)));
  stack().append(element);
  if (kind !== "danger") setTimeout(close, SHOWN_MS);
  return close;
}

/** Says a change to screen readers alone. */
export function announce(text) {
  const place = document.getElementById("announce");
  if (place.textContent === text) place.textContent = "";
  place.textContent = text;
}

function stack() {
  const host = document.fullscreenElement ?? document.body;
  let found = host.querySelector(":scope > .toasts");
  if (!found) {
    found = h("div", { class: "toasts" });
    host.append(found);
  }
  return found;
}
