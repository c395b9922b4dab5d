// The clip to take along: where it begins and ends, and its export.

import { api } from "./api.js";
import { h, replace, setText } from "./dom.js";
import { bytes, clockTenths, duration, span } from "./format.js";
import { icon } from "./icons.js";
import { has } from "./session.js";
import { toast } from "./toast.js";

const EXPORT_PATIENCE_MS = 120_000; // a long clip is copied before the answer comes

/** Whether this user may export. */
export const mayExport = () => has("requester", "approver", "admin");

export class ClipBar {
  /** `where()` is {camera, atMs}; `onMarks(marks)` after a change here. */
  constructor({ where, onMarks }) {
    this.where = where;
    this.onMarks = onMarks;
    this.marks = { inMs: null, outMs: null };
    this.words = h("p", { class: "clip-words dim clip" });
    this.button = h("button", { class: "button", type: "button", onclick: () => this.export() }, icon("download"), "Export clip");
    this.clear = h("button", { class: "button quiet icon-only", type: "button", "aria-label": "Clear the clip's start and end", title: "Clear", onclick: () => this.set({ inMs: null, outMs: null }) }, icon("close", 14));
    this.result = h("p", { class: "clip-result", role: "status" });
    const mark = (name, label, words, key) => h("button", {
      class: "button small", type: "button", title: `${words} (${key})`, "aria-label": words, "aria-keyshortcuts": key, onclick: () => this.mark(name),
    }, label);
    this.element = h("div", { class: "clip-bar", role: "group", "aria-label": "Clip", hidden: !mayExport() },
      mark("inMs", "In", "Clip starts here", "I"), mark("outMs", "Out", "Clip ends here", "O"),
      this.words, this.clear, this.result, this.button);
    this.#show();
  }

  /** Sets one end at the picture's time. */
  mark(name) {
    const { atMs } = this.where();
    if (atMs !== null) this.set({ ...this.marks, [name]: atMs }, name);
  }

  /** Both ends; one that would be on the wrong side of `moved` goes away. */
  set({ inMs, outMs }, moved = null) {
    if (inMs !== null && outMs !== null && inMs >= outMs) {
      if (moved === "inMs") outMs = null;
      else if (moved === "outMs") inMs = null;
      else [inMs, outMs] = [Math.min(inMs, outMs), Math.max(inMs, outMs)];
    }
    this.marks = { inMs, outMs };
    replace(this.result);
    this.#show();
    this.onMarks(this.marks);
  }

  /** Makes the clip, of the marks or of `asked`, and offers it. */
  async export(asked = null) {
    const { camera } = this.where();
    const { inMs, outMs } = asked ?? this.marks;
    if (inMs === null || outMs === null) return;
    this.button.disabled = true;
    this.element.setAttribute("aria-busy", "true");
    replace(this.result, "Copying…");
    try {
      const made = await api.post("/api/exports", { camera, from_ms: Math.round(inMs), to_ms: Math.round(outMs) }, { patienceMs: EXPORT_PATIENCE_MS });
      replace(this.result,
        h("a", { href: made.url, download: made.name, title: `${made.name}: ${span(made.start_ms, made.end_ms)}, cut at keyframes; kept for an hour` },
          `Download the clip (${bytes(made.bytes)})`));
      this.result.querySelector("a").focus();
      if (made.stopped) toast(`The clip ends early: ${made.stopped}`);
    } catch (error) {
      replace(this.result);
      toast(error.message, "danger");
    } finally {
      this.element.removeAttribute("aria-busy");
      this.#show();
    }
  }

  #show() {
    const { inMs, outMs } = this.marks;
    const isWhole = inMs !== null && outMs !== null;
    const end = (ms) => (ms === null ? "…" : clockTenths(ms));
    const isSet = inMs !== null || outMs !== null;
    setText(this.words, !isSet ? "Mark a clip to export it"
      : `${end(inMs)} – ${end(outMs)}${isWhole ? `, ${duration((outMs - inMs) / 1000)}` : ""}`);
    this.button.disabled = !isWhole;
    this.clear.hidden = !isSet;
  }
}
