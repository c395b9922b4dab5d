// People: every track of every camera, filtered and sorted, however many there are.

import { api, isAbort } from "./api.js";
import { field } from "./dialog.js";
import { h, replace, setText } from "./dom.js";
import { dayStart, inputMs, inputValue, number, plural } from "./format.js";
import { icon } from "./icons.js";
import { NOBODY_IS_RECOGNIZED, PersonCard, Selection, selectionBar } from "./people-cards.js";
import { remember } from "./router.js";
import { VirtualGrid } from "./virtual-grid.js";

const PAGE = 120;
const QUIET_MS = 250; // after the last key in a field
const HOUR_MS = 3600_000;
const SPANS = [["10min", "Last 10 minutes"], ["hour", "Last hour"], ["today", "Today"], ["day", "Last 24 hours"], ["", "Any time"], ["custom", "From … to …"]];
const SORTS = [["-time", "Newest first"], ["time", "Oldest first"], ["-seconds", "Longest first"], ["-size", "Largest first"]];
// Tracks shorter than half a second are mostly faces lost and found again on a machine that is too slow.
const DEFAULTS = { camera: "", span: "", from: "", to: "", px: "", seconds: "0.5", recoverable: "", sort: "-time" };

/** See main.js. Query: the names of DEFAULTS. */
export async function render(root, params, signal) {
  const cameras = (await api.get("/api/cameras", { signal })).map((camera) => camera.id);
  const page = new PeoplePage(cameras, signal);
  replace(root, page.element);
  page.visit(params.query);
  return (next) => page.visit(next.query);
}

class PeoplePage {
  constructor(cameras, signal) {
    this.signal = signal;
    this.filter = { ...DEFAULTS };
    this.work = new AbortController();
    this.next = null;
    this.isLoading = false;
    this.selection = new Selection();
    this.#build(cameras);
    this.selection.addEventListener("change", () => this.grid.each((card) => card.refresh()), { signal });
    signal.addEventListener("abort", () => {
      this.work.abort();
      clearTimeout(this.timer);
    });
  }

  #build(cameras) {
    this.count = h("p", { class: "subtitle", role: "status" });
    this.loading = h("div", { class: "loading", hidden: true });
    this.empty = h("div", { class: "empty", hidden: true });
    this.tail = h("div", { class: "people-tail dim small", hidden: true });
    this.scroller = h("div", { class: "people-scroll" });
    this.grid = new VirtualGrid({
      scroller: this.scroller,
      label: "People",
      signal: this.signal,
      cards: {
        make: () => new PersonCard({ selection: this.selection, withDay: true }),
        show: (card, person, options) => card.show(person, options),
      },
      more: () => this.#more(),
    });
    this.scroller.append(this.grid.element, this.empty, this.tail);
    this.element = h("div", { class: "page fill people-page" },
      h("header", { class: "page-head" }, h("h1", {}, "People"), this.count,
        h("button", { class: "button quiet icon-only", type: "button", title: "Look again", "aria-label": "Look again", onclick: () => this.#load() }, icon("refresh")),
        h("p", { class: "actions dim small" }, NOBODY_IS_RECOGNIZED)),
      this.#filters(cameras),
      this.loading,
      this.scroller,
      selectionBar(this.selection, this.signal));
  }

  #filters(cameras) {
    const choice = (label, name, options) => {
      const control = h("select", { onchange: () => this.#set(name, control.value) }, options.map(([value, words]) => h("option", { value }, words)));
      return [name, field(label, control)];
    };
    const least = (label, name) => {
      const control = h("input", { type: "number", min: "0", inputmode: "numeric", placeholder: "any", oninput: () => this.#set(name, control.value, QUIET_MS) });
      return [name, field(label, control)];
    };
    const moment = (label, name) => {
      const control = h("input", {
        type: "datetime-local", step: "1",
        onchange: () => { if (inputMs(control.value)) this.#set(name, String(inputMs(control.value))); },
      });
      return [name, field(label, control)];
    };
    const recoverable = h("input", { type: "checkbox", onchange: () => this.#set("recoverable", recoverable.checked ? "1" : "") });
    this.fields = new Map([
      choice("Camera", "camera", [["", "All cameras"], ...cameras.map((camera) => [camera, camera])]),
      choice("Time", "span", SPANS),
      moment("From", "from"),
      moment("To", "to"),
      least("Least size, px", "px"),
      least("Least length, s", "seconds"),
      choice("Order", "sort", SORTS),
    ]);
    this.recoverable = recoverable;
    return h("form", { class: "fields people-filters", role: "search", "aria-label": "Filter", onsubmit: (event) => event.preventDefault() },
      [...this.fields.values()].map((one) => one.element),
      h("label", { class: "check", title: "A sealed original is kept, and may be asked for" }, recoverable, "Recoverable only"),
      this.reset = h("button", { class: "button quiet", type: "button", onclick: () => this.visit(new URLSearchParams()) }, "Clear filter"));
  }

  /** Another address of this page. */
  visit(query) {
    this.filter = Object.fromEntries(Object.entries(DEFAULTS).map(([name, usual]) => [name, query.get(name) ?? usual]));
    this.#load();
  }

  #set(name, value, quietMs = 0) {
    this.filter[name] = value;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#load(), quietMs);
  }

  #showFilter() {
    if (this.filter.span === "custom") {
      this.filter.from ||= String(dayStart(Date.now()));
      this.filter.to ||= String(Date.now());
    }
    for (const [name, { control }] of this.fields) {
      const value = this.filter[name];
      const shown = control.type === "datetime-local" && value ? inputValue(Number(value)) : value;
      if (control.value !== shown) control.value = shown;
    }
    this.recoverable.checked = this.filter.recoverable !== "";
    for (const name of ["from", "to"]) this.fields.get(name).element.hidden = this.filter.span !== "custom";
    this.reset.hidden = !this.isFiltered;
    const set = Object.entries(this.filter).filter(([name, value]) => value !== DEFAULTS[name]);
    remember("people", null, Object.fromEntries(set));
  }

  get isFiltered() {
    return Object.entries(this.filter).some(([name, value]) => name !== "sort" && value !== DEFAULTS[name]);
  }

  #query(after) {
    const { camera, px, seconds, recoverable, sort } = this.filter;
    return { cameras: camera, ...this.#span(), min_px: px && Math.round(px), min_seconds: seconds, recoverable: recoverable && "true", sort, limit: PAGE, after };
  }

  #span() {
    const { span, from, to } = this.filter;
    const now = Date.now();
    if (span === "custom") return { from_ms: from, to_ms: to };
    const since = { "10min": now - HOUR_MS / 6, hour: now - HOUR_MS, today: dayStart(now), day: now - 24 * HOUR_MS }[span];
    return { from_ms: since };
  }

  /** From the top, after a change of the filter. */
  #load() {
    this.#showFilter();
    this.work.abort();
    this.work = new AbortController();
    this.isLoading = false;
    this.next = null;
    this.isFirst = true;
    this.#more();
  }

  async #more() {
    if (this.isLoading || (!this.isFirst && this.next === null)) return;
    this.isLoading = true;
    const { signal } = this.work;
    this.loading.hidden = !this.isFirst;
    try {
      const answer = await api.get("/api/people", { query: this.#query(this.next), signal });
      if (this.isFirst) this.grid.reset();
      this.isFirst = false;
      this.next = answer.next;
      this.isLoading = false; // before the grid, which may ask for more
      this.#showCount(answer);
      this.grid.add(answer.people, answer.next === null ? this.grid.items.length + answer.people.length : answer.total);
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      this.isLoading = false;
      this.#showProblem(error);
    }
    this.loading.hidden = true;
  }

  #showCount({ total, next }) {
    setText(this.count, plural(total, "card"));
    this.tail.hidden = next !== null || total < PAGE;
    setText(this.tail, `All ${number(total)} cards are shown.`);
    this.empty.hidden = total > 0;
    if (total > 0) return;
    replace(this.empty,
      icon("people", 24),
      h("strong", {}, this.isFiltered ? "Nobody fits this filter" : "Nobody has been seen yet"),
      this.isFiltered
        ? h("p", {}, "Take a longer time, a smaller size or all cameras.")
        : h("p", {}, "Cards appear here a few seconds after a face is hidden in a recording. Recording must be on: see ",
          h("a", { href: "#/system" }, "System"), "."),
      this.isFiltered && h("button", { class: "button", type: "button", onclick: () => this.visit(new URLSearchParams()) }, "Clear filter"));
  }

  #showProblem(error) {
    if (this.isFirst) this.grid.reset();
    this.empty.hidden = false;
    setText(this.count, "");
    replace(this.empty, icon("alert", 24), h("strong", {}, error.message),
      h("button", { class: "button", type: "button", onclick: () => { this.empty.hidden = true; this.#more(); } }, "Try again"));
  }
}
